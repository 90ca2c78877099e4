//! A statement on a session that has its backend for itself, and keeps no statements.
//!
//! ```text
//!   its types are known      the statement, in one message
//!     and refused for them   forgotten ──> prepare, …
//!   else                     prepare ──> the statement
//! ```
//!
//! What has not run may run again: the server refuses a text before it runs anything, and the driver a parameter before it sends anything.

use std::pin::pin;
use std::sync::Arc;

use futures_util::{FutureExt, TryStreamExt};

use super::described::{Described, Take, doubt_failed};
use super::look_ups::Failure;
use crate::lease::Params;
use crate::lease::deadline::bounded;
use crate::lease::prepared::{along, is_of_ended_transaction, prepare};
use crate::lease::session_use::SessionUse;
use crate::lease::state::Reply;
use crate::row::Plan;
use crate::stats::StatementInfo;
use crate::tokio_postgres::{RowStream, Statement};
use crate::{Error, Result};

/// Runs one statement, and returns the number of rows that it affected. Where it stands alone and only reads, its rows are cancelled
/// when many more than `most` have come.
pub(in crate::lease) async fn run(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
    most: u64,
    take: Take<'_>,
) -> Result<u64> {
    bounded(session_use.bound(), async || {
        let lease = Arc::clone(session_use.lease());
        let mut described = Described::new(&lease, sql, params, plan);
        let mut rows = pin!(start(session_use, &mut described, Reply::Whole).await?);
        let mut seen = 0_u64;
        let read = loop {
            match rows.try_next().await {
                Ok(Some(row)) => {
                    described.see(&lease, &row);
                    take(row);
                    seen += 1;
                    if session_use.is_too_much(seen.saturating_sub(most)) {
                        return Err(Error::TooManyRows);
                    }
                }
                Ok(None) => break described.fits(rows.rows_affected().unwrap_or(0)),
                Err(err) => break Err(err.into()),
            }
        };
        session_use.answered(read)
    })
    .await
}

/// Begins a statement whose rows are read one by one. Their columns may be others than those that were known.
pub(in crate::lease) async fn stream(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> Result<RowStream> {
    let mut described = Described::new(session_use.lease(), sql, params, plan);
    start(session_use, &mut described, Reply::Stream).await
}

/// Sends a statement, and waits for the description of its answer.
async fn start(
    session_use: &mut SessionUse,
    described: &mut Described<'_, '_>,
    reply: Reply,
) -> Result<RowStream> {
    let lease = Arc::clone(session_use.lease());
    let info = lease.session().info(described.sql());
    let mut first = None;
    if described.is_known() {
        session_use.runs(Arc::clone(&info));
        let failure = match send(session_use, described, &info, None, reply).await? {
            Ok(rows) => return Ok(rows),
            Err(failure) => failure,
        };
        let can_run_again = failure.can_run_again();
        if can_run_again {
            session_use.prepares_again();
        }
        let err = failed(session_use, described.sql(), failure);
        if !can_run_again {
            return Err(err);
        }
        first = Some(err);
    }
    let statement = match prepare(session_use, described.sql()).boxed().await {
        // In a transaction the first refusal has failed it, and the caller has to see that one.
        Err(err) if is_of_ended_transaction(&err) => return Err(first.unwrap_or(err)),
        prepared => prepared?.statement,
    };
    if let Err(err) = described.check(&statement) {
        session_use.answered(Ok(()))?;
        return Err(err);
    }
    if first.is_none() {
        session_use.runs(Arc::clone(&info));
    }
    let sent = send(session_use, described, &info, Some(&statement), reply).await?;
    sent.map_err(|failure| failed(session_use, described.sql(), failure))
}

/// Sends it behind what has to be sent ahead of it.
async fn send(
    session_use: &mut SessionUse,
    described: &Described<'_, '_>,
    info: &StatementInfo,
    named: Option<&Statement>,
    reply: Reply,
) -> Result<Result<RowStream, Failure>> {
    let ahead = session_use.send_behind(info.side_effects(), reply).await?;
    let lease = Arc::clone(session_use.lease());
    let sent = described.begin(&lease, info, named);
    match ahead {
        None => Ok(sent.await),
        Some(ahead) => along(ahead, sent).boxed().await.map_err(|err| session_use.refused(err)),
    }
}

/// Records a failure.
fn failed(session_use: &mut SessionUse, sql: &str, failure: Failure) -> Error {
    doubt_failed(session_use.lease(), sql, &failure);
    match failure {
        Failure::Driver(err) => session_use.refused(err.into()),
        Failure::Stuck { .. } => {
            session_use.abandon();
            if session_use.is_in_transaction() { Error::TransactionFailed } else { failure.into() }
        }
    }
}
