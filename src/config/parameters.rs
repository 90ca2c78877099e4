//! libpq's parameters, whoever gave them: the DSN, or an option.

use std::collections::BTreeMap;
use std::mem::discriminant;

use super::value::{FromValue, Value};
use super::{ConfigError, Origin, dsn, names};

/// Each is taken out when it is applied, so that one that nobody applies is found out.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<String, Given>);

/// A value, and where it was given.
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl Parameters {
    pub(super) fn of_dsn(text: &str) -> Result<Self, ConfigError> {
        let refused = |problem: String| ConfigError::invalid(Origin::option("dsn"), problem);
        let mut parameters = Self::default();
        for (name, value) in dsn::parse(text).map_err(refused)? {
            let origin = Origin::Dsn(name.clone());
            if !names::DSN_PARAMETERS.contains(&&*name) && !names::is_parameter(&name) {
                return Err(ConfigError::unknown(origin, names::nearest_in_dsn(&name)));
            }
            // As libpq: `ssl=true` comes from JDBC.
            let value = if name == "ssl" && value == "true" { "require" } else { &value };
            parameters.give(&name, value, origin)?;
        }
        Ok(parameters)
    }

    /// An option replaces what the DSN said. Two names of the same parameter, side by side, are
    /// refused.
    pub(super) fn give(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let name = match name {
            "keepalives_retries" => "keepalives_count",
            "ssl" => "sslmode",
            name => name,
        };
        if value.contains('\0') {
            return Err(ConfigError::invalid(origin, "must not contain a NUL character"));
        }
        match self.0.get(name) {
            Some(other) if discriminant(&other.origin) == discriminant(&origin) => {
                Err(ConfigError::twice(origin, other.origin.name()))
            }
            _ => {
                self.0.insert(name.to_owned(), Given { value: value.to_owned(), origin });
                Ok(())
            }
        }
    }

    pub(super) fn give_option(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        self.give(name, value, Origin::option(name))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Given> {
        self.0.remove(name)
    }

    /// Not given and given empty are the same, as in libpq.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|given| given.value).filter(|value| !value.is_empty())
    }

    pub(super) fn take_as<T: FromValue>(&mut self, name: &str) -> Result<Option<(T, Origin)>, ConfigError> {
        self.take(name).map(Given::read).transpose()
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
    pub(super) fn read<T: FromValue>(self) -> Result<(T, Origin), ConfigError> {
        match T::from_value(Value::Text(self.value)) {
            Ok(value) => Ok((value, self.origin)),
            Err(problem) => Err(ConfigError::invalid(self.origin, problem)),
        }
    }
}
