//! Parameters -> where the server is and how it is talked to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::parameters::{Given, Parameters};
use super::{ConfigError, Host, Keepalive, Origin, Server, defaults};
use crate::tokio_postgres::config::ChannelBinding;

/// As many as there are names; a single port is every host's, and an address without a name is its
/// own name.
pub(super) fn hosts(parameters: &mut Parameters) -> Result<Vec<Server>, ConfigError> {
    let names = list(parameters.take("host"));
    let addresses = list(parameters.take("hostaddr"));
    let ports = list(parameters.take("port"));
    let count = names.len().max(addresses.len()).max(1);
    if addresses.len() > 0 && names.len() > 0 && addresses.len() != names.len() {
        let problem = format!("has {} entries, `host` has {}", addresses.len(), names.len());
        return Err(ConfigError::conflict(addresses.origin("hostaddr"), problem));
    }
    if ports.len() > 1 && ports.len() != count {
        let problem = format!("has {} entries for {count} hosts", ports.len());
        return Err(ConfigError::conflict(ports.origin("port"), problem));
    }
    let server = |index| {
        let hostaddr = addresses.get(index).map(|text| address(text, &addresses)).transpose()?;
        let host = match (names.get(index), hostaddr) {
            (Some(name), _) => host(name, &names)?,
            (None, Some(address)) => Host::Tcp(address.to_string()),
            (None, None) => Host::Tcp(defaults::HOST.into()),
        };
        let port = match ports.get(if ports.len() == 1 { 0 } else { index }) {
            Some(text) => port(text, &ports)?,
            None => defaults::PORT,
        };
        Ok(Server { host, hostaddr, port })
    };
    (0..count).map(server).collect()
}

fn address(text: &str, given: &List) -> Result<IpAddr, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError::invalid(given.origin("hostaddr"), "must be IP addresses, separated by commas")
    })
}

fn port(text: &str, given: &List) -> Result<u16, ConfigError> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ConfigError::invalid(given.origin("port"), "must be a number from 1 to 65535")),
    }
}

fn host(text: &str, given: &List) -> Result<Host, ConfigError> {
    if text.starts_with('/') {
        if cfg!(unix) {
            return Ok(Host::Unix(text.into()));
        }
        return Err(ConfigError::invalid(
            given.origin("host"),
            "is a socket directory, which this system does not have",
        ));
    }
    if text.contains(|c: char| c.is_whitespace() || "/@?#[]\\".contains(c)) {
        // The text may hold a part of a password that a raw `@` or `/` has torn apart.
        return Err(ConfigError::invalid(
            given.origin("host"),
            "must be a host name, an IP address or a socket directory",
        ));
    }
    Ok(Host::Tcp(text.into()))
}

/// A value with commas; an empty entry stands for the default.
struct List {
    origin: Option<Origin>,
    entries: Vec<String>,
}

fn list(given: Option<Given>) -> List {
    match given.filter(|given| !given.value.is_empty()) {
        Some(Given { origin, value }) => List {
            origin: Some(origin),
            entries: value.split(',').map(|entry| entry.trim().to_owned()).collect(),
        },
        None => List { origin: None, entries: Vec::new() },
    }
}

impl List {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(|entry| &**entry).filter(|entry| !entry.is_empty())
    }

    fn origin(&self, name: &str) -> Origin {
        self.origin.clone().unwrap_or_else(|| Origin::option(name))
    }
}

pub(super) fn keepalive(parameters: &mut Parameters) -> Result<Option<Keepalive>, ConfigError> {
    /// What Linux takes.
    const MOST_RETRIES: u32 = 127;
    /// The operating systems' own, for which an explicit zero asks.
    const SYSTEM_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

    if let Some((false, origin)) = parameters.take_as::<bool>("keepalives")? {
        for name in ["keepalives_idle", "keepalives_interval", "keepalives_count", "keepalives_retries"] {
            if let Some(given) = parameters.take(name) {
                return Err(ConfigError::conflict(
                    given.origin,
                    format!("has no effect when {origin} is off"),
                ));
            }
        }
        return Ok(None);
    }
    let idle = parameters.take_seconds("keepalives_idle")?.unwrap_or(defaults::KEEPALIVES_IDLE);
    let interval = parameters.take_seconds("keepalives_interval")?.unwrap_or(defaults::KEEPALIVES_INTERVAL);
    let count = parameters.take_as::<u32>("keepalives_count")?;
    let retries = match (count, parameters.take_as("keepalives_retries")?) {
        (Some(_), Some((_, origin))) => {
            return Err(ConfigError::conflict(
                origin,
                "says the same as `keepalives_count`; give one of them",
            ));
        }
        (Some((retries, origin)), None) | (None, Some((retries, origin))) if retries > MOST_RETRIES => {
            return Err(ConfigError::invalid(origin, format!("must be at most {MOST_RETRIES}")));
        }
        (Some((retries, _)), None) | (None, Some((retries, _))) => retries,
        (None, None) => defaults::KEEPALIVES_COUNT,
    };
    Ok(Some(Keepalive {
        idle: if idle.is_zero() { SYSTEM_IDLE } else { idle },
        interval: Some(interval).filter(|interval| !interval.is_zero()),
        retries: Some(retries).filter(|retries| *retries > 0),
    }))
}

/// Zero is off. Any other bare number is refused: it is milliseconds to libpq and seconds to
/// tokio-postgres.
pub(super) fn tcp_user_timeout(parameters: &mut Parameters) -> Result<Option<Duration>, ConfigError> {
    const LONGEST: u128 = i32::MAX as u128;
    let Some(given) = parameters.take("tcp_user_timeout") else {
        return Ok(Some(defaults::TCP_USER_TIMEOUT));
    };
    let is_bare = given.value.trim().parse::<f64>().is_ok();
    let (timeout, origin) = given.parse::<Option<Duration>>()?;
    match timeout.filter(|timeout| !timeout.is_zero()) {
        None => Ok(None),
        Some(_) if is_bare => Err(ConfigError::invalid(
            origin,
            r#"needs a unit, as in "30s" or "30000ms" (libpq counts milliseconds)"#,
        )),
        Some(timeout) if (1..=LONGEST).contains(&timeout.as_millis()) => Ok(Some(timeout)),
        Some(_) => Err(ConfigError::invalid(origin, format!("must be from 1 to {LONGEST} milliseconds"))),
    }
}

pub(super) fn channel_binding(
    parameters: &mut Parameters,
    encrypts: bool,
) -> Result<ChannelBinding, ConfigError> {
    let words = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    match parameters.take_word("channel_binding", &words)? {
        Some((ChannelBinding::Require, origin)) if !encrypts => {
            Err(ConfigError::conflict(origin, "needs an encrypted connection, as with `ssl = require`"))
        }
        given => Ok(given.map_or(ChannelBinding::Prefer, |(binding, _)| binding)),
    }
}

/// The start-up `options`: a user's own, then `-c name=value` for each setting. They are a
/// session's defaults, so that `RESET ALL` comes back to them.
pub(super) fn startup_options(
    own: Option<Given>,
    settings: &BTreeMap<&str, (Origin, String)>,
) -> Result<String, ConfigError> {
    let (mut options, origin) = match own {
        Some(given) => (given.value, given.origin),
        None => (String::new(), Origin::option("options")),
    };
    let backslashes = options.len() - options.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        return Err(ConfigError::invalid(origin, "must not end in a single backslash"));
    }
    for (name, (origin, value)) in settings {
        if !is_setting_name(name) {
            let problem = format!("has `{}`, which is no name of a setting", name.escape_debug());
            return Err(ConfigError::invalid(origin.clone(), problem));
        }
        if value.contains('\0') {
            return Err(ConfigError::invalid(origin.clone(), format!("has a NUL character in `{name}`")));
        }
        let separator = if options.is_empty() { "" } else { " " };
        write!(options, "{separator}-c {name}={}", escaped(value)).expect("a String takes everything");
    }
    Ok(options)
}

/// `pg_split_opts` of the server splits at C's `isspace`, and takes what follows a backslash as it
/// is.
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

fn is_setting_name(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    })
}
