//! `ssl` -> connector.
//!
//! [`Tls`] is the application's settings, whose files are read once; its handshake is what the
//! driver needs to talk TLS to one server. Both exist in two forms, so that the rest of the crate
//! need not know whether the feature `rustls` is on.

#[cfg(feature = "rustls")]
mod stream;
#[cfg(feature = "rustls")]
mod trust;
#[cfg(feature = "rustls")]
pub(crate) use stream::Tls;

#[cfg(not(feature = "rustls"))]
mod plain;
#[cfg(not(feature = "rustls"))]
pub(crate) use plain::Tls;
