//! A lazy, shared PostgreSQL connection per request for Actix Web.

mod config;
mod database;
mod request;
mod error;
mod telemetry;
#[cfg(all(feature = "testing", unix))]
pub mod testing;

#[doc = include_str!("../docs/options.md")]
pub mod options {}

pub use bb8_postgres::tokio_postgres;
pub use config::{
    Config, ConfigError, ConfigErrorKind, Echo, IsolationLevel, Origin, Reset, SslMode, defaults,
};
pub use database::{ConnectError, Database, Status};
pub use error::{AcquireError, Error, Result};
#[doc(hidden)]
pub use request::ConnectionService;
pub use request::{ClientGuard, Connection, ConnectionMiddleware, OrNotFound, RowStream};
