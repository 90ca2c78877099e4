//! What each mode of encryption makes of each kind of server, and sessions that are encrypted.
#![cfg(all(feature = "rustls", unix))]

mod modes;
mod runtimes;
