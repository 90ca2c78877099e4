//! `Config` -> `Settings`: every option is applied or refused.

use std::time::Duration;

use super::enums::Choice;
use super::parameters::Parameters;
use super::settings::{PoolSettings, ServerSettings, SessionSettings, StartSettings};
use super::startup::{self, Startup};
use super::{Config, ConfigError, Host, OptionSource, Settings, Ssl, SslMode, defaults, hosts, names, tcp};
use crate::tokio_postgres;
use crate::tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, TargetSessionAttrs};

const DRIVERS: [&str; 4] = [defaults::DRIVER, "postgres", "postgresql", "asyncpg"];

const IS_URL: &str = "is a URL; that is what `dsn` is for";

/// What a bound is cut to, lest an addition to the present time overflow: as good as for ever.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Config {
    /// Checks everything that can be checked without a connection and without reading a file.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
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
            ssl,
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
            let problem = match names::is_url(driver) {
                true => IS_URL.to_owned(),
                false => format!("must be one of {}, not `{}`", DRIVERS.join(", "), driver.escape_debug()),
            };
            return Err(ConfigError::invalid(OptionSource::option("driver"), problem));
        }
        sizes(*pool_min_size, *pool_max_size)?;
        if *retry_limit == 0 {
            let problem = "must be at least 1, the number of attempts in all, not 0";
            return Err(ConfigError::invalid(OptionSource::option("retry_limit"), problem));
        }

        let mut parameters = match dsn {
            Some(dsn) => Parameters::of_dsn(dsn)?,
            None => {
                let mut parameters = Parameters::default();
                parameters.give_option("host", host)?;
                parameters.give_option("port", &port.to_string())?;
                parameters.give_option("user", user)?;
                parameters.give_option("password", password)?;
                parameters.give("dbname", database, OptionSource::option("database"))?;
                parameters
            }
        };
        if let Some(mode) = ssl {
            parameters.give_option("ssl", mode.word())?;
        }
        if let Some(name) = application_name {
            parameters.give_option("application_name", name)?;
        }
        parameters.refuse(&["host", "user", "dbname"], names::is_url, IS_URL)?;
        for (name, value) in driver_options {
            if !names::is_parameter(name) {
                return Err(ConfigError::unknown(OptionSource::option(name), names::nearest(name)));
            }
            parameters.give_option(name, value)?;
        }
        let connect_timeout = match parameters.take_as("connect_timeout")? {
            Some(of_dsn) if *connect_timeout == defaults::CONNECT_TIMEOUT => of_dsn,
            _ => (*connect_timeout, OptionSource::option("connect_timeout")),
        };
        let startup = startup::settings(server_settings, unless_off(*statement_timeout), *isolation_level)?;

        let settings = Settings {
            server: server(&mut parameters, &startup, positive(connect_timeout)?)?,
            pool: PoolSettings {
                min_size: *pool_min_size,
                max_size: *pool_max_size,
                acquire_timeout: positive((*acquire_timeout, OptionSource::option("acquire_timeout")))?,
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
                reset_timeout: positive((*reset_timeout, OptionSource::option("reset_timeout")))?,
                echo: *echo,
            },
            use_connection_for_request: *use_connection_for_request,
        };
        parameters.finish()?;
        Ok(settings)
    }
}

fn server(
    parameters: &mut Parameters,
    startup: &Startup,
    connect_timeout: Duration,
) -> Result<ServerSettings, ConfigError> {
    let hosts = hosts::hosts(parameters)?;
    let mut ssl = Ssl::take(parameters, &hosts)?;
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
    let options = startup::options(parameters, startup)?;
    if !options.is_empty() {
        driver.options(options);
    }
    match parameters.take_as("channel_binding")? {
        Some((ChannelBinding::Require, source)) if ssl.mode == SslMode::Disable => {
            let problem = "needs an encrypted connection, as with `ssl = require`";
            return Err(ConfigError::conflict(source, problem));
        }
        Some((binding, _)) => drop(driver.channel_binding(binding)),
        None => {}
    }
    driver.ssl_negotiation(ssl.negotiation);

    let order = parameters.take_as::<LoadBalanceHosts>("load_balance_hosts")?;
    let attrs = parameters.take_as("target_session_attrs")?;
    Ok(ServerSettings {
        hosts,
        load_balance_hosts: order.is_some_and(|(order, _)| order == LoadBalanceHosts::Random),
        target_session_attrs: attrs.map_or(TargetSessionAttrs::Any, |(attrs, _)| attrs),
        driver,
        ssl,
        connect_timeout,
        keepalive: tcp::keepalive(parameters)?,
        tcp_user_timeout: tcp::user_timeout(parameters)?,
    })
}

fn sizes(min: u32, max: u32) -> Result<(), ConfigError> {
    let (option, problem) = if max == 0 {
        ("pool_max_size", "must be at least 1, not 0".into())
    } else if min <= max {
        return Ok(());
    } else if max == defaults::POOL_MAX_SIZE {
        ("pool_min_size", format!("must be at most `pool_max_size` ({max}), not {min}"))
    } else {
        ("pool_max_size", format!("must be at least `pool_min_size` ({min}), not {max}"))
    };
    Err(ConfigError::invalid(OptionSource::option(option), problem))
}

fn positive((duration, source): (Duration, OptionSource)) -> Result<Duration, ConfigError> {
    if duration.is_zero() {
        return Err(ConfigError::invalid(source, "must be longer than zero"));
    }
    Ok(duration.min(CENTURY))
}

fn unless_off(duration: Option<Duration>) -> Option<Duration> {
    duration.filter(|duration| !duration.is_zero()).map(|duration| duration.min(CENTURY))
}
