//! What the tests of `actix-pg` share: a database, an application, a network to break, and a PostgreSQL server that does as it
//! is told.
//!
//! What fails here fails the test, by a panic that says what was expected.
#![allow(missing_debug_implementations, reason = "a client of awc has none")]
#![allow(clippy::new_without_default, reason = "nobody needs one")]

mod database;
mod observer;
mod wait;
mod app;
mod runtimes;
mod copies;
mod errors;
mod proxy;
mod fake_server;
pub mod log;
#[cfg(feature = "tls")]
pub mod tls;

pub use app::{Answer, TestApp, Wire, routes, serves_again};
pub use copies::{copy_in, copy_out};
pub use database::{
    all_returned, assert_whole, backend, borrow_all, connect, connected, database, dsn_as, pool, sized,
};
pub use errors::causes;
pub use fake_server::{FakeServer, Fault, Phase};
pub use observer::Observer;
pub use proxy::Proxy;
pub use runtimes::{elsewhere, runtime};
pub use wait::{Latch, PATIENCE, eventually, soon, within};
