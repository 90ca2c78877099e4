//! Many statements that are sent before the first is answered: all of them take effect, or none.
//!
//! ```text
//!   BEGIN ──answered──> statement, statement … SAVEPOINT; COMMIT ──answered──> all took effect
//!                       statement, statement …   in a transaction that is open
//!   SAVEPOINT ─answered─> statement … RELEASE    in one that SQL has begun
//! ```
//!
//! Each statement ends with a Sync of its own, so one that follows a failed BEGIN would take effect by itself. Hence BEGIN is
//! awaited. What follows an error inside of the transaction is refused by the server, the end included.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::{FutureExt, TryFutureExt};

use super::deadline::bounded;
use super::leftovers::{before_commit, check};
use super::nameless::described::doubts_types;
use super::nameless::{described, unpinned};
use super::own_transaction::OwnTransaction;
use super::pipeline::{Failed, Pipeline};
use super::probe::is_outside;
use super::session_use::SessionUse;
use super::stage::Stage;
use super::started::Started;
use super::transaction::{is_refusal, is_refused_commit};
use super::{Lease, Params, elsewhere};
use crate::config::Echo;
use crate::session::Prepared;
use crate::sql::{SideEffects, Within};
use crate::tokio_postgres::Statement;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::types::BorrowToSql;
use crate::{Error, Result, tokio_postgres};

/// Runs a statement with many rows of parameters, and returns the sum of the rows that it affected.
pub(crate) async fn execute_many<P, R>(
    mut session_use: SessionUse,
    sql: &str,
    rows: impl Iterator<Item = R> + Send,
) -> Result<u64>
where
    P: BorrowToSql + Sync,
    R: AsRef<[P]> + Send + Sync,
{
    let started = Started::with_rows(&mut session_use, sql);
    let mut affected = 0;
    let ran = match side_effects(&mut session_use, [sql]) {
        Ok(effects) => {
            let rows = rows.map(|row| (sql, row));
            run(&mut session_use, effects, rows, |rows| affected += rows).await
        }
        Err(err) => Err(err),
    };
    ran.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, Some(affected));
    Ok(affected)
}

/// Runs different statements, and returns how many rows each of them affected.
pub(crate) async fn execute_batch(
    mut session_use: SessionUse,
    statements: &[(&str, Params<'_>)],
) -> Result<Vec<u64>> {
    let texts = || statements.iter().map(|(sql, _)| *sql);
    let shown = session_use.is_observed() || session_use.echo() != Echo::Off;
    let text = if shown { texts().collect::<Vec<_>>().join("; ") } else { String::new() };
    let started = Started::several(&mut session_use, &text);
    let mut affected = Vec::with_capacity(statements.len());
    let ran = match side_effects(&mut session_use, texts()) {
        Ok(effects) => {
            run(&mut session_use, effects, statements.iter().copied(), |rows| affected.push(rows)).await
        }
        Err(err) => Err(err),
    };
    ran.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, Some(affected.iter().sum()));
    Ok(affected)
}

/// What the statements may leave behind together. Refuses what would tear a batch apart.
fn side_effects<'s>(
    session_use: &mut SessionUse,
    texts: impl IntoIterator<Item = &'s str>,
) -> Result<SideEffects> {
    let mut all = SideEffects::CLEAN;
    for (index, sql) in texts.into_iter().enumerate() {
        let info = session_use.session().info(sql);
        let effects = info.side_effects();
        if session_use.is_unpinned() {
            session_use.lease().check_unpinned(sql, effects, false, || info.may_draw())?;
        }
        // What cannot be read counts as a COPY, too.
        if effects.control || (effects.copies && !effects.transaction) {
            return Err(Error::Batch { index, source: Box::new(Error::NotInBatch) });
        }
        session_use.runs(info);
        all = all.union(effects);
    }
    Ok(all)
}

/// Runs statements in the transaction that is open, or else in one of their own. Where SQL has begun one, that is a savepoint in it.
/// Counts the rows that each of them affected.
///
/// Cancellation safety: dropped before its end, a transaction of its own is rolled back, and one that was open before can only
/// be rolled back.
async fn run<'s, P, R>(
    session_use: &mut SessionUse,
    side_effects: SideEffects,
    statements: impl Iterator<Item = (&'s str, R)> + Send,
    count: impl FnMut(u64) + Send,
) -> Result<()>
where
    P: BorrowToSql + Sync,
    R: AsRef<[P]> + Send + Sync,
{
    let bound = session_use.bound();
    bounded(bound, async || session_use.send_batch(side_effects).await).await?;
    let lease = Arc::clone(session_use.lease());
    let client = lease.session().client();
    let own = match session_use.has_own_transaction() {
        false => None,
        true => match bounded(bound, async || Ok(begin_own(&lease).await)).await? {
            Ok(own) => Some(own),
            Err(err) => return session_use.answered(Err(err)),
        },
    };
    // A table that is changed by one of them is another for those behind it.
    let unnamed = session_use.is_nameless() && side_effects == SideEffects::CLEAN;
    let written = AtomicUsize::new(0);
    let mut pipeline = Pipeline::new(client, &written, bound, count);
    let Err(mut failed) = send_all(session_use, &mut pipeline, statements, own, unnamed).await else {
        lease.state().transactions.own = None;
        if own.is_some() {
            lease.transaction_ended();
        }
        return session_use.answered(Ok(()));
    };
    let is_answered = pipeline.read_on(&mut failed).await;
    if let (Some(sql), Error::Postgres(err)) = (failed.sql, &failed.error) {
        lease.session().forget(sql, err.driver());
        if session_use.is_nameless() && doubts_types(err.driver()) {
            lease.session().forget_types(sql);
        }
    }
    let index = failed.index;
    let echo = session_use.echo();
    let err = meaning(failed, pipeline.commit(), lease.state().transactions.own_is_savepoint(), echo);
    let err = match err {
        Error::CommitRefused(said) if is_answered => {
            let asked = async || Ok(elsewhere::may_be_committed(client, said.driver()).boxed().await);
            match bounded(bound, asked).await.unwrap_or(true) {
                true => Error::OutcomeUnknown(Box::new(Error::Postgres(said))),
                false => Error::CommitRefused(said),
            }
        }
        err => err,
    };
    if !is_answered {
        return Err(err);
    }
    match own {
        Some(_) => lease.state().transactions.stage_own(Stage::Open),
        // What the server has refused, it has failed by itself.
        None if index > 0 && err.as_db_error().is_none() => session_use.fail_transaction(),
        None => {}
    }
    session_use.answered(Err(err))
}

/// Begins the transaction of a batch, or its savepoint, and returns what was begun.
async fn begin_own(lease: &Lease) -> Result<OwnTransaction> {
    if lease.is_unpinned() {
        return unpinned::begin(lease).await.map(|()| OwnTransaction::TRANSACTION);
    }
    begin_pinned(lease).await.map_err(|err| Error::Begin(err.into()))
}

async fn begin_pinned(lease: &Lease) -> Result<OwnTransaction, tokio_postgres::Error> {
    let client = lease.session().client();
    let mut own = lease.state().transactions.own.unwrap_or(OwnTransaction::PROBE);
    match client.batch_execute(own.begin()).await {
        Err(err) if own.is_probe() && is_outside(&err) => {
            own = OwnTransaction::TRANSACTION;
            lease.state().transactions.own = Some(own);
            client.batch_execute(own.begin()).await?;
        }
        begun => begun?,
    }
    lease.state().transactions.stage_own(Stage::Open);
    Ok(own)
}

/// Sends statements, and the commit behind them, and reads the answers up to the first error.
async fn send_all<'a, 's: 'a, P, R, C>(
    session_use: &mut SessionUse,
    pipeline: &mut Pipeline<'a, C>,
    statements: impl Iterator<Item = (&'s str, R)>,
    own: Option<OwnTransaction>,
    unnamed: bool,
) -> Result<(), Failed<'a>>
where
    P: BorrowToSql + Sync,
    R: AsRef<[P]> + Send + Sync + 'a,
    C: FnMut(u64),
{
    let mut latest: Option<(&str, Prepared)> = None;
    let alone = own.is_some() && session_use.is_unpinned();
    let (mut statements, mut next) = (statements.fuse(), None);
    while let Some((sql, row)) = next.take().or_else(|| statements.next()) {
        if alone && latest.as_ref().is_none_or(|(text, _)| *text != sql) {
            let side_effects = session_use.session().info(sql).side_effects();
            let checked = check(sql, side_effects, Within::Nothing, false);
            checked.map_err(|err| pipeline.failed(Some(sql), err))?;
        }
        pipeline.room().await?;
        let prepared = match latest.take() {
            Some((text, prepared)) if text == sql => prepared,
            _ if unnamed => {
                next = statements.next();
                // What runs several times in a row is prepared.
                let is_last = next.as_ref().is_none_or(|(next, _)| *next != sql);
                let types = session_use.session().types(sql).filter(|_| is_last);
                match types.filter(|types| types.params().len() == row.as_ref().len()) {
                    Some(types) => {
                        session_use.check_transaction().map_err(|err| pipeline.failed(Some(sql), err))?;
                        pipeline.send_unnamed(sql, types, row).await?;
                        continue;
                    }
                    None => prepared(session_use, pipeline, sql).await?,
                }
            }
            _ => prepared(session_use, pipeline, sql).await?,
        };
        session_use.check_transaction().map_err(|err| pipeline.failed(Some(sql), err))?;
        pipeline.send(sql, &prepared.statement, row).await?;
        latest = Some((sql, prepared));
    }
    match own {
        Some(own) => {
            let commit = own.commit(&before_commit(session_use.lease()));
            session_use.lease().state().transactions.stage_own(Stage::Ending);
            pipeline.send_commit(commit).await?;
        }
        None => session_use.batch_sent(),
    }
    pipeline.all().await
}

/// Takes a statement from the session's cache. Prepares it if it is not there, after those before it, which may make its table.
async fn prepared<'a, C: FnMut(u64)>(
    session_use: &SessionUse,
    pipeline: &mut Pipeline<'a, C>,
    sql: &'a str,
) -> Result<Prepared, Failed<'a>> {
    if let Some(prepared) = session_use.session().cached(sql) {
        return Ok(prepared);
    }
    pipeline.all().await?;
    let (lease, session) = (session_use.lease(), session_use.session());
    let prepared = match lease.is_unpinned() {
        false => session.prepare(sql, !lease.has_names_of_its_own()).map_err(Error::from).boxed(),
        true => prepare_unpinned(session_use, sql, pipeline.is_untouched())
            .map_ok(|statement| Prepared { statement, info: session.info(sql) })
            .boxed(),
    };
    bounded(session_use.bound(), async || prepared.await).await.map_err(|err| pipeline.failed(Some(sql), err))
}

async fn prepare_unpinned(session_use: &SessionUse, sql: &str, is_first: bool) -> Result<Statement> {
    match is_first && session_use.has_own_transaction() {
        true => unpinned::prepare_first(session_use.lease(), sql).await,
        false => described::prepare(session_use.lease(), sql).await,
    }
}

/// What it means that a statement of a batch has failed, or the commit behind it if one was sent.
fn meaning(failed: Failed<'_>, commit: Option<usize>, is_savepoint: bool, echo: Echo) -> Error {
    let Failed { index, sql, error } = failed;
    let is_commit = commit == Some(index);
    let is_refused = if is_commit { is_refused_commit(&error) } else { is_refusal(&error) };
    let may_be_committed = commit.is_some() && !is_savepoint && !is_refused;
    let error = error.of_statement(sql, echo);
    let error = if is_commit { error } else { Error::Batch { index, source: Box::new(error) } };
    match error {
        err if may_be_committed => Error::OutcomeUnknown(Box::new(err)),
        err if is_commit && err.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION) => {
            Error::TransactionEnded
        }
        Error::Postgres(said) if is_commit && said.as_db_error().is_some() => Error::CommitRefused(said),
        err => err,
    }
}
