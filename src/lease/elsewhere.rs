//! A COMMIT that the server has refused, while another server may have carried it out.
//!
//! A coordinator of Citus has a worker commit first, and then commits itself. What it finds out in between comes too late for the
//! worker, such as a serialization failure on a table of its own that is none of Citus'. Run again, the worker's part would take
//! effect twice. PostgreSQL says the same of a transaction that it has rolled back, so the server is asked which of the two it is:
//! after a refusal that lets a transaction be run again, and only then.

use crate::error::is_conflict;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Has a row on Citus.
const IS_CITUS: &str = "SELECT '1' FROM pg_catalog.pg_extension WHERE extname = 'citus'";

/// Whether a COMMIT may have taken effect on another server, though this one has refused it. `true` where that cannot be found out.
///
/// Sends nothing after a refusal for another cause than another transaction.
pub(super) async fn may_be_committed(client: &Client, refusal: &Error) -> bool {
    // The transaction is still open, so that its COMMIT has not been run; or the server knows no extensions.
    const IS_NOT: [SqlState; 2] = [SqlState::IN_FAILED_SQL_TRANSACTION, SqlState::UNDEFINED_TABLE];
    if !refusal.code().is_some_and(is_conflict) {
        return false;
    }
    match client.simple_query(IS_CITUS).await {
        Ok(answer) => answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))),
        Err(err) => !err.code().is_some_and(|code| IS_NOT.contains(code)),
    }
}
