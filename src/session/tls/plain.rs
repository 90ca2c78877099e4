//! No TLS at all.

use std::io;

use crate::config::{self, ConfigError, ConfigErrorKind, Ssl};
use crate::telemetry;
use crate::tokio_postgres::NoTls as TlsHandshake;
use crate::tokio_postgres::config::SslMode;

/// The application's TLS settings: there is none.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
}

impl Tls {
    /// Refuses what only a feature of TLS can do.
    pub(crate) fn new(ssl: Ssl) -> Result<Self, ConfigError> {
        let Ssl { mode, source, root, client, negotiation: _, is_local } = ssl;
        let file = root.or(client.map(|(cert, _)| cert));
        let wants_tls = match (mode, file) {
            (config::SslMode::Disable, _) => None,
            (config::SslMode::Prefer, file) => file.map(|file| file.source),
            _ => Some(source),
        };
        if let Some(source) = wants_tls {
            let problem = "needs the feature `rustls` or `rustls-ring` of actix-pg";
            return Err(ConfigError::new(source, ConfigErrorKind::MissingFeature, problem));
        }
        if mode == config::SslMode::Prefer && !is_local {
            telemetry::not_encrypted();
        }
        Ok(Self::disabled())
    }

    pub(crate) fn disabled() -> Self {
        Self { mode: SslMode::Disable }
    }

    /// Never used, as the mode says that there is no handshake.
    pub(crate) fn handshake(&self, _host: &str) -> io::Result<TlsHandshake> {
        Ok(TlsHandshake)
    }
}
