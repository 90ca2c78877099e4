//! The environment -> `Config`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::value::Value;
use super::{Config, ConfigError, Origin, names};

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

    pub(super) fn from_vars(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut given = BTreeMap::new();
        for (variable, value) in variables {
            let Some(variable) =
                variable.to_str().filter(|name| *name == DSN_VARIABLE || name.starts_with(PREFIX))
            else {
                continue;
            };
            if !value.is_empty() {
                given.insert(variable.to_owned(), value);
            }
        }
        let has_dsn = given.contains_key(DSN_VARIABLE) || given.contains_key("DB_DSN");
        let mut config = Self::default();
        let mut sources = BTreeMap::new();
        for (variable, value) in given {
            let origin = Origin::Variable(variable.clone());
            let name = match variable.strip_prefix(PREFIX) {
                Some(name) => name.to_ascii_lowercase(),
                None => "dsn".to_owned(),
            };
            if !names::is_known(&name) {
                match names::nearest(&name) {
                    Some(meant) if !(has_dsn && CONNECT_ARGUMENTS.contains(&&*meant)) => {
                        let meant =
                            if meant == "dsn" { DSN_VARIABLE.to_owned() } else { variable_of(&meant) };
                        return Err(ConfigError::unknown(origin, Some(meant)));
                    }
                    _ => continue,
                }
            }
            let Ok(value) = value.into_string() else {
                return Err(ConfigError::invalid(origin, "must be UTF-8"));
            };
            if name == "dsn" && config.dsn.as_ref().is_some_and(|dsn| *dsn != value) {
                return Err(ConfigError::conflict(
                    origin,
                    format!("contradicts `{DSN_VARIABLE}`; give one of them"),
                ));
            }
            config.set(&name, origin.clone(), Value::Text(value))?;
            sources.insert(name, origin);
        }
        match config.check() {
            Ok(()) => Ok(config),
            Err(err) => match (err.origin(), sources.get(err.origin().name())) {
                (Origin::Option(_), Some(variable)) => Err(err.at(variable.clone())),
                _ => Err(err),
            },
        }
    }
}

fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}
