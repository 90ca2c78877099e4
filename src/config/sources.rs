//! What a `Config` is read from: the environment, a DSN, or any format of serde's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::libpq::{self, Origins};
use super::value::{Value, scalar};
use super::{Config, ConfigError, OptionSource, files, names};

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
    /// alone, unless they look like a mistake, such as `DB_POOL_MAXSIZE`, or `DB_NAME` for `DB_DATABASE`.
    ///
    /// What neither the DSN nor a variable of these says is taken from libpq's variables, argument by argument: `PGHOST`, `PGUSER`,
    /// `PGPASSWORD`, `PGSSLMODE` and [the others](crate::options#libpqs-environment). Without a password, that of `PGPASSFILE`, or of
    /// `~/.pgpass`, is sent.
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
    /// Fails if a variable looks like a mistake, if its value is not UTF-8 or impossible, or if two variables contradict each other. The
    /// [`ConfigError`] names the variable, or the parameter within the DSN. Files, such as certificates, are read by
    /// [`Database::connect`](crate::Database::connect).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_with_prefix(PREFIX)
    }

    /// Reads the options from variables that begin with a prefix of the application's: for a second database, or beside another
    /// program with variables that begin with `DB_`.
    ///
    /// With `AUDIT_`, the DSN is `AUDIT_DATABASE_URL` or `AUDIT_DSN`, and every option is read from `AUDIT_` and its name:
    /// `AUDIT_HOST`, `AUDIT_POOL_MAX_SIZE`. Neither `DATABASE_URL` nor a variable with another prefix is looked at. The rest is as in
    /// [`from_env`](Self::from_env), whose prefix is `DB_`.
    ///
    /// ```no_run
    /// # async fn connect() -> Result<(), actix_pg::Error> {
    /// use actix_pg::{Config, Database};
    ///
    /// let db = Database::connect(Config::from_env()?).await?;
    /// let audit = Database::connect(Config::from_env_with_prefix("AUDIT_")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_env_with_prefix(prefix: &str) -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os(), prefix)
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

    /// Reads these variables, as [`from_env_with_prefix`](Self::from_env_with_prefix) reads those of the process.
    pub(super) fn from_vars(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        prefix: &str,
    ) -> Result<Self, ConfigError> {
        let names = Variables { prefix };
        let (mut given, mut of_libpq, mut home) = (BTreeMap::new(), BTreeMap::new(), None);
        for (variable, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            let Ok(variable) = variable.into_string() else { continue };
            if names.option(&variable).is_some() {
                given.insert(variable, value);
            } else if libpq::is_variable(&variable) {
                of_libpq.insert(variable, value);
            } else if variable == libpq::HOME {
                home = Some(value);
            }
        }
        let has_dsn = given.keys().any(|variable| names.option(variable).as_deref() == Some("dsn"));
        let is_replaced = |name: &str| has_dsn && CONNECT_ARGUMENTS.contains(&name);
        let mut config = Self::default();
        let mut origins = Origins::default();
        for (variable, value) in given {
            let Some(name) = names.option(&variable) else { continue };
            let source = OptionSource::Variable(variable);
            if !names::is_known(&name) {
                match names::nearest(&name).filter(|meant| !is_replaced(meant)) {
                    Some(meant) => return Err(ConfigError::unknown(source, Some(names.variable(&meant)))),
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
                let problem = format!("contradicts `{}`; give one of them", names.variable("dsn"));
                return Err(ConfigError::conflict(source, problem));
            }
            config.set(&name, source.clone(), Value::Text(value))?;
            origins.options.insert(name, source);
        }
        config.fill_in(&of_libpq, home.as_deref(), &mut origins)?;
        files::remember(&config.driver_options, &origins.options);
        config.settings().map_err(|err| origins.named(err))?;
        Ok(config)
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

/// The names of the variables that an application reads.
#[derive(Debug, Clone, Copy)]
struct Variables<'a> {
    prefix: &'a str,
}

impl Variables<'_> {
    /// The option that a variable is read for, if it is one of these variables. It need not be known.
    fn option(self, variable: &str) -> Option<String> {
        if variable == self.variable("dsn") {
            return Some("dsn".to_owned());
        }
        Some(variable.strip_prefix(self.prefix)?.to_ascii_lowercase())
    }

    /// The variable that an option is read from.
    fn variable(self, option: &str) -> String {
        match option {
            // `DATABASE_URL` is what hosters set.
            "dsn" if self.prefix == PREFIX => DSN_VARIABLE.to_owned(),
            "dsn" => format!("{}{DSN_VARIABLE}", self.prefix),
            name => format!("{}{}", self.prefix, name.to_ascii_uppercase()),
        }
    }
}
