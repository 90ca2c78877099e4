//! One user of a lent session.
//!
//! ```text
//!   enter ──> SessionUse ──send──> sent ──answered──> may send again
//!                                    │ doubted: one answer behind, perhaps; the session is asked
//!                                    │ given_up: out of step; the session is broken
//!                                    └ dropped: the statement is abandoned
//! ```

use std::convert::Infallible;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use futures_util::FutureExt;

use super::Lease;
use super::admission::{Admission, Message};
use super::ahead::Ahead;
use super::deadline::{Bound, Deadline};
use super::observed::Observed;
use super::request_info::Timed;
use super::stage::Stage;
use super::state::{LeaseState, Reply};
use super::transaction_stack::FrameId;
use crate::config::{Echo, Reset};
use crate::session::Session;
use crate::sql::SideEffects;
use crate::stats::StatementInfo;
use crate::{Error, Result};

mod abandoned;
mod client;
mod observing;

pub(crate) use observing::warn_when_repeated;

/// One user of a lent session, from before its first message to after its last answer.
///
/// Cancellation safety: dropped between [`send`](Self::send) and [`answered`](Self::answered), its statement is abandoned.
/// When no other is in flight, what was abandoned is cancelled on the server (P18).
#[derive(Debug)]
pub(crate) struct SessionUse {
    lease: Arc<Lease>,
    /// The transaction that it must not outlive.
    frame: Option<FrameId>,
    /// When the call has to be over.
    until: Option<Box<Deadline>>,
    sent: Option<Reply>,
    /// The line of the application that runs the statement.
    caller: Option<&'static Location<'static>>,
    /// The statement, if it was prepared.
    info: Option<Arc<StatementInfo>>,
    /// The statement, if somebody observes statements.
    observed: Option<Box<Observed>>,
    /// The frame in which the statement was sent.
    within: Option<FrameId>,
    /// The statement has been admitted to be prepared, or to begin a transaction first, and has not been sent.
    preparing: bool,
}

impl SessionUse {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self {
            lease,
            frame: None,
            until: None,
            sent: None,
            caller: None,
            info: None,
            observed: None,
            within: None,
            preparing: false,
        }
    }

    /// Makes it a user of one transaction.
    pub(crate) fn within(mut self, frame: FrameId) -> Self {
        self.frame = Some(frame);
        self
    }

    /// Names the line of the application that runs the statement.
    pub(crate) fn called_at(mut self, caller: &'static Location<'static>) -> Self {
        self.caller = Some(caller);
        self
    }

    /// Bounds the statement by a deadline of the call.
    pub(crate) fn until(mut self, deadline: Deadline) -> Self {
        self.until = Deadline::earliest(self.until.as_deref().copied(), Some(deadline)).map(Box::new);
        self
    }

    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    pub(crate) fn session(&self) -> &Session {
        self.lease.session()
    }

    /// What bounds a statement: `command_timeout`, a deadline of the call or of the request, whichever comes first.
    pub(crate) fn bound(&self) -> Option<Bound> {
        let deadline = Deadline::earliest(self.until.as_deref().copied(), self.lease.request().deadline());
        Bound::of(self.lease.pool().session_settings().command_timeout, deadline)
    }

    pub(crate) fn echo(&self) -> Echo {
        self.lease.pool().session_settings().echo
    }

    /// Waits until a statement may be sent, and records that it is sent now.
    ///
    /// Waits for repairs, for rollbacks, and for the first and last statements of transactions. Applies the request's settings
    /// first, and begins the transaction whose beginning was put off.
    pub(crate) async fn send(&mut self, side_effects: SideEffects, reply: Reply) -> Result<()> {
        self.admitted(side_effects, reply, false).await.map(drop)
    }

    /// As [`send`](Self::send), but the statement need not wait for the answers to what is sent ahead of it, if it changes nothing. The
    /// caller sends it [along](Ahead::along).
    pub(crate) fn send_behind(
        &mut self,
        side_effects: SideEffects,
        reply: Reply,
    ) -> impl Future<Output = Result<Option<Ahead>>> {
        self.admitted(side_effects, reply, true)
    }

    async fn admitted(
        &mut self,
        side_effects: SideEffects,
        reply: Reply,
        pipelined: bool,
    ) -> Result<Option<Ahead>> {
        let pipelined = pipelined && self.lease.pool().session_settings().reset != Reset::Always;
        let ahead = loop {
            let Self { lease, frame, sent, info, within, preparing, .. } = self;
            let prepared = *preparing;
            // What has been prepared, or has begun a transaction, is sent in the transaction in which it was admitted, or not at all.
            let frame = within.filter(|_| prepared).or(*frame);
            let version = lease.settings().version();
            let mut sent_as = reply;
            let mut admission = |state: &mut LeaseState| {
                if let Some(frame) = frame
                    && let Err(err) = state.transactions.check(frame)
                {
                    return Some(Err(err));
                }
                if prepared && *within != state.transactions.innermost() {
                    return Some(Err(Error::TransactionEnded));
                }
                let in_transaction = || frame.is_some() || state.transactions.has_frame();
                sent_as = if reply == Reply::Alone && in_transaction() { Reply::Batch } else { reply };
                let statement = info.as_deref();
                let message = Message { side_effects, reply: sent_as, prepared, pipelined, statement };
                let admitted = state.admit(message, version);
                match admitted {
                    Ok(Admission::Wait) => return None,
                    Ok(Admission::Sent | Admission::Behind(_)) => state.latest.clone_from(info),
                    Ok(Admission::First(_)) => {}
                    Err(_) => return Some(admitted),
                }
                *within = state.transactions.innermost();
                Some(admitted)
            };
            let admission = match lease.look(sent.take(), &mut admission) {
                Some(admitted) => admitted?,
                // Boxed, because few statements wait and the futures of all have room for this.
                None => lease.wait_for(admission).boxed().await?,
            };
            let ahead = match admission {
                Admission::First(due) => {
                    self.preparing |= due.begin.is_some();
                    Ahead::send(*due, &self.lease).answered().await?;
                    continue;
                }
                Admission::Behind(due) => Some(Ahead::send(*due, &self.lease)),
                Admission::Sent | Admission::Wait => None,
            };
            self.sent = Some(sent_as);
            break ahead;
        };
        if mem::replace(&mut self.preparing, reply == Reply::Prepare) {
            self.lease.opened();
        }
        if side_effects.statements {
            self.session().retire();
        }
        Ok(ahead)
    }

    /// As [`send`](Self::send), for the first or the last statement of a transaction.
    pub(crate) async fn send_control(&mut self, frame: FrameId, stage: Stage) -> Result<()> {
        self.send(SideEffects::default(), Reply::Control).await?;
        self.lease.state().transactions.stage(frame, stage);
        Ok(())
    }

    /// As [`send`](Self::send), for a batch. It has a transaction of its own, unless one is open: then it is a part of that.
    pub(crate) async fn send_batch(&mut self, side_effects: SideEffects) -> Result<()> {
        self.send(side_effects, Reply::Alone).await
    }

    /// Whether it is a batch with a transaction of its own.
    pub(crate) fn has_own_transaction(&self) -> bool {
        self.sent == Some(Reply::Alone)
    }

    /// Whether what was sent last belongs to a transaction that is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.within.is_some()
    }

    /// Fails if the transaction that a batch is a part of has ended.
    pub(crate) fn check_transaction(&self) -> Result<()> {
        let state = self.lease.state();
        self.within.map_or(Ok(()), |within| state.transactions.check(within))
    }

    /// Records that the last statement of a batch has been sent: the transaction that it is a part of may end.
    pub(crate) fn batch_sent(&mut self) {
        if self.sent == Some(Reply::Batch) {
            self.sent = Some(Reply::Whole);
            self.lease.state().batch_sent();
            self.lease.opened();
        }
    }

    /// Fails the transaction that a batch is a part of: half of it has been done.
    pub(crate) fn fail_transaction(&self) {
        self.lease.state().transactions.fail(self.within);
    }

    /// Adds the time until the drop to what the request costs, if that is summed up: for the first and last statements of
    /// transactions, which nobody observes.
    pub(crate) fn time_control(&self) -> Option<Timed> {
        Timed::control(self.lease.request())
    }

    /// Records that the last answer has been read, and what it was. Does nothing if nothing was sent.
    pub(crate) fn answered<T>(&mut self, answer: Result<T>) -> Result<T> {
        let Some(sent) = self.sent.take() else {
            return answer;
        };
        let answer = answer.map_err(|err| self.lease.note_refused_write(err));
        self.lease.answered(sent, &answer);
        answer
    }

    /// Records an answer after which the session may be one answer behind. It is asked before anybody else may send.
    pub(crate) fn doubted(&mut self, err: Error) -> Error {
        let Some(sent) = self.sent.take() else {
            return err;
        };
        let answer = Err(err);
        let mut state = self.lease.state();
        state.transactions.note(&answer);
        state.doubt(sent);
        self.lease.let_others(sent, state);
        let Err::<Infallible, _>(err) = answer;
        err
    }

    /// Records that a statement has not run, and is prepared and sent again: in the transaction in which it was sent, or not at all. Has to
    /// be called before its answer is recorded.
    pub(crate) fn prepares_again(&mut self) {
        if !mem::replace(&mut self.preparing, true) {
            self.lease.state().preparing += 1;
        }
    }

    /// Records that the last answer was an error.
    pub(crate) fn refused(&mut self, err: Error) -> Error {
        let Err(err) = self.answered::<Infallible>(Err(err));
        err
    }

    /// Records an error after which the session is out of step. It is discarded at its return.
    pub(crate) fn given_up(&mut self, err: Error) -> Error {
        let err = self.lease.note_refused_write(err);
        if let Some(sent) = self.sent.take() {
            let mut state = self.lease.state();
            state.complete(sent);
            state.health.break_down();
            drop(state);
            self.lease.opened();
        }
        err
    }

    /// Whether the statement changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.only_reads())
    }

    /// Whether the rest of an answer may be cancelled, because no transaction would be hit.
    pub(crate) fn stands_alone(&self) -> bool {
        let state = self.lease.state();
        !state.in_transaction() && !state.side_effects.transaction && !state.transactions.is_nested()
    }

    /// Fails while a row stream or a copy is open.
    pub(crate) fn check_quiet(&self) -> Result<()> {
        self.lease.state().check_quiet()
    }
}
