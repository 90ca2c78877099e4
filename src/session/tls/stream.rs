//! rustls as the driver wants it.
//!
//! tokio-postgres-rustls 0.14 does the same with two gaps: it binds no login to a certificate that is signed by ECDSA with
//! SHA-512, so that with `channel_binding = require` that login fails, and it does not look at the server's answer to ALPN,
//! which a direct handshake rests on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::trust::{self, ALPN, parsed};
use crate::config::{self, ConfigError, Ssl};
use crate::tokio_postgres::config::SslMode;
use crate::tokio_postgres::tls::{self, ChannelBinding, TlsConnect};

/// The application's TLS settings; roots and certificates are loaded once.
#[derive(Clone)]
pub(crate) struct Tls {
    /// What the driver is told: never, if the server can, or always.
    pub(crate) mode: SslMode,
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the files that `ssl` names.
    pub(crate) fn new(ssl: Ssl) -> Result<Self, ConfigError> {
        let mode = match ssl.mode {
            config::SslMode::Disable => return Ok(Self::disabled()),
            config::SslMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        };
        Ok(Self { mode, config: Some(Arc::new(trust::config(ssl)?)) })
    }

    pub(crate) fn disabled() -> Self {
        Self { mode: SslMode::Disable, config: None }
    }

    /// The handshake with one server. `host` is the name that its certificate has to bear, where the mode
    /// checks it; empty where there is none, at a socket, which is never encrypted.
    pub(crate) fn handshake(&self, host: &str) -> io::Result<TlsHandshake> {
        let Some(config) = self.config.as_ref().filter(|_| !host.is_empty()) else {
            return Ok(TlsHandshake(None));
        };
        let invalid = |err| io::Error::new(io::ErrorKind::InvalidInput, err);
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        Ok(TlsHandshake(Some((config.clone(), name))))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The handshake with one server; `None` where TLS is disabled, so that there will be none.
pub(crate) struct TlsHandshake(Option<(Arc<ClientConfig>, ServerName<'static>)>);

impl<S> TlsConnect<S> for TlsHandshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsStream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async {
            let (config, name) = self.0.ok_or_else(|| io::Error::other("TLS is disabled"))?;
            let is_direct = !config.alpn_protocols.is_empty();
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            // As libpq: or else a server of another protocol could be talked into this one.
            if is_direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Err(io::Error::other(
                    "the server did not agree on the protocol \"postgresql\" (ALPN)",
                ));
            }
            Ok(TlsStream(stream))
        })
    }
}

/// An encrypted stream that knows what a login can be bound to.
pub(crate) struct TlsStream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tls::TlsStream for TlsStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        let end_point = certificates.and_then(|certificates| certificates.first()).and_then(end_point);
        end_point.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// The hash of [RFC 5929](https://www.rfc-editor.org/rfc/rfc5929#section-4.1): that of the
/// certificate's signature, and SHA-256 for MD5 and SHA-1. A signature without a hash of its own,
/// such as Ed25519's, has no binding in PostgreSQL either.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let signature = parsed(certificate).ok()?.signature_algorithm.oid.to_string();
    let hash = match &*signature {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256; both with SHA-384, with SHA-512.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.11" => Sha256::digest(certificate).to_vec(),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(hash)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
