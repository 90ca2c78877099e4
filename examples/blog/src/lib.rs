//! A blog for several tenants: a whole application on `actix-pg`, small enough to read, and meant to be copied.
//!
//! In reading order: what is served ([`routes`]), whose request it is, what a client may send and is told, the tables, GraphQL, and
//! what surrounds it.

mod app;
mod tenant;
mod rest;
mod graphql;
mod posts;
mod comments;
mod input;
mod error;
mod database;
mod metrics;

pub use app::routes;
pub use database::{connect, migrate};
pub use metrics::install as install_metrics;
