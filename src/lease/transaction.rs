//! Begins, commits and rolls back transactions and savepoints.

use std::fmt::Display;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;

use super::callbacks::Callback;
use super::deadline::bounded;
use super::leftovers::before_commit;
use super::lender::Lender;
use super::session_use::SessionUse;
use super::stage::Stage;
use super::transaction_stack::FrameId;
use super::{elsewhere, probe};
use crate::stats::Event;
use crate::telemetry::Span;
use crate::tokio_postgres::error::{Severity, SqlState};
use crate::{Error, Result};

/// An open transaction, or a savepoint in one.
///
/// Cancellation safety: dropped at any point before its end, it is rolled back at home. No other statement is sent on the
/// session before the server has answered the rollback.
#[derive(Debug)]
pub(crate) struct TransactionGuard {
    /// Pins the session.
    session_use: SessionUse,
    frame: FrameId,
    committed: AtomicBool,
    rolled_back: AtomicBool,
    /// From the first statement to the end of the guard; none for a savepoint.
    _span: Span,
}

impl TransactionGuard {
    /// Begins a transaction with the statement `start`, or a savepoint in an outer one.
    ///
    /// `start` is put off until the first statement is sent, which waits for it unless it only reads. A savepoint, and a transaction
    /// on a session of which not everything is known, begin here and now. One that SQL has begun is not joined: it is busy.
    pub(crate) async fn begin(
        session_use: SessionUse,
        outer: Option<&Self>,
        start: impl Display,
    ) -> Result<Self> {
        let (frame, put_off) = {
            let mut state = session_use.lease().state();
            let settings = session_use.lease().settings().version();
            let put_off = outer.is_none() && state.may_put_off(settings);
            let put_off_start = put_off.then(|| start.to_string().into());
            let frame = state.transactions.reserve(outer.map(|outer| outer.frame), put_off_start)?;
            state.transaction_guards += 1;
            if outer.is_none() {
                session_use.lease().transaction_begins();
            }
            (frame, put_off)
        };
        let mut guard = Self {
            session_use,
            frame,
            committed: AtomicBool::new(false),
            rolled_back: AtomicBool::new(false),
            _span: Span::none(),
        };
        if !guard.is_savepoint() {
            guard._span = Span::session("transaction", Some(guard.session_use.session().peer()));
        }
        if put_off {
            return Ok(guard);
        }
        let sql =
            if guard.is_savepoint() { format!("SAVEPOINT {}", frame.savepoint()) } else { start.to_string() };
        let timed = guard.session_use.time_control();
        let begun = bounded(guard.session_use.bound(), async || {
            guard.session_use.send_control(frame, Stage::Beginning).await?;
            let probes = {
                let mut state = guard.session_use.lease().state();
                let probes = !state.transactions.is_savepoint(frame) && state.may_be_in_transaction();
                if probes {
                    state.transactions.stage(frame, Stage::Probing);
                }
                probes
            };
            let begun = probe::begin(guard.session_use.lease(), frame, &sql, probes).await;
            if begun.is_ok() {
                guard.session_use.lease().state().transactions.stage(frame, Stage::Open);
            }
            guard.session_use.answered(begun)
        })
        .await;
        begun.map_err(|err| guard.session_use.failed(err))?;
        drop(timed);
        Ok(guard)
    }

    /// Begins another transaction on the same session, when this one has ended.
    pub(crate) async fn begin_again(
        &self,
        caller: &'static Location<'static>,
        start: impl Display,
    ) -> Result<Self> {
        let session_use = self.session_use.lease().enter()?.called_at(caller);
        Self::begin(session_use, None, start).await
    }

    /// Becomes a user of the session, for as long as the transaction is open.
    pub(crate) fn enter(&self) -> Result<SessionUse> {
        self.session_use.lease().state().transactions.check(self.frame)?;
        Ok(self.session_use.lease().enter()?.within(self.frame))
    }

    /// Commits, or rolls back and fails. Sends nothing if nothing was sent in it.
    pub(crate) async fn commit(&self) -> Result<()> {
        let committed = self.try_commit().await;
        match committed {
            Ok(()) => self.committed.store(true, Ordering::Release),
            Err(_) => self.leave(),
        }
        committed
    }

    /// Whether it was committed or rolled back by hand.
    pub(super) fn is_ended(&self) -> bool {
        self.is_committed() || self.rolled_back.load(Ordering::Acquire)
    }

    async fn try_commit(&self) -> Result<()> {
        let mut session_use = self.enter()?;
        {
            let mut state = self.session_use.lease().state();
            state.transactions.may_commit(self.frame)?;
            if state.transactions.end_put_off(self.frame) {
                return Ok(());
            }
        }
        let is_savepoint = self.is_savepoint();
        let (mut asked, mut elsewhere) = (false, false);
        let _timed = session_use.time_control();
        let committed = bounded(session_use.bound(), async || {
            session_use.send_control(self.frame, Stage::Ending).await?;
            asked = true;
            // COMMIT succeeds in an aborted transaction, which it rolls back, and outside of any. SAVEPOINT fails in both cases.
            let sql = if is_savepoint {
                format!("RELEASE SAVEPOINT {}", self.frame.savepoint())
            } else {
                format!("SAVEPOINT actix_pg; {}COMMIT", before_commit(session_use.lease()))
            };
            let committed = session_use.session().client().batch_execute(&sql).await;
            match &committed {
                Ok(()) => {
                    session_use.lease().state().transactions.committed(self.frame);
                    if !is_savepoint {
                        session_use.lease().transaction_ended();
                    }
                }
                Err(refusal) => {
                    if !is_savepoint {
                        let client = session_use.session().client();
                        elsewhere = elsewhere::may_be_committed(client, refusal).boxed().await;
                    }
                    session_use.lease().state().transactions.stage(self.frame, Stage::Open);
                }
            }
            session_use.answered(committed.map_err(Error::from))
        })
        .await;
        match committed.map_err(|err| session_use.failed(err)) {
            Err(err) if asked && !self.is_savepoint() && (elsewhere || !is_refused_commit(&err)) => {
                self.forget_callbacks();
                // Whatever its code says: it may have been committed, and must not be run again.
                self.session_use.lease().state().transactions.no_conflict();
                Err(Error::OutcomeUnknown(Box::new(err)))
            }
            Err(err) if err.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION) => {
                self.forget_callbacks();
                Err(Error::TransactionEnded)
            }
            Err(Error::Postgres(err)) if err.as_db_error().is_some() => Err(Error::CommitRefused(err)),
            other => other,
        }
    }

    /// Rolls back, and returns when the server has done so.
    pub(crate) async fn rollback(&self) -> Result<()> {
        self.session_use.lease().state().transactions.check(self.frame)?;
        self.rolled_back.store(true, Ordering::Release);
        self.leave();
        self.session_use.check_quiet()?;
        self.session_use.lease().quiescent().await
    }

    /// Rolls back in the background, before anything else is sent. Does nothing after the end of the transaction.
    pub(crate) fn leave(&self) {
        let mut state = self.session_use.lease().state();
        state.transactions.leave(self.frame);
        self.session_use.lease().repair_if_due(state);
    }

    /// Whether it may be run again, because it lost against another transaction and was not committed.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.is_committed() && self.session_use.lease().state().transactions.conflict()
    }

    /// Counts that it is run again.
    pub(crate) fn count_retry(&self) {
        self.session_use.lease().pool().stats().count(Event::Retry);
    }

    /// Registers what runs after the transaction.
    pub(crate) fn register(&self, callback: Callback) -> Result<()> {
        let registered = self.session_use.lease().state().transactions.register(self.frame, callback);
        // A callback that is refused is dropped here, outside of the lock.
        registered.map_err(|(err, _)| err)
    }

    /// Drops what was registered, once nobody holds the lock.
    pub(crate) fn forget_callbacks(&self) {
        if let Some(transaction) = self.frame.transaction() {
            self.session_use.lease().state().transactions.callbacks.forget(transaction);
        }
    }

    /// Whether anything was registered on the session.
    pub(super) fn has_callbacks(&self) -> bool {
        !self.session_use.lease().state().transactions.callbacks.is_empty()
            && self.frame.transaction().is_some()
    }

    /// Takes what runs after the commit.
    pub(super) fn take_committed(&self) -> Vec<Callback> {
        let mut state = self.session_use.lease().state();
        self.frame.transaction().map(|id| state.transactions.callbacks.take_committed(id)).unwrap_or_default()
    }

    /// Whether COMMIT has been sent, and not been answered.
    pub(super) fn is_ending(&self) -> bool {
        self.session_use.lease().state().transactions.is_ending(self.frame)
    }

    /// Who has lent the session.
    pub(super) fn lender(&self) -> Lender {
        self.session_use.lease().lender()
    }

    fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    fn is_savepoint(&self) -> bool {
        self.session_use.lease().state().transactions.is_savepoint(self.frame)
    }
}

impl Drop for TransactionGuard {
    fn drop(&mut self) {
        let mut state = self.session_use.lease().state();
        state.transaction_guards -= 1;
        state.transactions.leave(self.frame);
        if let Some(transaction) = self.frame.transaction() {
            state.transactions.callbacks.released(transaction);
        }
        self.session_use.lease().repair_if_due(state);
    }
}

/// Whether the server has answered COMMIT by saying that it did not commit.
///
/// Classes 08 and XX say nothing of it: a server that spreads a transaction over others reports so that it has lost one of them.
/// Citus says XX000, also where that one has committed its part.
pub(super) fn is_refused_commit(err: &Error) -> bool {
    let may_be_lost = |code: &SqlState| ["08", "XX"].iter().any(|class| code.code().starts_with(class));
    is_refusal(err) && err.code().is_some_and(|code| !may_be_lost(code))
}

/// Whether the server has refused a statement, so that a COMMIT behind it is not run. A server that shuts down may have run it all
/// the same.
pub(super) fn is_refusal(err: &Error) -> bool {
    err.as_db_error().is_some_and(|said| {
        said.parsed_severity() == Some(Severity::Error)
            && *said.code() != SqlState::TRANSACTION_RESOLUTION_UNKNOWN
            && *said.code() != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
    })
}
