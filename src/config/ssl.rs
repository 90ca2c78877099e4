//! Parameters -> how much TLS is wanted.

use std::fmt;
use std::path::PathBuf;

use super::parameters::Parameters;
use super::{ConfigError, OptionSource, Server, SslMode};
use crate::tokio_postgres::config::SslNegotiation;

/// How the connection to the server is to be encrypted.
#[derive(Clone)]
pub(crate) struct Ssl {
    pub(crate) mode: SslMode,
    /// Where the mode was given.
    pub(crate) source: OptionSource,
    /// The certificates that vouch for the server's. `None` is the system's.
    pub(crate) root: Option<PemFile>,
    /// The certificate and the key that the server is shown when it asks.
    pub(crate) client: Option<(PemFile, PemFile)>,
    pub(crate) negotiation: SslNegotiation,
    /// Every host is this machine: nobody can listen in between.
    #[cfg_attr(
        feature = "rustls-no-provider",
        allow(dead_code, reason = "only who cannot encrypt has to warn")
    )]
    pub(crate) is_local: bool,
}

/// A file with certificates or a key, and where it was named.
#[derive(Debug, Clone)]
pub(crate) struct PemFile {
    pub(crate) path: PathBuf,
    pub(crate) source: OptionSource,
}

impl Ssl {
    pub(super) fn take(parameters: &mut Parameters, hosts: &[Server]) -> Result<Self, ConfigError> {
        let conflict = |source, problem| Err(ConfigError::conflict(source, problem));
        let (mode, source) = match parameters.take_as("sslmode")? {
            Some((mode, source)) => (Some(mode), source),
            None => (None, OptionSource::option("ssl")),
        };
        let mut root = PemFile::take(parameters, "sslrootcert");
        let mode = match root.take_if(|root| root.path.as_os_str() == "system") {
            // As libpq sees it: the system's authorities give anybody a certificate, only not with
            // this name.
            Some(system) if mode.is_some_and(|mode| mode != SslMode::VerifyFull) => {
                return conflict(system.source, "can only be `system` with `ssl = verify-full`");
            }
            Some(_) => SslMode::VerifyFull,
            None => mode.unwrap_or(SslMode::Prefer),
        };
        if mode == SslMode::VerifyCa && root.is_none() {
            return conflict(source, "needs a `sslrootcert`, or better be `verify-full`");
        }
        let client = match (PemFile::take(parameters, "sslcert"), PemFile::take(parameters, "sslkey")) {
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
        Ok(Self { mode, source, root, client, negotiation, is_local })
    }
}

/// Without where the mode was given: what asks for the same looks the same.
impl fmt::Debug for Ssl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, source: _, root, client, negotiation, is_local: _ } = self;
        f.debug_struct("Ssl")
            .field("mode", mode)
            .field("root", root)
            .field("client", client)
            .field("negotiation", negotiation)
            .finish_non_exhaustive()
    }
}

impl PemFile {
    fn take(parameters: &mut Parameters, name: &str) -> Option<Self> {
        let given = parameters.take(name).filter(|given| !given.value.is_empty())?;
        Some(Self { path: given.value.into(), source: given.source })
    }
}
