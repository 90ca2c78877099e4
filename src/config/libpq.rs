//! libpq's environment: `PG*` variables and the password file, for what the application does not say itself.
//!
//! ```text
//!   DSN, DB_*  ──says──> Config <──fills in, argument by argument── PGHOST, PGUSER, …, ~/.pgpass
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::value::Value;
use super::{Config, ConfigError, OptionSource, dsn};

/// Each variable, and the parameter of libpq that it is the default of.
const VARIABLES: [(&str, &str); 19] = [
    ("PGAPPNAME", "application_name"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGDATABASE", "dbname"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGOPTIONS", "options"),
    ("PGPASSFILE", "passfile"),
    ("PGPASSWORD", "password"),
    ("PGPORT", "port"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGUSER", "user"),
];

/// Variables that say where parameters are, or that ask for more safety than there would be without them. They are not applied, so
/// they are not ignored either.
const REFUSED: [&str; 8] = [
    "PGGSSENCMODE",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLMINPROTOCOLVERSION",
];

/// What a DSN holds, and options of these names do not replace.
const OF_THE_DSN: [&str; 5] = ["host", "port", "user", "password", "dbname"];

/// Where the options of a `Config` come from, by their names; those of the DSN's parameters that were not in it.
#[derive(Debug, Default)]
pub(super) struct Origins {
    pub(super) options: BTreeMap<String, OptionSource>,
    pub(super) dsn: BTreeMap<String, OptionSource>,
}

impl Origins {
    /// Names the place that a value came from, where the code that checked it knew only the option.
    pub(super) fn named(&self, err: ConfigError) -> ConfigError {
        let origin = match err.option() {
            OptionSource::Option(name) => self.options.get(name),
            OptionSource::Dsn(name) => self.dsn.get(name),
            OptionSource::Variable(_) => None,
        };
        match origin.cloned() {
            Some(origin) => err.at(origin),
            None => err,
        }
    }

    fn has_option(&self, parameter: &str) -> bool {
        let names: &[&str] = match parameter {
            "dbname" => &["database"],
            "sslmode" => &["ssl", "sslmode"],
            name => &[name],
        };
        names.iter().any(|name| self.options.contains_key(*name))
    }
}

/// Whether libpq reads a variable of this name.
pub(super) fn is_variable(name: &str) -> bool {
    VARIABLES.iter().any(|(variable, _)| *variable == name) || REFUSED.contains(&name)
}

impl Config {
    /// Fills in what neither the DSN nor an option has said.
    pub(super) fn fill_in(
        &mut self,
        variables: &BTreeMap<String, OsString>,
        home: Option<&OsStr>,
        origins: &mut Origins,
    ) -> Result<(), ConfigError> {
        let said = match self.dsn.as_deref().map(dsn::parse) {
            // The error is that of the check.
            Some(Err(_)) => return Ok(()),
            Some(Ok(pairs)) => pairs.into_iter().map(|(name, _)| name).collect(),
            None => Vec::new(),
        };
        let says = |name: &str| said.iter().any(|said| said == name || (said == "ssl" && name == "sslmode"));
        let has_certificate =
            says("sslcert") || origins.has_option("sslcert") || variables.contains_key("PGSSLCERT");
        refuse(variables, has_certificate)?;
        let mut missing = Vec::new();
        for (variable, parameter) in VARIABLES {
            let Some(value) = variables.get(variable) else { continue };
            let in_dsn = self.dsn.is_some() && OF_THE_DSN.contains(&parameter);
            if says(parameter) || (!in_dsn && origins.has_option(parameter)) {
                continue;
            }
            let source = OptionSource::Variable(variable.to_owned());
            let Some(value) = value.to_str() else {
                return Err(ConfigError::invalid(source, "must be UTF-8"));
            };
            if in_dsn {
                origins.dsn.insert(parameter.to_owned(), source);
                missing.push((parameter, value));
                continue;
            }
            let option = match parameter {
                "dbname" => "database",
                "sslmode" => "ssl",
                name => name,
            };
            self.set(option, source.clone(), Value::Text(value.to_owned()))?;
            origins.options.insert(option.to_owned(), source);
        }
        let has_password = says("password") || missing.iter().any(|(name, _)| *name == "password");
        self.dsn = self.dsn.take().map(|text| dsn::with_parameters(text, &missing));
        let has_password = has_password || (self.dsn.is_none() && !self.password.is_empty());
        if !has_password
            && !says("passfile")
            && !self.driver_options.contains_key("passfile")
            && let Some(file) = home.map(default_file).filter(|file| file.is_file())
            && let Some(file) = file.to_str()
        {
            self.driver_options.insert("passfile".to_owned(), file.to_owned());
        }
        Ok(())
    }
}

/// The variable of the folder in which the password file is.
pub(super) const HOME: &str = if cfg!(windows) { "APPDATA" } else { "HOME" };

fn default_file(home: &OsStr) -> PathBuf {
    Path::new(home).join(if cfg!(windows) { r"postgresql\pgpass.conf" } else { ".pgpass" })
}

fn refuse(variables: &BTreeMap<String, OsString>, has_certificate: bool) -> Result<(), ConfigError> {
    for name in REFUSED {
        let Some(value) = variables.get(name).map(|value| value.to_string_lossy()) else { continue };
        let is_harmless = match name {
            "PGGSSENCMODE" => value != "require",
            "PGSSLCERTMODE" => value == "allow" || (value == "disable" && !has_certificate),
            "PGREQUIRESSL" => !value.starts_with('1'),
            // rustls speaks nothing older.
            "PGSSLMINPROTOCOLVERSION" => ["TLSv1", "TLSv1.1", "TLSv1.2"].contains(&&*value),
            _ => false,
        };
        if !is_harmless {
            let source = OptionSource::Variable(name.to_owned());
            let problem = "asks for what this driver cannot do; unset it for this process";
            return Err(ConfigError::invalid(source, problem));
        }
    }
    Ok(())
}
