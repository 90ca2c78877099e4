//! libpq's parameters, whoever gave them: the DSN, or an option.

use std::collections::BTreeMap;
use std::mem::discriminant;

use super::value::{FromValue, Value};
use super::{ConfigError, ConfigErrorKind, OptionSource, dsn, names};

/// Each is taken out when it is applied, so that one that nobody applies is found out.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<String, Given>);

/// A value, and where it was given.
pub(super) struct Given {
    pub(super) value: String,
    pub(super) source: OptionSource,
}

impl Parameters {
    pub(super) fn of_dsn(text: &str) -> Result<Self, ConfigError> {
        let refused = |problem: String| ConfigError::invalid(OptionSource::option("dsn"), problem);
        let mut parameters = Self::default();
        for (name, value) in dsn::parse(text).map_err(refused)? {
            if !names::DSN_PARAMETERS.contains(&&*name) && !names::is_parameter(&name) {
                return Err(unknown(name));
            }
            let source = OptionSource::Dsn(name.clone());
            // As libpq: `ssl=true` comes from JDBC.
            let value = if name == "ssl" && value == "true" { "require" } else { &value };
            parameters.give(&name, value, source)?;
        }
        Ok(parameters)
    }

    /// An option replaces what the DSN said. Two names of the same parameter, side by side, are
    /// refused.
    pub(super) fn give(&mut self, name: &str, value: &str, source: OptionSource) -> Result<(), ConfigError> {
        let name = match name {
            "keepalives_retries" => "keepalives_count",
            "ssl" => "sslmode",
            name => name,
        };
        if value.contains('\0') {
            return Err(ConfigError::invalid(source, "must not contain a NUL character"));
        }
        match self.0.get(name) {
            Some(other) if discriminant(&other.source) == discriminant(&source) => {
                Err(ConfigError::twice(source, other.source.name()))
            }
            _ => {
                self.0.insert(name.to_owned(), Given { value: value.to_owned(), source });
                Ok(())
            }
        }
    }

    pub(super) fn give_option(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        self.give(name, value, OptionSource::option(name))
    }

    /// The server would quote such a value in its answer, and in its log.
    pub(super) fn refuse(
        &self,
        names: &[&str],
        is_wrong: impl Fn(&str) -> bool,
        problem: &str,
    ) -> Result<(), ConfigError> {
        let wrong = names.iter().filter_map(|name| self.0.get(*name)).find(|given| is_wrong(&given.value));
        wrong.map_or(Ok(()), |given| Err(ConfigError::invalid(given.source.clone(), problem)))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Given> {
        self.0.remove(name)
    }

    /// Not given and given empty are the same, as in libpq.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|given| given.value).filter(|value| !value.is_empty())
    }

    pub(super) fn take_as<T: FromValue>(
        &mut self,
        name: &str,
    ) -> Result<Option<(T, OptionSource)>, ConfigError> {
        self.take(name).map(Given::read).transpose()
    }

    /// Refuses what is left.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        match self.0.into_iter().next() {
            Some((name, given)) => Err(ConfigError::unknown(given.source, names::nearest(&name))),
            None => Ok(()),
        }
    }
}

impl Given {
    /// The error does not quote a value of the DSN, which may be a piece of a password with a space in it.
    pub(super) fn read<T: FromValue>(self) -> Result<(T, OptionSource), ConfigError> {
        let value = Value::Text(self.value);
        let quoted = format!(", not {value}");
        T::from_value(value).map(|value| (value, self.source.clone())).map_err(|problem| {
            let problem = match &self.source {
                OptionSource::Dsn(_) => {
                    problem.strip_suffix(&quoted).unwrap_or("has a wrong value").to_owned()
                }
                _ => problem,
            };
            ConfigError::invalid(self.source, problem)
        })
    }
}

/// A name that is not everybody's is not quoted: it may be a piece of a password.
fn unknown(name: String) -> ConfigError {
    let meant = names::nearest_in_dsn(&name);
    if names::is_public(&name) {
        return ConfigError::unknown(OptionSource::Dsn(name), meant);
    }
    let hint = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let problem = format!("has a parameter that is unknown{hint}");
    ConfigError::new(OptionSource::option("dsn"), ConfigErrorKind::Unknown, problem)
}
