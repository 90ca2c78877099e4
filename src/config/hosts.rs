//! Parameters -> where the servers are.

use std::net::IpAddr;

use super::parameters::Parameters;
use super::{ConfigError, Host, OptionSource, Server, defaults};

/// As many as there are names; a single port is every host's, and an address without a name is its
/// own name.
pub(super) fn hosts(parameters: &mut Parameters) -> Result<Vec<Server>, ConfigError> {
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

/// The error does not quote the text, which may hold a part of a password that a raw `@` or `/` has
/// torn apart.
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

/// A value with commas; an empty entry stands for the default.
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
