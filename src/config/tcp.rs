//! Parameters -> how a server that vanished is noticed.

use std::time::Duration;

use super::parameters::Parameters;
use super::{ConfigError, Keepalive, defaults};

/// What Linux takes.
const MOST_SECONDS: u64 = i16::MAX as u64;
const MOST_RETRIES: u32 = 127;
const MOST_MILLISECONDS: u128 = i32::MAX as u128;

/// The operating systems' own, for which an explicit zero asks.
const SYSTEM_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

pub(super) fn keepalive(parameters: &mut Parameters) -> Result<Option<Keepalive>, ConfigError> {
    if let Some((false, switch)) = parameters.take_as::<bool>("keepalives")? {
        let mut others = ["keepalives_idle", "keepalives_interval", "keepalives_count"].into_iter();
        return match others.find_map(|name| parameters.take(name)) {
            Some(other) => {
                Err(ConfigError::conflict(other.source, format!("has no effect when {switch} is off")))
            }
            None => Ok(None),
        };
    }
    let idle = seconds(parameters, "keepalives_idle", defaults::KEEPALIVES_IDLE)?;
    let interval = seconds(parameters, "keepalives_interval", defaults::KEEPALIVES_INTERVAL)?;
    let retries = match parameters.take_as::<u32>("keepalives_count")? {
        Some((retries, source)) if retries > MOST_RETRIES => {
            return Err(ConfigError::invalid(source, format!("must be at most {MOST_RETRIES}")));
        }
        retries => retries.map_or(defaults::KEEPALIVES_COUNT, |(retries, _)| retries),
    };
    Ok(Some(Keepalive {
        idle: if idle.is_zero() { SYSTEM_IDLE } else { idle },
        interval: Some(interval).filter(|interval| !interval.is_zero()),
        retries: Some(retries).filter(|retries| *retries > 0),
    }))
}

fn seconds(parameters: &mut Parameters, name: &str, default: Duration) -> Result<Duration, ConfigError> {
    match parameters.take_as::<Duration>(name)? {
        Some((duration, source)) if duration.subsec_nanos() != 0 || duration.as_secs() > MOST_SECONDS => {
            Err(ConfigError::invalid(source, format!("must be whole seconds, at most {MOST_SECONDS}")))
        }
        given => Ok(given.map_or(default, |(duration, _)| duration)),
    }
}

/// Zero is off. Any other bare number is refused: it is milliseconds to libpq and seconds to
/// tokio-postgres.
pub(super) fn user_timeout(parameters: &mut Parameters) -> Result<Option<Duration>, ConfigError> {
    let name = "tcp_user_timeout";
    let Some(given) = parameters.take(name) else {
        return Ok(Some(defaults::TCP_USER_TIMEOUT));
    };
    let has_unit = given.value.trim().parse::<f64>().is_err();
    let (timeout, source) = given.read::<Option<Duration>>()?;
    match timeout.filter(|timeout| !timeout.is_zero()) {
        None => Ok(None),
        Some(_) if !has_unit => {
            let problem = r#"needs a unit, as in "30s" or "30000ms" (libpq counts milliseconds)"#;
            Err(ConfigError::invalid(source, problem))
        }
        Some(timeout) if (1..=MOST_MILLISECONDS).contains(&timeout.as_millis()) => Ok(Some(timeout)),
        Some(_) => {
            Err(ConfigError::invalid(source, format!("must be from 1 to {MOST_MILLISECONDS} milliseconds")))
        }
    }
}
