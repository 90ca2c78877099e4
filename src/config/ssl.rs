//! Parameters -> how much TLS is wanted.

use std::path::PathBuf;

use super::parameters::Parameters;
use super::{ConfigError, Origin, SslMode};

/// What [`Tls`](crate::database::Tls) is made of. Each part remembers where it was given.
#[derive(Debug, Clone)]
pub(crate) struct Ssl {
    pub(crate) mode: SslMode,
    pub(crate) origin: Origin,
    /// The certificates that vouch for the server's. `None` is the system's.
    pub(crate) root: Option<(PathBuf, Origin)>,
    /// The certificate and the key that the server is shown when it asks.
    pub(crate) client: Option<Identity>,
    /// Whether the handshake begins without asking the server first.
    pub(crate) direct: bool,
}

/// A client's certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cert: (PathBuf, Origin),
    pub(crate) key: (PathBuf, Origin),
}

/// `chosen` is the option `ssl`, which a DSN's `sslmode` gives way to.
pub(super) fn ssl(chosen: Option<SslMode>, parameters: &mut Parameters) -> Result<Ssl, ConfigError> {
    let (mode, origin) = match (chosen, parameters.take_as("sslmode")?) {
        (Some(_), Some((_, origin @ Origin::Option(_)))) => {
            return Err(ConfigError::conflict(origin, "says the same as `ssl`; give one of them"));
        }
        (Some(mode), _) => (Some(mode), Origin::option("ssl")),
        (None, Some((mode, origin))) => (Some(mode), origin),
        (None, None) => (None, Origin::option("ssl")),
    };
    let root = path(parameters, "sslrootcert");
    let (system, root) = match root {
        Some((path, origin)) if path.as_os_str() == "system" => (Some(origin), None),
        root => (None, root),
    };
    let mode = match (mode, system) {
        (None, Some(_)) => SslMode::VerifyFull,
        (Some(mode), Some(origin)) if mode != SslMode::VerifyFull => {
            return Err(ConfigError::conflict(origin, SYSTEM_NEEDS_NAMES));
        }
        (mode, _) => mode.unwrap_or(SslMode::Prefer),
    };
    if mode == SslMode::VerifyCa && root.is_none() {
        return Err(ConfigError::conflict(origin, "needs a `sslrootcert`, or better be `verify-full`"));
    }
    let client = match (path(parameters, "sslcert"), path(parameters, "sslkey")) {
        (Some(cert), Some(key)) => Some(Identity { cert, key }),
        (Some((_, origin)), None) => return Err(ConfigError::conflict(origin, "needs a `sslkey`")),
        (None, Some((_, origin))) => {
            return Err(ConfigError::conflict(origin, "needs a `sslcert`"));
        }
        (None, None) => None,
    };
    let negotiation = parameters.take_word("sslnegotiation", &[("postgres", false), ("direct", true)])?;
    let direct = match negotiation {
        Some((true, origin)) if matches!(mode, SslMode::Disable | SslMode::Prefer) => {
            return Err(ConfigError::conflict(
                origin,
                "can only be `direct` with `ssl = require` or stricter",
            ));
        }
        negotiation => negotiation.is_some_and(|(direct, _)| direct),
    };
    if mode == SslMode::Disable {
        let unused = root.iter().map(|root| &root.1).chain(client.iter().map(|client| &client.cert.1)).next();
        if let Some(unused) = unused {
            return Err(ConfigError::conflict(unused.clone(), "has no effect when `ssl` is `disable`"));
        }
    }
    Ok(Ssl { mode, origin, root, client, direct })
}

/// As libpq sees it: one of the system's authorities gives everybody a certificate, only not with
/// this name.
const SYSTEM_NEEDS_NAMES: &str = "can only be `system` with `ssl = verify-full`";

fn path(parameters: &mut Parameters, name: &str) -> Option<(PathBuf, Origin)> {
    let given = parameters.take(name).filter(|given| !given.value.is_empty())?;
    Some((given.value.into(), given.origin))
}
