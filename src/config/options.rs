//! The options of an application.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Settings};

/// Every option.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Config {
    /// DSN.
    pub dsn: Option<String>,
    /// Floor.
    pub pool_min_size: u32,
    /// Ceiling.
    pub pool_max_size: u32,
    /// Bound on the wait for a session.
    pub acquire_timeout: Duration,
    // … (the configuration helper writes all of this anew)
}

impl Default for Config {
    fn default() -> Self {
        Self { dsn: None, pool_min_size: 5, pool_max_size: 10, acquire_timeout: Duration::from_secs(30) }
    }
}

impl Config {
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        unimplemented!()
    }
}

/// When a session is reset at its return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// Unless every statement it ran is known to leave nothing behind.
    Auto,
    /// Always.
    Always,
    /// Never; an open transaction is rolled back all the same.
    Never,
}

/// What is logged of each statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Nothing.
    Off,
    /// The SQL, without its parameters.
    Statements,
    /// The SQL and its parameters.
    Full,
}
