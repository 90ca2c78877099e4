//! What each mode of encryption makes of each kind of server, and sessions that are encrypted.
#![cfg(all(feature = "rustls", unix))]
// Nothing is public in a binary; the support is shared with another one.
#![allow(unreachable_pub)]

mod support;

mod modes;
mod runtimes;
