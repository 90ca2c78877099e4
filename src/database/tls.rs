//! `ssl` -> connector.

use std::io;

use crate::config::{ConfigError, Ssl};
use crate::tokio_postgres::NoTls;
use crate::tokio_postgres::config::SslMode;

/// The application's TLS settings, loaded once.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
}

/// The handshake with one server.
pub(crate) type TlsHandshake = NoTls;

impl Tls {
    pub(crate) fn new(_ssl: Ssl) -> Result<Self, ConfigError> {
        Ok(Self::disabled())
    }

    pub(crate) fn disabled() -> Self {
        Self { mode: SslMode::Disable }
    }

    /// `host` is the name the certificate has to bear, where the mode checks it.
    pub(crate) fn handshake(&self, _host: &str) -> io::Result<TlsHandshake> {
        Ok(NoTls)
    }
}
