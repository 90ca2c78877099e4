//! `ssl` -> connector.
//!
//! [`Tls`] is the application's settings, whose files are read once; its handshake is what the
//! driver needs to talk TLS to one server. Both exist in two forms, so that the rest of the crate
//! need not know whether TLS is compiled in.

#[cfg(feature = "rustls-no-provider")]
mod provider;
#[cfg(feature = "rustls-no-provider")]
mod stream;
#[cfg(feature = "rustls-no-provider")]
mod trust;
#[cfg(feature = "rustls-no-provider")]
pub(crate) use stream::Tls;

#[cfg(not(feature = "rustls-no-provider"))]
mod plain;
#[cfg(not(feature = "rustls-no-provider"))]
pub(crate) use plain::Tls;

#[cfg(all(test, not(feature = "rustls-no-provider")))]
mod tests;
