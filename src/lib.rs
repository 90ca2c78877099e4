//! A lazy, shared PostgreSQL connection per request for Actix Web.

mod config;
mod database;

pub use bb8_postgres::tokio_postgres;
pub use config::{Config, ConfigError, Echo, Reset};
