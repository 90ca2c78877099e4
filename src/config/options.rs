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
        use super::settings::*;
        let dsn: crate::tokio_postgres::Config = self
            .dsn
            .as_deref()
            .unwrap_or("")
            .parse()
            .map_err(|e: crate::tokio_postgres::Error| ConfigError { message: e.to_string() })?;
        let hosts = dsn
            .get_hosts()
            .iter()
            .map(|h| Server {
                host: match h {
                    crate::tokio_postgres::config::Host::Tcp(t) => Host::Tcp(t.clone()),
                    crate::tokio_postgres::config::Host::Unix(p) => Host::Unix(p.clone()),
                },
                hostaddr: None,
                port: dsn.get_ports()[0],
            })
            .collect();
        Ok(Settings {
            server: ServerSettings {
                hosts,
                load_balance_hosts: false,
                target_session_attrs: crate::tokio_postgres::config::TargetSessionAttrs::Any,
                driver: dsn,
                tls: crate::database::Tls { mode: crate::tokio_postgres::config::SslMode::Prefer },
                connect_timeout: Duration::from_secs(5),
                keepalive: None,
                tcp_user_timeout: None,
            },
            pool: PoolSettings {
                min_size: self.pool_min_size,
                max_size: self.pool_max_size,
                acquire_timeout: self.acquire_timeout,
                max_waiting: None,
                idle_timeout: Some(Duration::from_secs(300)),
                max_lifetime: None,
                test_after_idle: Duration::from_secs(30),
                close_timeout: Duration::from_secs(10),
            },
            start: StartSettings { retry_limit: 1, retry_interval: Duration::from_secs(1) },
            session: SessionSettings {
                statement_cache_size: 100,
                command_timeout: None,
                reset: Reset::Auto,
                reset_timeout: Duration::from_secs(5),
                echo: Echo::Off,
            },
            use_connection_for_request: true,
        })
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Echo {
    /// Nothing.
    Off,
    /// The SQL, without its parameters.
    Statements,
    /// The SQL and its parameters.
    Full,
}
