//! Checks a `Config` and makes the [`Settings`] of it. Options that contradict each other are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dsn::{Given, Parameters};
use super::enums::Choice;
use super::pooler::{self, Startup, StartupSettings, StartupSql};
use super::settings::{
    PoolSettings, ReaderSettings, ServerSettings, SessionSettings, Settings, SharedReadSettings,
    StartSettings, WarningSettings,
};
use super::{
    Config, ConfigError, IsolationLevel, OptionSource, Pooler, Reset, defaults, names, read_your_writes,
    reader, server,
};

const DRIVERS: [&str; 4] = [defaults::DRIVER, "postgres", "postgresql", "asyncpg"];

const IS_URL: &str = "is a URL; that is what `dsn` is for";

/// The longest bound. Added to the present time, a longer one could overflow.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Config {
    /// Checks everything that needs neither a connection nor a file.
    ///
    /// The pattern names every field, so an option that is not looked at does not compile.
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
            connect_timeout: _,
            acquire_timeout,
            max_waiting,
            queue_target,
            queue_interval,
            idle_timeout,
            max_lifetime,
            test_after_idle,
            statement_cache_size,
            reset,
            reset_timeout,
            close_timeout,
            command_timeout,
            statement_timeout: _,
            isolation_level: _,
            server_settings: _,
            application_name,
            pooler: _,
            shared_reads,
            shared_reads_slow,
            shared_reads_large,
            reader,
            reader_max_lag,
            read_your_writes,
            read_your_writes_key,
            slow_statement,
            slow_acquire,
            long_hold,
            repeated_statement,
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
        let of_reader = reader.as_deref().map(|reader| {
            reader::parameters(reader, &parameters)
                .and_then(|parameters| self.server(parameters))
                .map_err(|err| reader::refused(&err))
        });
        let (server, pooler, startup) = self.server(parameters)?;
        let max_lag = reader::lag_bound(unless_off(*reader_max_lag), reader.is_some())?;
        let own_writes =
            read_your_writes::check(*read_your_writes, read_your_writes_key, max_lag, reader.is_some())?;
        let reader = match of_reader.transpose()? {
            None => None,
            Some((server, of_reader, _)) => {
                pooler::check_reader(pooler, of_reader, max_lag, &own_writes)?;
                Some(ReaderSettings { server, max_lag, own_writes })
            }
        };

        let shared = SharedReadSettings {
            sessions: shareable(*shared_reads, *reset, *statement_cache_size)?,
            slow: positive((*shared_reads_slow, OptionSource::option("shared_reads_slow")))?,
            large: at_least_one(*shared_reads_large, "shared_reads_large")?.into(),
        };
        Ok(Settings {
            server,
            pool: PoolSettings {
                min_size: *pool_min_size,
                max_size: *pool_max_size,
                acquire_timeout: positive((*acquire_timeout, OptionSource::option("acquire_timeout")))?,
                max_waiting: *max_waiting,
                queue_target: unless_off(*queue_target),
                queue_interval: positive((*queue_interval, OptionSource::option("queue_interval")))?,
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
                pooler,
                restore: startup.restore.into(),
                not_in_force: startup.not_in_force.into(),
            },
            shared_reads: shared,
            reader,
            warnings: WarningSettings {
                slow_statement: unless_off(*slow_statement),
                slow_acquire: unless_off(*slow_acquire),
                long_hold: unless_off(*long_hold),
                repeated_statement: repeated_statement.filter(|times| *times > 0),
            },
            use_connection_for_request: *use_connection_for_request,
            name: None,
        })
    }

    /// Takes from the parameters all that is about the server: also the pooler in between, and what it does to the settings of a start.
    fn server(
        &self,
        mut parameters: Parameters,
    ) -> Result<(ServerSettings, Pooler, StartupSql), ConfigError> {
        let connect_timeout = match parameters.take_as("connect_timeout")? {
            Some(of_dsn) if self.connect_timeout == defaults::CONNECT_TIMEOUT => of_dsn,
            _ => (self.connect_timeout, OptionSource::option("connect_timeout")),
        };
        let pooler = match parameters.take_as("pooler")? {
            Some((of_dsn, _)) if self.pooler == Pooler::None => of_dsn,
            _ => self.pooler,
        };
        let statement_timeout = unless_off(self.statement_timeout);
        let settings = startup_settings(&self.server_settings, statement_timeout, self.isolation_level)?;
        let options = parameters.take("options").filter(|own| !own.value.is_empty());
        let given = options.as_ref().map(|own| &own.source);
        pooler::check(pooler, self.reset, self.shared_reads, given, &settings)?;
        let startup_options = match pooler {
            Pooler::None => startup_options(options, &settings)?,
            _ => String::new(),
        };
        let server = server::settings(&mut parameters, startup_options, positive(connect_timeout)?)?;
        parameters.finish()?;
        let startup = StartupSql::new(pooler, &settings, server.driver.get_application_name());
        Ok((server, pooler, startup))
    }
}

/// Refuses sizes of a pool that cannot be.
pub(crate) fn sizes(min: u32, max: u32) -> Result<(), ConfigError> {
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

/// Refuses what shared sessions cannot have.
fn shareable(sessions: u32, reset: Reset, statement_cache_size: u32) -> Result<u32, ConfigError> {
    let problem = if sessions == 0 {
        return Ok(0);
    } else if reset == Reset::Always {
        "cannot be on with `reset = \"always\"`: a session that several requests share is not reset between two of them"
    } else if statement_cache_size == 0 {
        "cannot be on with `statement_cache_size = 0`: only prepared statements are shared"
    } else {
        return Ok(sessions);
    };
    Err(ConfigError::conflict(OptionSource::option("shared_reads"), problem))
}

fn at_least_one(number: u32, option: &str) -> Result<u32, ConfigError> {
    if number == 0 {
        return Err(ConfigError::invalid(OptionSource::option(option), "must be at least 1, not 0"));
    }
    Ok(number)
}

/// Refuses zero.
fn positive((duration, source): (Duration, OptionSource)) -> Result<Duration, ConfigError> {
    if duration.is_zero() {
        return Err(ConfigError::invalid(source, "must be longer than zero"));
    }
    Ok(duration.min(CENTURY))
}

/// Zero is `None`.
fn unless_off(duration: Option<Duration>) -> Option<Duration> {
    duration.filter(|duration| !duration.is_zero()).map(|duration| duration.min(CENTURY))
}

/// Joins the start-up parameter `options`: those of the user, then `-c name=value` for each setting, which wins because it is last.
/// `RESET ALL` restores these values.
fn startup_options(own: Option<Given>, settings: &StartupSettings) -> Result<String, ConfigError> {
    let mut options = Vec::new();
    if let Some(own) = own {
        let backslashes = own.value.len() - own.value.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            return Err(ConfigError::invalid(own.source, "must not end in a single backslash"));
        }
        options.push(own.value);
    }
    options.extend(settings.iter().map(|(name, setting)| format!("-c {name}={}", escaped(&setting.value))));
    Ok(options.join(" "))
}

/// Checks the server settings, and adds those that have an option of their own.
fn startup_settings(
    server_settings: &BTreeMap<String, String>,
    statement_timeout: Option<Duration>,
    isolation_level: Option<IsolationLevel>,
) -> Result<StartupSettings, ConfigError> {
    let source = OptionSource::option("server_settings");
    let mut settings = StartupSettings::new();
    for (name, value) in server_settings {
        let refused = |problem| Err(ConfigError::invalid(source.clone(), problem));
        if !is_name(name) {
            return refused(format!("has `{}`, which is no name of a setting", name.escape_debug()));
        }
        if value.contains('\0') {
            return refused(format!("has a NUL character in `{name}`"));
        }
        if name.eq_ignore_ascii_case("client_encoding") {
            return refused("must not contain `client_encoding`: the driver speaks UTF-8 only".into());
        }
        settings.insert(name.clone(), Startup { option: "server_settings", value: value.clone() });
    }
    let mut add = |option, name: &str, value| match settings.insert(name.into(), Startup { option, value }) {
        Some(_) => Err(ConfigError::twice(OptionSource::option(option), &format!("server_settings.{name}"))),
        None => Ok(()),
    };
    if let Some(timeout) = statement_timeout {
        // Zero milliseconds would be no bound at all.
        let milliseconds = timeout.as_millis().clamp(1, i32::MAX as u128);
        add("statement_timeout", "statement_timeout", milliseconds.to_string())?;
    }
    if let Some(level) = isolation_level {
        add("isolation_level", "default_transaction_isolation", level.word().replace('-', " "))?;
    }
    Ok(settings)
}

/// Escapes what the server's `pg_split_opts` would split at, C's `isspace`, and the backslash itself.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Whether it is the name of a setting, such as `work_mem` or `app.tenant`.
fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    })
}
