//! Takes from the parameters where the server is, how one that vanished is noticed, and how the connection is encrypted.

use std::net::IpAddr;
use std::time::Duration;

use super::dsn::Parameters;
use super::{
    ConfigError, Host, Keepalive, OptionSource, PemFile, RequireAuth, Server, ServerSettings, Ssl, SslMode,
    TargetSessionAttrs, defaults, files,
};
use crate::tokio_postgres;
use crate::tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation};

/// The largest values that Linux takes.
const MOST_SECONDS: u64 = i16::MAX as u64;
const MOST_RETRIES: u32 = 127;
const MOST_MILLISECONDS: u128 = i32::MAX as u128;

/// The default of the operating systems, which zero asks for.
const SYSTEM_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// Reads everything about the server. What the parameters hold besides stays in them.
pub(super) fn settings(
    parameters: &mut Parameters,
    startup_options: String,
    connect_timeout: Duration,
) -> Result<ServerSettings, ConfigError> {
    let hosts = hosts(parameters)?;
    let mut ssl = ssl(parameters, &hosts)?;
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
    if !startup_options.is_empty() {
        driver.options(startup_options);
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

    let require_auth = match parameters.take("require_auth").filter(|given| !given.value.is_empty()) {
        Some(given) => Some(given.read::<RequireAuth>()?.0.into()),
        None => None,
    };
    let order = parameters.take_as::<LoadBalanceHosts>("load_balance_hosts")?;
    let attrs = parameters.take_as("target_session_attrs")?;
    Ok(ServerSettings {
        hosts,
        load_balance_hosts: order.is_some_and(|(order, _)| order == LoadBalanceHosts::Random),
        target_session_attrs: attrs.map_or_else(TargetSessionAttrs::default, |(attrs, _)| attrs),
        driver,
        passfile: parameters.take_text("passfile").map(Into::into),
        require_auth,
        ssl,
        connect_timeout,
        keepalive: keepalive(parameters)?,
        tcp_user_timeout: user_timeout(parameters)?,
    })
}

/// Pairs names, addresses and ports by their position. A single port is that of every host, and an address without a name
/// is its own name.
fn hosts(parameters: &mut Parameters) -> Result<Vec<Server>, ConfigError> {
    let [names, addresses, ports] = ["host", "hostaddr", "port"].map(|name| List::take(parameters, name));
    let count = names.len().max(addresses.len()).max(1);
    if addresses.len() != 0 && names.len() != 0 && addresses.len() != names.len() {
        let problem = format!("has {} entries, `host` has {}", addresses.len(), names.len());
        return Err(ConfigError::conflict(addresses.source, problem));
    }
    if ports.len() > 1 && ports.len() != count {
        let problem = format!("has {} entries for {count} hosts", ports.len());
        return Err(ConfigError::conflict(ports.source, problem));
    }
    let server = |index| {
        let refused = |list: &List, problem| ConfigError::invalid(list.source.clone(), problem);
        let hostaddr = addresses.get(index).map(str::parse::<IpAddr>).transpose();
        let hostaddr =
            hostaddr.map_err(|_| refused(&addresses, "must be IP addresses, separated by commas"))?;
        let host = match (names.get(index), hostaddr) {
            (Some(name), _) => host(name).map_err(|problem| refused(&names, problem))?,
            (None, Some(address)) => Host::Tcp(address.to_string()),
            (None, None) => Host::Tcp(defaults::HOST.into()),
        };
        let port = ports.get(if ports.len() == 1 { 0 } else { index }).map_or(Ok(defaults::PORT), str::parse);
        match port {
            Ok(port) if port > 0 => Ok(Server { host, hostaddr, port }),
            _ => Err(refused(&ports, "must be a number from 1 to 65535")),
        }
    };
    (0..count).map(server).collect()
}

/// Reads one host. The error does not quote it: a raw `@` or `/` in a password puts the rest of the password here.
fn host(text: &str) -> Result<Host, &'static str> {
    if text.starts_with('/') {
        return match cfg!(unix) {
            true => Ok(Host::Unix(text.into())),
            false => Err("is a socket directory, which this system does not have"),
        };
    }
    if text.contains(|c: char| c.is_whitespace() || "/@?#[]\\".contains(c)) {
        return Err("must be a host name, an IP address or a socket directory");
    }
    Ok(Host::Tcp(text.into()))
}

/// A value with commas, split. An empty entry stands for the default.
struct List {
    source: OptionSource,
    entries: Vec<String>,
}

impl List {
    fn take(parameters: &mut Parameters, name: &str) -> Self {
        match parameters.take(name).filter(|given| !given.value.is_empty()) {
            Some(given) => {
                let entries = given.value.split(',').map(|entry| entry.trim().to_owned());
                Self { source: given.source, entries: entries.collect() }
            }
            None => Self { source: OptionSource::option(name), entries: Vec::new() },
        }
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(String::as_str).filter(|entry| !entry.is_empty())
    }
}

/// Reads `keepalives` and what belongs to it. Zero is the default of the system.
fn keepalive(parameters: &mut Parameters) -> Result<Option<Keepalive>, ConfigError> {
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

/// Reads whole seconds, as sockets take them.
fn seconds(parameters: &mut Parameters, name: &str, default: Duration) -> Result<Duration, ConfigError> {
    match parameters.take_as::<Duration>(name)? {
        Some((duration, source)) if duration.subsec_nanos() != 0 || duration.as_secs() > MOST_SECONDS => {
            Err(ConfigError::invalid(source, format!("must be whole seconds, at most {MOST_SECONDS}")))
        }
        given => Ok(given.map_or(default, |(duration, _)| duration)),
    }
}

/// Reads `tcp_user_timeout`. Zero switches it off. Any other bare number is refused, because it is milliseconds to libpq and
/// seconds to tokio-postgres.
fn user_timeout(parameters: &mut Parameters) -> Result<Option<Duration>, ConfigError> {
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

/// Reads what concerns encryption, and refuses what has no effect together.
fn ssl(parameters: &mut Parameters, hosts: &[Server]) -> Result<Ssl, ConfigError> {
    let conflict = |source, problem| Err(ConfigError::conflict(source, problem));
    let (mode, source) = match parameters.take_as("sslmode")? {
        Some((mode, source)) => (Some(mode), source),
        None => (None, OptionSource::option("ssl")),
    };
    let mut root = file(parameters, "sslrootcert");
    let mode = match root.take_if(|root| root.path.as_os_str() == "system") {
        // As in libpq: the system's authorities certify anybody, so the name has to be checked.
        Some(system) if mode.is_some_and(|mode| mode != SslMode::VerifyFull) => {
            return conflict(system.source, "can only be `system` with `ssl = verify-full`");
        }
        Some(_) => SslMode::VerifyFull,
        None => mode.unwrap_or_default(),
    };
    if mode == SslMode::VerifyCa && root.is_none() {
        return conflict(source, "needs a `sslrootcert`, or better be `verify-full`");
    }
    let client = match (file(parameters, "sslcert"), file(parameters, "sslkey")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (Some(cert), None) => return conflict(cert.source, "needs a `sslkey`"),
        (None, Some(key)) => return conflict(key.source, "needs a `sslcert`"),
        (None, None) => None,
    };
    let unused = root.as_ref().or(client.as_ref().map(|(cert, _)| cert));
    if let (SslMode::Disable, Some(unused)) = (mode, unused) {
        return conflict(unused.source.clone(), "has no effect when `ssl` is `disable`");
    }
    let negotiation = match parameters.take_as("sslnegotiation")? {
        Some((SslNegotiation::Direct, source)) if matches!(mode, SslMode::Disable | SslMode::Prefer) => {
            return conflict(source, "can only be `direct` with `ssl = require` or stricter");
        }
        given => given.map_or(SslNegotiation::Postgres, |(negotiation, _)| negotiation),
    };
    let is_local = hosts.iter().all(Server::is_local);
    Ok(Ssl { mode, source, root, client, negotiation, is_local })
}

/// Takes out the name of a file. An empty one is as good as none, as in libpq.
fn file(parameters: &mut Parameters, name: &str) -> Option<PemFile> {
    let given = parameters.take(name).filter(|given| !given.value.is_empty())?;
    let source = files::origin(name, &given.value, given.source);
    Some(PemFile { path: given.value.into(), source })
}
