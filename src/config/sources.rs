//! What a `Config` is read from: the environment, a DSN, or any format of serde's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::value::{Value, scalar};
use super::{Config, ConfigError, OptionSource, names};

const DSN_VARIABLE: &str = "DATABASE_URL";
const PREFIX: &str = "DB_";

/// The options that a DSN replaces.
const CONNECT_ARGUMENTS: [&str; 6] = ["driver", "host", "port", "user", "password", "database"];

impl Config {
    /// Reads the options from the environment; what it does not name keeps its default.
    ///
    /// `DATABASE_URL` is the [`dsn`](Self::dsn). Every option and every driver parameter is read from `DB_` and its name in upper
    /// case: `DB_HOST`, `DB_POOL_MAX_SIZE`, `DB_ACQUIRE_TIMEOUT`, `DB_SSLROOTCERT`, … . `DB_SERVER_SETTINGS` holds `name=value`
    /// pairs with spaces between them.
    ///
    /// With a DSN, `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD`, `DB_DATABASE` and `DB_DRIVER` have no effect, because it replaces
    /// them. An empty variable counts as not set. Other variables that begin with `DB_` may be meant for other programs and are left
    /// alone, unless they look like a slip, such as `DB_POOL_MAXSIZE`, or `DB_NAME` for `DB_DATABASE`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), actix_pg::ConfigError> {
    /// let config = actix_pg::Config { pool_max_size: 20, ..actix_pg::Config::from_env()? };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a variable looks like a slip, if its value is not UTF-8 or impossible, or if two variables contradict each other. The
    /// [`ConfigError`] names the variable, or the parameter within the DSN. Files, such as certificates, are read by
    /// [`Database::connect`](crate::Database::connect).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads a DSN; every option that it cannot hold keeps its default. [`FromStr`] and [`TryFrom`] do the same.
    ///
    /// The DSN is a URL or libpq's `key=value` pairs, as the page [`options`](crate::options#dsn) describes. It is kept in
    /// [`dsn`](Self::dsn), and replaces `host`, `port`, `user`, `password` and `database`.
    ///
    /// ```
    /// use actix_pg::Config;
    ///
    /// let config = Config::from_dsn("postgres://alice:secret@a.example.com,b.example.com/shop?target_session_attrs=read-write")?;
    /// let config = Config { pool_max_size: 20, ..config };
    /// assert_eq!(Config::from_dsn("host=/run/postgresql dbname=shop")?, "host=/run/postgresql dbname=shop".parse()?);
    /// # Ok::<(), actix_pg::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the DSN cannot be read, if it has a parameter that is unknown or given twice, or if a value is impossible. The
    /// [`ConfigError`] quotes no value of the DSN.
    ///
    /// ```
    /// let err = actix_pg::Config::from_dsn("postgres://alice:secret@db.example.com/shop?sslmode=on").unwrap_err();
    /// assert_eq!(
    ///     err.to_string(),
    ///     "DSN parameter `sslmode` must be one of disable, prefer, require, verify-ca, verify-full"
    /// );
    /// ```
    pub fn from_dsn(dsn: &str) -> Result<Self, ConfigError> {
        let config = Self { dsn: Some(dsn.to_owned()), ..Self::default() };
        config.settings()?;
        Ok(config)
    }

    /// Reads these variables, as [`from_env`](Self::from_env) reads those of the process.
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

    /// Sets the option or the driver parameter of that name; fails if there is neither, or if the value has the wrong type.
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

/// Reads a DSN, as [`Config::from_dsn`] does.
impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(dsn: &str) -> Result<Self, ConfigError> {
        Self::from_dsn(dsn)
    }
}

/// Reads a DSN, as [`Config::from_dsn`] does.
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
