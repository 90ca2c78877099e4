//! The environment, a DSN or any format of serde's -> `Config`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::value::{Value, scalar};
use super::{Config, ConfigError, OptionSource, names};

const DSN_VARIABLE: &str = "DATABASE_URL";
const PREFIX: &str = "DB_";

/// What a DSN replaces.
const CONNECT_ARGUMENTS: [&str; 6] = ["driver", "host", "port", "user", "password", "database"];

impl Config {
    /// The defaults, changed by the environment.
    ///
    /// `DATABASE_URL` is the [`dsn`](Self::dsn). Every option and every driver parameter is also
    /// read from `DB_` and its name in upper case: `DB_HOST`, `DB_POOL_MAX_SIZE`,
    /// `DB_ACQUIRE_TIMEOUT`, `DB_SSLROOTCERT` … Both may be given; what a DSN replaces
    /// (`DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD`, `DB_DATABASE`, `DB_DRIVER`) then has no
    /// effect. `DB_SERVER_SETTINGS` holds `name=value` pairs with spaces between them.
    ///
    /// A variable that is empty counts as not set. Other variables whose names begin with `DB_` may
    /// be there for other programs and are left alone, unless they look like a slip:
    /// `DB_POOL_MAXSIZE`, or `DB_NAME` for `DB_DATABASE`.
    ///
    /// # Errors
    ///
    /// The [`ConfigError`] names the variable. The whole is checked, except that certificates are
    /// not loaded yet.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os())
    }

    /// The defaults, with the DSN in the place of host, port, user, password and database.
    ///
    /// # Errors
    ///
    /// A DSN that cannot be read, and a parameter in it that is unknown or has an impossible value.
    pub fn from_dsn(dsn: &str) -> Result<Self, ConfigError> {
        let config = Self { dsn: Some(dsn.to_owned()), ..Self::default() };
        config.settings()?;
        Ok(config)
    }

    pub(super) fn from_vars(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let ours = |(variable, value): (OsString, OsString)| {
            let variable = variable.into_string().ok()?;
            let is_ours = variable == DSN_VARIABLE || variable.starts_with(PREFIX);
            (is_ours && !value.is_empty()).then_some((variable, value))
        };
        let given: BTreeMap<_, _> = variables.into_iter().filter_map(ours).collect();
        let has_dsn = given.contains_key(DSN_VARIABLE) || given.contains_key("DB_DSN");
        let is_replaced = |name: &str| has_dsn && CONNECT_ARGUMENTS.contains(&name);
        let mut config = Self::default();
        let mut sources = BTreeMap::new();
        for (variable, value) in given {
            let name = variable.strip_prefix(PREFIX).map_or("dsn".to_owned(), str::to_ascii_lowercase);
            let source = OptionSource::Variable(variable);
            if !names::is_known(&name) {
                match names::nearest(&name).filter(|meant| !is_replaced(meant)) {
                    Some(meant) => return Err(ConfigError::unknown(source, Some(variable_of(&meant)))),
                    None => continue,
                }
            }
            // Kubernetes gives a service called `db` a `DB_PORT` that is a URL.
            if is_replaced(&name) {
                continue;
            }
            let Ok(value) = value.into_string() else {
                return Err(ConfigError::invalid(source, "must be UTF-8"));
            };
            if name == "dsn" && config.dsn.as_ref().is_some_and(|dsn| *dsn != value) {
                let problem = format!("contradicts `{DSN_VARIABLE}`; give one of them");
                return Err(ConfigError::conflict(source, problem));
            }
            config.set(&name, source.clone(), Value::Text(value))?;
            sources.insert(name, source);
        }
        match config.settings().map(drop) {
            Ok(()) => Ok(config),
            Err(err) => match (err.option(), sources.get(err.option().name())) {
                (OptionSource::Option(_), Some(variable)) => Err(err.at(variable.clone())),
                _ => Err(err),
            },
        }
    }

    /// Sets the option or driver parameter of that name.
    pub(super) fn set(&mut self, name: &str, source: OptionSource, value: Value) -> Result<(), ConfigError> {
        let problem = match self.set_option(name, value.clone()) {
            Some(result) => result,
            None if names::is_parameter(name) => {
                scalar(&value).map(|text| drop(self.driver_options.insert(name.to_owned(), text)))
            }
            None => return Err(ConfigError::unknown(source, names::nearest(name))),
        };
        problem.map_err(|problem| ConfigError::invalid(source, problem))
    }
}

/// A DSN, as in [`Config::from_dsn`].
impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(dsn: &str) -> Result<Self, ConfigError> {
        Self::from_dsn(dsn)
    }
}

/// A DSN, as in [`Config::from_dsn`].
impl TryFrom<&str> for Config {
    type Error = ConfigError;

    fn try_from(dsn: &str) -> Result<Self, ConfigError> {
        Self::from_dsn(dsn)
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut config = Self::default();
        for (name, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            config.set(&name, OptionSource::option(&name), value).map_err(D::Error::custom)?;
        }
        Ok(config)
    }
}

fn variable_of(name: &str) -> String {
    match name {
        "dsn" => DSN_VARIABLE.to_owned(),
        name => format!("{PREFIX}{}", name.to_ascii_uppercase()),
    }
}
