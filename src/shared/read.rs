//! One read, from its asker's side.
//!
//! ```text
//!   ask ──answered──> the rows, or the server's error
//!    │ late: one before it takes too long           ┌─ another shared session ─┐
//!    ├────────────────────────────> ask again at ───┤                          ├─> the first answer counts
//!    │                                              └─ else at the gate ───────┘
//!    │ lost, or hit by a cancel: repeat once, likewise
//!    └ it writes, or its plan is stale: a session of its own
//! ```

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::SharedReads;
use super::queue::{Rows, Told};
use super::shared_session::{SharedSession, is_lost};
use super::watched::Watched;
use super::worker::{Question, Sent, Worker};
use crate::lease::{Borrower, Bound, Deadline, Params, RequestInfo, SessionUse, bounded};
use crate::row::Plan;
use crate::stats::StatementInfo;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{self, Row};
use crate::{Error, Result};

/// A read of a request that holds no session.
#[derive(Clone, Copy)]
pub(crate) struct Read<'a> {
    pub(crate) shared: &'a Arc<SharedReads>,
    pub(crate) request: &'a Arc<RequestInfo>,
    pub(crate) caller: &'static Location<'static>,
    pub(crate) sql: &'a str,
    pub(crate) params: Params<'a>,
    /// The most rows that are kept.
    pub(crate) most: usize,
    /// When the call has to be over, if that was said.
    pub(crate) until: Option<Deadline>,
    /// What the columns have to fit.
    pub(crate) wanted: Option<&'a Plan>,
}

/// How long after the brake has stopped a read from being asked again the brake is asked again.
const BRAKE_PATIENCE: Duration = Duration::from_millis(100);

/// How a read that was sent goes on.
enum Outcome {
    Rows(Rows),
    /// On a session of its own, which it has already.
    Run(SessionUse),
    /// On a session of its own.
    Alone,
}

/// What an answer is good for.
enum Verdict {
    Final(Result<Rows>),
    /// The answer is lost, or the cancel of another read hit this one.
    Repeat(Error),
    /// The statement has done nothing, and needs a session of its own.
    Alone,
}

impl Read<'_> {
    /// Runs the read on a shared session, or on one of its own: `enter` borrows that, `run` runs the read on it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the read is not cancelled: others may be behind it. Once it is the oldest on its session and takes too long, it is.
    pub(crate) async fn run<E, R>(
        self,
        enter: impl Fn() -> E,
        run: impl FnOnce(SessionUse) -> R,
    ) -> Result<Vec<Row>>
    where
        E: Future<Output = Result<SessionUse>>,
        R: Future<Output = Result<Vec<Row>>>,
    {
        let deadline = Deadline::earliest(self.until, self.request.deadline());
        let bound = Bound::of(self.shared.pool.session_settings().command_timeout, deadline);
        if let Some(bound) = bound.filter(|bound| bound.remaining().is_zero()) {
            return Err(bound.error(false));
        }
        let question = Question { sql: self.sql, params: self.params, most: self.most, wanted: self.wanted };
        let worker = self.shared.here();
        let sent = worker.as_ref().and_then(|worker| Some((worker, worker.ask(question, None)?)));
        let Some((worker, sent)) = sent else {
            return self.alone(enter().await?, run).await;
        };
        let Self { request, caller, sql, params, .. } = self;
        let mut watched =
            Watched::new(&self.shared.pool, Borrower { request, caller: Some(caller) }, sql, params, &sent);
        let outcome = bounded(bound, async || wait(worker, question, sent, &enter).await).await;
        match outcome {
            Ok(Outcome::Rows(rows)) => {
                watched.succeeded(rows.count);
                Ok(rows.rows)
            }
            Ok(Outcome::Run(session_use)) => {
                watched.dismiss();
                self.alone(session_use, run).await.map_err(was_sent)
            }
            Ok(Outcome::Alone) => {
                watched.dismiss();
                self.alone(enter().await.map_err(was_sent)?, run).await.map_err(was_sent)
            }
            Err(err) => Err(watched.failed(was_sent(err))),
        }
    }

    /// Runs the read on a session of its own, and remembers how long that took.
    async fn alone<R>(self, session_use: SessionUse, run: impl FnOnce(SessionUse) -> R) -> Result<Vec<Row>>
    where
        R: Future<Output = Result<Vec<Row>>>,
    {
        let limits = self.shared.limits;
        let since = Instant::now();
        let rows = run(session_use).await?;
        let info = self.shared.pool.stats().register.get(self.sql);
        if info.is_shareable() {
            match rows.len() as u64 >= limits.large {
                true => info.sharing().ran_too_long(limits.slow),
                false => info.sharing().ran_alone(since.elapsed(), limits.slow),
            }
        }
        Ok(rows)
    }
}

/// A read that was sent once counts as sent, whatever became of it later.
fn was_sent(err: Error) -> Error {
    match err {
        Error::TimedOut { bound, .. } => Error::TimedOut { bound, sent: true },
        err => err,
    }
}

/// Waits for the answer of a read that was sent.
async fn wait<E>(
    worker: &Arc<Worker>,
    question: Question<'_>,
    mut sent: Sent,
    enter: impl Fn() -> E,
) -> Result<Outcome>
where
    E: Future<Output = Result<SessionUse>>,
{
    let (mut repeated, mut late) = (false, false);
    loop {
        let told = match late {
            false => (&mut sent.told).await,
            // The brake did not let it ask again. It may do so now.
            true => match timeout(BRAKE_PATIENCE, &mut sent.told).await {
                Ok(told) => told,
                Err(_) if worker.lets_ask_again() => return again(worker, question, sent, enter).await,
                Err(_) => continue,
            },
        };
        let verdict = match told {
            Ok(Told::Answer(answer)) => verdict(answer, &sent.session, &sent.info, question.sql),
            Err(_) => Verdict::Repeat(Error::SessionLost),
            Ok(Told::Late(later)) => {
                (sent.told, late) = (later, true);
                if worker.lets_ask_again() {
                    return again(worker, question, sent, enter).await;
                }
                continue;
            }
        };
        match verdict {
            Verdict::Final(rows) => return rows.map(Outcome::Rows),
            Verdict::Alone => return Ok(Outcome::Alone),
            // The cancel of another read may hit this one twice; on a session of its own none does.
            Verdict::Repeat(err) if repeated && err.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(Outcome::Alone);
            }
            Verdict::Repeat(err) if repeated => return Err(err),
            Verdict::Repeat(_) => match worker.ask(question, Some(&sent.session)) {
                Some(other) => (sent, repeated, late) = (other, true, false),
                None => return Ok(Outcome::Alone),
            },
        }
    }
}

/// Asks again elsewhere. The first answer counts; the other is read and thrown away.
///
/// Once it has a session of its own, that answer is waited for: nobody can hold it up there, and it need not be cancelled. If it can have
/// none, the first answer is waited for as long as a borrower waits.
async fn again<E>(
    worker: &Arc<Worker>,
    question: Question<'_>,
    first: Sent,
    enter: impl Fn() -> E,
) -> Result<Outcome>
where
    E: Future<Output = Result<SessionUse>>,
{
    let Sent { session, info, told } = first;
    let elsewhere = pin!(async {
        if let Some(second) = worker.ask(question, Some(&session))
            && let Ok(Told::Answer(answer)) = second.told.await
            && let Verdict::Final(rows) = verdict(answer, &second.session, &second.info, question.sql)
        {
            return rows.map(Outcome::Rows);
        }
        enter().await.map(Outcome::Run)
    });
    let rows = |answer| match verdict(answer, &session, &info, question.sql) {
        Verdict::Final(rows) => Some(rows.map(Outcome::Rows)),
        Verdict::Repeat(_) | Verdict::Alone => None,
    };
    match select(told, elsewhere).await {
        Either::Left((Ok(Told::Answer(answer)), elsewhere)) => match rows(answer) {
            Some(rows) => rows,
            None => elsewhere.await,
        },
        Either::Left((Ok(Told::Late(_)) | Err(_), elsewhere)) => elsewhere.await,
        Either::Right((Ok(outcome), _)) => Ok(outcome),
        Either::Right((Err(refused), told)) => match timeout(worker.patience(), told).await {
            Ok(Ok(Told::Answer(answer))) => rows(answer).unwrap_or(Err(refused)),
            _ => Err(refused),
        },
    }
}

fn verdict(
    answer: Result<Rows, tokio_postgres::Error>,
    session: &SharedSession,
    info: &StatementInfo,
    sql: &str,
) -> Verdict {
    let err = match answer {
        Ok(rows) => return Verdict::Final(Ok(rows)),
        Err(err) => err,
    };
    match err.code() {
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
            info.sharing().refuse();
            Verdict::Alone
        }
        Some(&SqlState::QUERY_CANCELED) if session.was_cancelled() => Verdict::Repeat(err.into()),
        _ if is_lost(&err) => Verdict::Repeat(err.into()),
        _ if session.session().forget(sql, &err) => Verdict::Alone,
        _ => Verdict::Final(Err(err.into())),
    }
}
