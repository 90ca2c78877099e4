//! What lives as long as one request.
//!
//! ```text
//!   verbs ──> GenericClient ──enter──> Scope ──acquire_now──> Lender ──> Lease ──> SessionUse
//!                  │                     └─ none is free: Borrow, the wait that all statements share
//!                  └──> lease::query(SessionUse, sql, params)
//! ```
//!
//! The [`middleware`] attaches the connections to a request and ends them with the response.

mod middleware;
mod adds;
mod request_connections;
mod own_writes;
mod written;
mod signed_position;
mod scope;
mod borrow;
mod connection;
mod read_connection;
mod handle;
mod connection_ext;
mod transaction;
mod transact;
mod lazy_transaction;
mod request_transaction;
mod after;
mod executors;
mod extract;
mod generic;
mod collected;
mod elsewhere;
#[expect(unnameable_types, reason = "what is sealed cannot be named outside")]
pub(crate) mod sealed;
mod verbs;
mod with_timeout;
mod client;
mod rows;
mod copy;
mod binary_copy;
mod driver_stream;
mod or_not_found;

pub use binary_copy::BinaryCopyIn;
pub use client::ClientGuard;
pub use connection::Connection;
pub use connection_ext::ConnectionExt;
pub use copy::{CopyIn, CopyOut};
pub use generic::GenericClient;
pub use middleware::{ConnectionMiddleware, ConnectionService};
pub use or_not_found::OrNotFound;
pub use read_connection::ReadConnection;
pub use request_transaction::RequestTransaction;
pub use rows::RowStream;
pub(crate) use scope::Scope;
pub use transact::TransactionBuilder;
pub use transaction::Transaction;
pub use with_timeout::WithTimeout;
