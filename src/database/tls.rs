//! `ssl` -> connector.

use std::fmt;

use crate::tokio_postgres::config::SslMode;

#[cfg(feature = "rustls")]
mod client;
#[cfg(feature = "rustls")]
mod stream;
#[cfg(all(test, feature = "rustls"))]
mod tests;

/// The application's TLS settings; roots and certificates are loaded once.
#[derive(Clone)]
pub(crate) struct Tls {
    /// What the driver is told: never, if the server can, or always.
    pub(crate) mode: SslMode,
    #[cfg(feature = "rustls")]
    client: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "rustls")]
mod with_rustls {
    use std::io;
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    pub(crate) use super::stream::TlsHandshake;
    use super::{SslMode, Tls, client};
    use crate::config::{self, ConfigError, Ssl};

    impl Tls {
        /// Reads the files that `ssl` names.
        pub(crate) fn new(ssl: Ssl) -> Result<Self, ConfigError> {
            let mode = match ssl.mode {
                config::SslMode::Disable => return Ok(Self::disabled()),
                config::SslMode::Prefer => SslMode::Prefer,
                _ => SslMode::Require,
            };
            Ok(Self {
                mode,
                client: Some(Arc::new(client::config(ssl)?)),
            })
        }

        pub(crate) fn disabled() -> Self {
            Self {
                mode: SslMode::Disable,
                client: None,
            }
        }

        /// The handshake with one server; `host` is the name its certificate has to bear, where the
        /// mode checks it.
        pub(crate) fn handshake(&self, host: &str) -> io::Result<TlsHandshake> {
            let Some(client) = &self.client else {
                return Ok(TlsHandshake(None));
            };
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            Ok(TlsHandshake(Some((client.clone(), name))))
        }
    }
}

#[cfg(not(feature = "rustls"))]
mod without_rustls {
    use std::io;

    use super::{SslMode, Tls};
    use crate::config::{self, ConfigError, ConfigErrorKind, Ssl};
    pub(crate) use crate::tokio_postgres::NoTls as TlsHandshake;

    impl Tls {
        /// Refuses what only the feature `rustls` can do.
        pub(crate) fn new(ssl: Ssl) -> Result<Self, ConfigError> {
            let Ssl {
                mode,
                origin,
                root,
                client,
                direct: _,
            } = ssl;
            let file = root
                .map(|root| root.1)
                .or_else(|| client.map(|client| client.cert.1));
            match (mode, file) {
                (config::SslMode::Disable, _) => {}
                (config::SslMode::Prefer, None) => tracing::warn!(
                    "connections are not encrypted: `ssl = prefer` needs the feature `rustls` of actix-pg"
                ),
                (_, file) => {
                    let origin = if mode == config::SslMode::Prefer {
                        file.unwrap_or(origin)
                    } else {
                        origin
                    };
                    let problem = "needs the feature `rustls` of actix-pg";
                    return Err(ConfigError::new(
                        origin,
                        ConfigErrorKind::MissingFeature,
                        problem,
                    ));
                }
            }
            Ok(Self::disabled())
        }

        pub(crate) fn disabled() -> Self {
            Self {
                mode: SslMode::Disable,
            }
        }

        /// Never asked for: the mode is to disable TLS.
        pub(crate) fn handshake(&self, _host: &str) -> io::Result<TlsHandshake> {
            Ok(TlsHandshake)
        }
    }
}

#[cfg(feature = "rustls")]
pub(crate) use with_rustls::TlsHandshake;
#[cfg(not(feature = "rustls"))]
pub(crate) use without_rustls::TlsHandshake;
