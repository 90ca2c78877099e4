//! What lives as long as the application.

mod tls;

pub(crate) use tls::{Tls, TlsHandshake};
