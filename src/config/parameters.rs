//! libpq's parameters, whoever gave them: the DSN, or an option.

use std::collections::BTreeMap;
use std::time::Duration;

use super::value::{FromValue, Value};
use super::{ConfigError, Origin, dsn, names};

/// Each is taken out when it is applied, so that one that nobody applies is found out.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<String, Given>);

/// A value, and where it was given.
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) value: String,
}

impl Parameters {
    pub(super) fn of_dsn(text: &str) -> Result<Self, ConfigError> {
        let refused = |problem: String| ConfigError::invalid(Origin::option("dsn"), problem);
        let mut parameters = Self::default();
        for (name, value) in dsn::parse(text).map_err(refused)? {
            let origin = Origin::Dsn(name.clone());
            match &*name {
                "ssl" if parameters.0.contains_key("sslmode") => {
                    return Err(ConfigError::conflict(
                        origin,
                        "says the same as `sslmode`; give one of them",
                    ));
                }
                // As libpq: `ssl=true` comes from JDBC, `ssl=<mode>` from asyncpg.
                "ssl" if value == "true" => parameters.give("sslmode", origin, "require")?,
                "ssl" => parameters.give("sslmode", origin, &value)?,
                "sslmode" if parameters.0.contains_key("sslmode") => {
                    return Err(ConfigError::conflict(origin, "says the same as `ssl`; give one of them"));
                }
                known if names::DSN_PARAMETERS.contains(&known) || names::is_parameter(known) => {
                    parameters.give(known, origin, &value)?;
                }
                unknown => {
                    return Err(ConfigError::unknown(origin, names::nearest_in_dsn(unknown)));
                }
            }
        }
        Ok(parameters)
    }

    /// Replaces what was given before.
    pub(super) fn give(&mut self, name: &str, origin: Origin, value: &str) -> Result<(), ConfigError> {
        if value.contains('\0') {
            return Err(ConfigError::invalid(origin, "must not contain a NUL character"));
        }
        self.0.insert(name.to_owned(), Given { origin, value: value.to_owned() });
        Ok(())
    }

    pub(super) fn give_option(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        self.give(name, Origin::option(name), value)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Given> {
        self.0.remove(name)
    }

    /// Not given and given empty are the same, as in libpq.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|given| given.value).filter(|value| !value.is_empty())
    }

    pub(super) fn take_as<T: FromValue>(&mut self, name: &str) -> Result<Option<(T, Origin)>, ConfigError> {
        self.take(name).map(Given::parse).transpose()
    }

    /// One of a few words, each of which stands for a value.
    pub(super) fn take_word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<(T, Origin)>, ConfigError> {
        let Some(given) = self.take(name) else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == given.value) {
            Some((_, value)) => Ok(Some((*value, given.origin))),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let problem =
                    format!("must be one of {}, not `{}`", known.join(", "), given.value.escape_debug());
                Err(ConfigError::invalid(given.origin, problem))
            }
        }
    }

    /// Whole seconds up to what the operating system takes; zero is its own default, as in libpq.
    pub(super) fn take_seconds(&mut self, name: &str) -> Result<Option<Duration>, ConfigError> {
        const LONGEST: u64 = i16::MAX as u64;
        match self.take_as::<Duration>(name)? {
            Some((duration, origin)) if duration.subsec_nanos() != 0 || duration.as_secs() > LONGEST => {
                Err(ConfigError::invalid(origin, format!("must be whole seconds, at most {LONGEST}")))
            }
            given => Ok(given.map(|(duration, _)| duration)),
        }
    }

    /// Refuses what is left.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        match self.0.into_iter().next() {
            Some((name, given)) => Err(ConfigError::unknown(given.origin, names::nearest(&name))),
            None => Ok(()),
        }
    }
}

impl Given {
    pub(super) fn parse<T: FromValue>(self) -> Result<(T, Origin), ConfigError> {
        match T::from_value(Value::Text(self.value)) {
            Ok(value) => Ok((value, self.origin)),
            Err(problem) => Err(ConfigError::invalid(self.origin, problem)),
        }
    }
}
