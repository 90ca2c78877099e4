//! A lazy, shared PostgreSQL connection per request for Actix Web.

mod config;
mod database;
mod request;
mod error;
mod telemetry;

pub use bb8_postgres::tokio_postgres;
pub use config::{Config, ConfigError, Echo, Reset};
pub use database::{ConnectError, Database, Status};
pub use error::{AcquireError, Error, Result};
#[doc(hidden)]
pub use request::ConnectionService;
pub use request::{ClientGuard, Connection, ConnectionMiddleware, OrNotFound, RowStream};

#[cfg(all(feature = "testing", unix))]
pub mod testing;
