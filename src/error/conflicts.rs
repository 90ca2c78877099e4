//! Which errors say that a transaction lost against another one, so that it may do better when it is run again.
//!
//! | engine | SQLSTATE | what it says | tested here |
//! |---|---|---|---|
//! | PostgreSQL, Aurora | 40001 | could not serialize access | on PostgreSQL |
//! | | 40P01 | deadlock detected | on PostgreSQL |
//! | Citus, but not at the commit | 40001 | could not serialize access, on a worker or the coordinator | on Citus 13.2 |
//! | | 40P01 | deadlock detected, on one server; involved in a distributed deadlock | on Citus 13.2 |
//! | CockroachDB | 40001 | restart transaction | with a scripted server |
//! | YugabyteDB | 40001 | conflicts with another transaction, restart read required | with a scripted server |
//! | | 40P01 | deadlock | with a scripted server |
//! | Aurora DSQL | 40001 | change conflicts with another transaction (OC000, OC001) | with a scripted server |
//!
//! 40003 is none of them: CockroachDB says by it that nobody knows whether the transaction was committed.

use crate::tokio_postgres::error::SqlState;

/// Whether the transaction may be run again.
pub(crate) fn is_conflict(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
}
