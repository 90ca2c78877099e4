//! A statement on a session that may have another backend in each transaction.
//!
//! ```text
//!   in a transaction that is open        prepare, if its types are not known ──> the statement
//!   alone: leaves nothing behind, and    the statement, in one message
//!     its types are known
//!   else    START TRANSACTION, settings ──> prepare, if … ──> the statement, COMMIT
//! ```
//!
//! So what a request has set is never seen outside of its transactions, and no name outlives one. What else SQL may have left behind is
//! cleared in the same message as COMMIT: [`leftovers`](crate::lease::leftovers).

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, join, select};

use super::described::{Described, Take, prepare};
use crate::config::Reset;
use crate::lease::deadline::bounded;
use crate::lease::leftovers::before_commit;
use crate::lease::own_transaction::OwnTransaction;
use crate::lease::prepared::is_of_ended_transaction;
use crate::lease::session_use::SessionUse;
use crate::lease::stage::Stage;
use crate::lease::started::Started;
use crate::lease::state::Reply;
use crate::lease::transaction::is_refused_commit;
use crate::lease::{Lease, Params};
use crate::row::Plan;
use crate::session::{Unpinned, is_of_look_up, is_of_name, may_be_out_of_date};
use crate::sql::{SideEffects, may_draw, side_effects};
use crate::stats::StatementInfo;
use crate::tokio_postgres::{RowStream, Statement};
use crate::{Error, Result, tokio_postgres};

pub(in crate::lease) async fn batch_execute(mut session_use: SessionUse, sql: &str) -> Result<()> {
    let started = Started::batch(&mut session_use, sql);
    let ran = bounded(session_use.bound(), async || {
        let lease = Arc::clone(session_use.lease());
        let side_effects = side_effects(sql);
        lease.check_unpinned(sql, side_effects, true, || may_draw(sql))?;
        let alone = lease.needs_no_transaction(side_effects);
        session_use.send(side_effects, if alone { Reply::Whole } else { Reply::Alone }).await?;
        let client = lease.session().client();
        let executed = async { client.batch_execute(sql).await.map_err(Error::from) };
        let ran = match session_use.has_own_transaction() {
            false => executed.await,
            true => {
                async {
                    session_use.check_alone(sql, side_effects, true)?;
                    begin(&lease).await?;
                    commit_behind(&lease, executed).await
                }
                .await
            }
        };
        session_use.answered(ran)
    })
    .await;
    ran.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, None);
    Ok(())
}

/// Begins a statement whose rows are read one by one. Runs it again as [`run`] does.
pub(in crate::lease) async fn stream(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    mut plan: Option<&mut Plan>,
) -> Result<RowStream> {
    let lease = Arc::clone(session_use.lease());
    let mut refused = None;
    loop {
        let (info, is_first) = match (in_transaction(session_use, sql).await, refused.take()) {
            (Err(err), Some(first)) if is_of_ended_transaction(&err) => return Err(first),
            (info, first) => (info?, first.is_none()),
        };
        let mut described = Described::new(&lease, sql, params, plan.as_deref_mut());
        let named = match described.is_known() {
            true => None,
            false => {
                let statement = prepare(&lease, sql).await.map_err(|err| session_use.refused(err))?;
                match described.prepared(&lease, statement) {
                    Ok(named) => named,
                    Err(err) => {
                        session_use.answered(Ok(()))?;
                        return Err(err);
                    }
                }
            }
        };
        if is_first {
            session_use.runs(Arc::clone(&info));
        }
        session_use.send(info.side_effects(), Reply::Stream).await?;
        let failure = match described.begin(&lease, &info, named.as_ref()).await {
            Ok(rows) => return Ok(rows),
            Err(failure) => failure,
        };
        let err = described.not_begun(&lease, named.as_ref(), failure);
        let again = is_first && described.can_run_again(false);
        if again {
            session_use.prepares_again();
        }
        let err = session_use.refused(err);
        if !again {
            return Err(err);
        }
        refused = Some(err);
    }
}

/// Prepares a copy. On return it counts as sent, and the caller sends it.
pub(in crate::lease) async fn to_copy(
    session_use: &mut SessionUse,
    sql: &str,
    reply: Reply,
) -> Result<Statement> {
    let lease = Arc::clone(session_use.lease());
    let info = in_transaction(session_use, sql).await?;
    let statement = prepare(&lease, sql).await.map_err(|err| session_use.refused(err))?;
    let side_effects = info.side_effects();
    session_use.runs(info);
    session_use.send(side_effects, reply).await?;
    Ok(statement)
}

/// Sees to it that a statement can be prepared whose rows, or whose data, are read one by one. It has to be in a transaction that is open,
/// because nobody could wait for the end of another.
async fn in_transaction(session_use: &mut SessionUse, sql: &str) -> Result<Arc<StatementInfo>> {
    let lease = Arc::clone(session_use.lease());
    let info = lease.session().info(sql);
    lease.check_unpinned(sql, info.side_effects(), false, || info.may_draw())?;
    session_use.send(SideEffects::default(), Reply::Prepare).await?;
    if !session_use.is_in_transaction() {
        session_use.answered(Ok(()))?;
        return Err(Error::NeedsSession("a row stream or a copy outside of a transaction"));
    }
    Ok(info)
}

/// Runs one statement, and returns the number of rows that it affected. One that was refused for the types that were known of it has not
/// run, and runs again.
///
/// Cancellation safety: dropped, it is abandoned, and a transaction of its own is rolled back.
pub(in crate::lease) async fn run(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    mut plan: Option<&mut Plan>,
    take: Take<'_>,
) -> Result<u64> {
    bounded(session_use.bound(), async || {
        let lease = Arc::clone(session_use.lease());
        let info = lease.session().info(sql);
        let side_effects = info.side_effects();
        session_use.runs(Arc::clone(&info));
        let mut refused = None;
        let mut is_first;
        loop {
            lease.check_unpinned(sql, side_effects, false, || info.may_draw())?;
            let mut described = Described::new(&lease, sql, params, plan.as_deref_mut());
            let alone = described.is_known() && lease.needs_no_transaction(side_effects);
            let sent = session_use.send(side_effects, if alone { Reply::Whole } else { Reply::Alone }).await;
            match (sent, refused.take()) {
                (Err(err), Some(first)) if is_of_ended_transaction(&err) => return Err(first),
                (sent, first) => {
                    is_first = first.is_none();
                    sent?;
                }
            }
            let stands_alone = !session_use.is_in_transaction();
            let ran = match session_use.has_own_transaction() {
                false => described.run(&lease, &info, take).await,
                true => match session_use.check_alone(sql, side_effects, false) {
                    Ok(()) => alone_in_a_transaction(&lease, &mut described, &info, take).await,
                    Err(err) => Err(err),
                },
            };
            let again =
                is_first && matches!(ran, Err(Error::Postgres(_))) && described.can_run_again(stands_alone);
            if again {
                session_use.prepares_again();
            }
            match session_use.answered(ran) {
                Err(first) if again => refused = Some(first),
                ran => return ran,
            }
        }
    })
    .await
}

/// Runs it in a transaction of its own. One that only reads need not wait for the answer to BEGIN: if that fails, its own does not count.
async fn alone_in_a_transaction(
    lease: &Lease,
    described: &mut Described<'_, '_>,
    info: &StatementInfo,
    take: Take<'_>,
) -> Result<u64> {
    let pipelined = info.only_reads() && lease.pool().session_settings().reset != Reset::Always;
    if pipelined && described.is_known() {
        let (begun, ran) =
            join(begin(lease), commit_behind(lease, described.send(lease, info, None, take))).await;
        return begun.and(ran);
    }
    begin(lease).await?;
    let named = match described.is_known() {
        true => None,
        false => described.prepared(lease, prepare_first(lease, described.sql()).await?)?,
    };
    let sent = async {
        let sent = described.send(lease, info, named.as_ref(), take).await;
        // From the statement itself, 26000 may be that of a function in it.
        sent.map_err(|err| if named.is_some() { of_session(err, is_of_name) } else { err })
    };
    commit_behind(lease, sent).await
}

/// Begins the transaction of one statement or batch, with the settings of the request.
///
/// They end with their transaction. Where it could not be begun, they end with the message that they came in.
pub(in crate::lease) async fn begin(lease: &Lease) -> Result<()> {
    let client = lease.session().client();
    let begin = OwnTransaction::TRANSACTION.begin();
    let settings = async {
        match lease.settings().version() {
            0 => Ok(()),
            _ => lease.settings().apply_to_transaction(client).await.map(drop),
        }
    };
    let (begun, applied) = join(client.batch_execute(begin), settings).await;
    begun.map_err(|err| Error::Begin(err.into()))?;
    lease.state().transactions.stage_own(Stage::Open);
    applied
}

/// Prepares a text as the first in a transaction of its own. If it is refused, and the pooler may have answered for what it had prepared
/// before a change of the tables, begins the transaction anew and prepares the text anew: nothing has run.
pub(in crate::lease) async fn prepare_first(lease: &Lease, sql: &str) -> Result<Statement> {
    let refused = match prepare(lease, sql).await {
        Err(Error::Postgres(err)) if may_be_out_of_date(err.driver()) => Error::Postgres(err),
        Err(err) => return Err(of_session(err, |err| is_of_look_up(err) || is_of_name(err))),
        prepared => return prepared,
    };
    if !lease.session().unpinned().is_some_and(Unpinned::keeps_names) {
        return Err(refused);
    }
    if lease.session().client().batch_execute("ROLLBACK").await.is_err() {
        return Err(refused);
    }
    begin(lease).await?;
    prepare(lease, sql).await
}

/// Marks an error that speaks of names where nothing has run: the session does not know what its pooler keeps prepared, and a new one does.
fn of_session(err: Error, is_of_session: fn(&tokio_postgres::Error) -> bool) -> Error {
    match err {
        Error::Postgres(said) if is_of_session(said.driver()) => Error::Postgres(said.of_session()),
        err => err,
    }
}

/// Commits behind a statement, in the same round trip. COMMIT rolls back what has failed.
async fn commit_behind<T>(lease: &Lease, statement: impl Future<Output = Result<T>>) -> Result<T> {
    let commit = format!("{}COMMIT", before_commit(lease));
    let client = lease.session().client();
    let (statement, commit) = (pin!(statement), pin!(client.batch_execute(&commit)));
    lease.state().transactions.stage_own(Stage::Ending);
    let (ran, committed) = match select(statement, commit).await {
        // No other answer will come.
        Either::Left((Err(err), _)) if err.is_out_of_step() => return Err(err),
        Either::Left((ran, commit)) => (ran, commit.await),
        Either::Right((committed, statement)) => (statement.await, committed),
    };
    match committed {
        Ok(()) => {
            lease.state().transactions.own = None;
            lease.transaction_ended();
        }
        Err(_) => lease.state().transactions.stage_own(Stage::Open),
    }
    let value = ran?;
    match committed.map_err(Error::from) {
        Ok(()) => Ok(value),
        // A server that spreads the transaction over others may have committed.
        Err(err) if err.as_db_error().is_some() && !is_refused_commit(&err) => {
            Err(Error::OutcomeUnknown(Box::new(err)))
        }
        Err(err) => Err(err),
    }
}
