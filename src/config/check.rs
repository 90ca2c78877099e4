//! `Config` -> `Settings`: every option is applied or refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::choices::Choice;
use super::parameters::Parameters;
use super::server;
use super::settings::{PoolSettings, ServerSettings, SessionSettings, StartSettings};
use super::ssl::{Ssl, ssl};
use super::{Config, ConfigError, Host, IsolationLevel, Origin, Settings, SslMode, defaults, names};
use crate::database::Tls;
use crate::tokio_postgres;
use crate::tokio_postgres::config::{LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

const DRIVERS: [&str; 4] = [defaults::DRIVER, "postgres", "postgresql", "asyncpg"];

/// What a bound is cut to, lest an addition to the present time overflow: as good as for ever.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Config {
    /// Checks everything that can be checked without a connection, and loads certificates.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        self.settings_with(Tls::new)
    }

    /// The same without reading a file.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.settings_with(|_| Ok(Tls::disabled())).map(drop)
    }

    pub(super) fn settings_with(
        &self,
        tls: impl FnOnce(Ssl) -> Result<Tls, ConfigError>,
    ) -> Result<Settings, ConfigError> {
        let Self {
            driver,
            host,
            port,
            user,
            password,
            database,
            dsn,
            pool_min_size,
            pool_max_size,
            echo,
            ssl: ssl_mode,
            use_connection_for_request,
            retry_limit,
            retry_interval,
            connect_timeout,
            acquire_timeout,
            max_waiting,
            idle_timeout,
            max_lifetime,
            test_after_idle,
            statement_cache_size,
            reset,
            reset_timeout,
            close_timeout,
            command_timeout,
            statement_timeout,
            isolation_level,
            server_settings,
            application_name,
            driver_options,
        } = self;

        if dsn.is_none() && !DRIVERS.contains(&&**driver) {
            let problem = format!("must be one of {}, not `{}`", DRIVERS.join(", "), driver.escape_debug());
            return Err(ConfigError::invalid(Origin::option("driver"), problem));
        }
        at_least("pool_max_size", *pool_max_size, 1, "1")?;
        at_least(
            "pool_max_size",
            *pool_max_size,
            *pool_min_size,
            &format!("`pool_min_size` ({pool_min_size})"),
        )?;
        at_least("retry_limit", *retry_limit, 1, "1, the number of attempts in all")?;

        let mut parameters = match dsn {
            Some(dsn) => Parameters::of_dsn(dsn)?,
            None => {
                let mut parameters = Parameters::default();
                parameters.give_option("host", host)?;
                parameters.give_option("port", &port.to_string())?;
                parameters.give_option("user", user)?;
                parameters.give_option("password", password)?;
                parameters.give_option("dbname", database)?;
                parameters
            }
        };
        for (name, value) in driver_options {
            if !names::is_parameter(name) {
                return Err(ConfigError::unknown(Origin::option(name), names::nearest(name)));
            }
            parameters.give_option(name, value)?;
        }
        if let Some(name) = application_name {
            parameters.give_option("application_name", name)?;
        }
        let connect_timeout = match parameters.take_as::<Duration>("connect_timeout")? {
            Some((timeout, origin)) if *connect_timeout == defaults::CONNECT_TIMEOUT => {
                positive(origin, timeout)?
            }
            _ => positive(Origin::option("connect_timeout"), *connect_timeout)?,
        };
        let startup = startup_settings(server_settings, *statement_timeout, *isolation_level)?;

        let settings = Settings {
            server: server_of(&mut parameters, *ssl_mode, tls, &startup, connect_timeout)?,
            pool: PoolSettings {
                min_size: *pool_min_size,
                max_size: *pool_max_size,
                acquire_timeout: positive(Origin::option("acquire_timeout"), *acquire_timeout)?,
                max_waiting: *max_waiting,
                idle_timeout: unless_off(*idle_timeout),
                max_lifetime: unless_off(*max_lifetime),
                test_after_idle: (*test_after_idle).min(CENTURY),
                close_timeout: (*close_timeout).min(CENTURY),
            },
            start: StartSettings {
                retry_limit: *retry_limit,
                retry_interval: (*retry_interval).min(CENTURY),
            },
            session: SessionSettings {
                statement_cache_size: *statement_cache_size as usize,
                command_timeout: unless_off(*command_timeout),
                reset: *reset,
                reset_timeout: positive(Origin::option("reset_timeout"), *reset_timeout)?,
                echo: *echo,
            },
            use_connection_for_request: *use_connection_for_request,
        };
        parameters.finish()?;
        Ok(settings)
    }
}

fn server_of(
    parameters: &mut Parameters,
    ssl_mode: Option<SslMode>,
    tls: impl FnOnce(Ssl) -> Result<Tls, ConfigError>,
    startup: &BTreeMap<&str, (Origin, String)>,
    connect_timeout: Duration,
) -> Result<ServerSettings, ConfigError> {
    let hosts = server::hosts(parameters)?;
    let keepalive = server::keepalive(parameters)?;
    let tcp_user_timeout = server::tcp_user_timeout(parameters)?;
    let target_session_attrs = parameters.take_word(
        "target_session_attrs",
        &[
            ("any", TargetSessionAttrs::Any),
            ("read-write", TargetSessionAttrs::ReadWrite),
            ("read-only", TargetSessionAttrs::ReadOnly),
        ],
    )?;
    let load_balance_hosts = parameters.take_word(
        "load_balance_hosts",
        &[("disable", LoadBalanceHosts::Disable), ("random", LoadBalanceHosts::Random)],
    )?;
    let mut ssl = ssl(ssl_mode, parameters)?;
    if hosts.iter().all(|server| matches!(server.host, Host::Unix(_))) {
        ssl.mode = SslMode::Disable;
    }

    let mut driver = tokio_postgres::Config::new();
    if let Some(user) = parameters.take_text("user") {
        driver.user(user);
    }
    if let Some(password) = parameters.take_text("password") {
        driver.password(password);
    }
    if let Some(database) = parameters.take_text("dbname") {
        driver.dbname(database);
    }
    if let Some(name) = parameters.take_text("application_name") {
        driver.application_name(name);
    }
    let options = server::startup_options(parameters.take("options"), startup)?;
    if !options.is_empty() {
        driver.options(options);
    }
    driver.channel_binding(server::channel_binding(parameters, ssl.mode != SslMode::Disable)?);
    if ssl.direct {
        driver.ssl_negotiation(SslNegotiation::Direct);
    }
    Ok(ServerSettings {
        hosts,
        load_balance_hosts: load_balance_hosts.is_some_and(|(order, _)| order == LoadBalanceHosts::Random),
        target_session_attrs: target_session_attrs.map_or(TargetSessionAttrs::Any, |(attrs, _)| attrs),
        driver,
        tls: tls(ssl)?,
        connect_timeout,
        keepalive,
        tcp_user_timeout,
    })
}

/// The server settings by name, each with the option that gave it.
fn startup_settings<'a>(
    server_settings: &'a BTreeMap<String, String>,
    statement_timeout: Option<Duration>,
    isolation_level: Option<IsolationLevel>,
) -> Result<BTreeMap<&'a str, (Origin, String)>, ConfigError> {
    let entry =
        |(name, value): (&'a String, &String)| (&**name, (Origin::option("server_settings"), value.clone()));
    let mut settings: BTreeMap<_, _> = server_settings.iter().map(entry).collect();
    let encoding = settings.keys().find(|name| name.eq_ignore_ascii_case("client_encoding"));
    if encoding.is_some() {
        let problem = "must not contain `client_encoding`: the driver speaks UTF-8 only";
        return Err(ConfigError::invalid(Origin::option("server_settings"), problem));
    }
    let statement_timeout = unless_off(statement_timeout).map(|timeout| {
        // Zero would be no bound at all.
        ("statement_timeout", "statement_timeout", timeout.as_millis().clamp(1, i32::MAX as u128).to_string())
    });
    let isolation_level = isolation_level.map(|level| {
        let word =
            IsolationLevel::WORDS.iter().find(|(_, known)| *known == level).map_or("", |(word, _)| word);
        ("isolation_level", "default_transaction_isolation", word.replace('-', " "))
    });
    for (option, name, value) in statement_timeout.into_iter().chain(isolation_level) {
        if settings.insert(name, (Origin::option(option), value)).is_some() {
            let problem = format!("says the same as `{name}` in `server_settings`; give one of them");
            return Err(ConfigError::conflict(Origin::option(option), problem));
        }
    }
    Ok(settings)
}

fn at_least(option: &str, value: u32, least: u32, shown: &str) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(ConfigError::invalid(Origin::option(option), format!("must be at least {shown}, not {value}")))
}

fn positive(origin: Origin, duration: Duration) -> Result<Duration, ConfigError> {
    if duration.is_zero() {
        return Err(ConfigError::invalid(origin, "must be longer than zero"));
    }
    Ok(duration.min(CENTURY))
}

fn unless_off(duration: Option<Duration>) -> Option<Duration> {
    duration.filter(|duration| !duration.is_zero()).map(|duration| duration.min(CENTURY))
}
