//! What lives as long as one request.

mod middleware;
mod scope;
mod connection;
mod client;
mod rows;
mod found;

pub use client::ClientGuard;
pub use connection::Connection;
pub use found::OrNotFound;
pub use middleware::{ConnectionMiddleware, ConnectionService};
pub use rows::RowStream;
pub(crate) use scope::Scope;
