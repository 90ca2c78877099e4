//! Who computes for rustls.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The process's default provider, else that of the Cargo feature; with both features on, aws-lc-rs as in rustls itself.
///
/// It is only ever passed on. Installing it here would take the choice from the application, and leaving it to
/// `ClientConfig::builder` would install one too, or panic where other crates have enabled a second one.
pub(super) fn provider() -> Option<Arc<CryptoProvider>> {
    CryptoProvider::get_default().cloned().or_else(of_the_feature)
}

#[cfg(feature = "rustls")]
fn of_the_feature() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "rustls-ring", not(feature = "rustls")))]
fn of_the_feature() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "rustls", feature = "rustls-ring")))]
fn of_the_feature() -> Option<Arc<CryptoProvider>> {
    None
}
