//! What the tests of `actix-pg` share: a PostgreSQL server that does as it is told.

mod fake_server;

pub use fake_server::{FakeServer, Fault, Phase};
