//! A COMMIT that the server has refused, while another server may have carried it out.
//!
//! A coordinator of Citus has a worker commit first, and then commits itself. So does a server with `postgres_fdw` with those that it has
//! written to. What it finds out in between comes too late for the other one, such as a serialization failure on a table of its own. Run
//! again, the other one's part would take effect twice. PostgreSQL says the same of a transaction that it has rolled back, so the server is
//! asked whether others may take part in its transactions. Not after what it says before it has the others commit: a constraint or a
//! trigger that was deferred.

use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Has a row where other servers may take part in a transaction: on Citus, and with a foreign server.
const HAS_OTHERS: &str = "(SELECT '1' FROM pg_catalog.pg_extension WHERE extname = 'citus') \
    UNION ALL (SELECT '1' FROM pg_catalog.pg_foreign_server LIMIT 1)";

/// The classes of what is said before other servers commit: the transaction has failed by then, a constraint, a trigger.
const BEFORE: [&str; 3] = ["25", "23", "P0"];

/// Whether a COMMIT may have taken effect on another server, though this one has refused it. `true` where that cannot be found out.
pub(super) async fn may_be_committed(client: &Client, refusal: &Error) -> bool {
    // The transaction is still open, so that its COMMIT has not been run; or the server knows no extensions.
    const IS_NOT: [SqlState; 2] = [SqlState::IN_FAILED_SQL_TRANSACTION, SqlState::UNDEFINED_TABLE];
    if refusal.code().is_none_or(|code| BEFORE.iter().any(|class| code.code().starts_with(class))) {
        return false;
    }
    match client.simple_query(HAS_OTHERS).await {
        Ok(answer) => answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))),
        Err(err) => !err.code().is_some_and(|code| IS_NOT.contains(code)),
    }
}
