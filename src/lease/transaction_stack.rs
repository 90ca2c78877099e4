//! The transaction of a session, and the savepoints in it, as their guards know them.
//!
//! ```text
//!   frame 0  START TRANSACTION          SAVEPOINT actix_pg_1   frame 1
//!   Asked ──> Beginning ──> Open ──> Ending ──> gone: committed
//!     │         ^    │        │        │
//!     │         │    └────────┴────────┴──> leave: the rollback is pending until the server has answered it
//!     └──> Probing ──> refused, where a transaction is open that SQL has begun
//! ```
//!
//! START TRANSACTION is put off until the first statement is sent. A transaction that ends before that ends without a message. Where
//! SQL may have begun one, the server is asked first.
//!
//! A statement belongs to the innermost frame that the server knows when it is sent. Abandoned, it fails that frame: whatever is
//! in it can only be rolled back.

use super::callbacks::{Callback, Callbacks};
use super::own_transaction::OwnTransaction;
use super::stage::{Rollback, Stage, savepoint};
use crate::error::{BusyWith, is_conflict};
use crate::tokio_postgres::error::SqlState;
use crate::{Error, Result};

/// The open transaction with its savepoints, and the rollback that has to be answered before anything else is sent.
#[derive(Debug, Default)]
pub(crate) struct TransactionStack {
    /// There is a transaction around this one, so that the first frame is a savepoint too.
    nested: bool,
    open: Vec<Frame>,
    last: u64,
    /// The transaction of a batch.
    pub(super) own: Option<OwnTransaction>,
    /// What the server has not been told to roll back.
    pending_rollback: Option<Rollback>,
    /// The transaction was begun READ ONLY.
    read_only: bool,
    /// The latest statement failed with a serialization failure or a deadlock.
    conflict: bool,
    /// What was registered to run after a transaction.
    pub(crate) callbacks: Callbacks,
}

#[derive(Debug)]
struct Frame {
    id: u64,
    stage: Stage,
    /// What begins it, if that has been put off until the first statement is sent.
    start: Option<Box<str>>,
    /// It could not be begun, or a statement in it was abandoned and nobody knows what it did.
    failed: bool,
}

/// The identity of a frame, which its guard holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameId {
    at: usize,
    id: u64,
}

impl TransactionStack {
    #[cfg(feature = "testing")]
    pub(crate) fn nested() -> Self {
        Self { nested: true, ..Self::default() }
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.nested
    }

    /// Reserves the next frame. Only the innermost frame can have another in it. `start` begins a transaction, if that is put
    /// off until its first statement is sent.
    pub(crate) fn reserve(&mut self, outer: Option<FrameId>, start: Option<Box<str>>) -> Result<FrameId> {
        let at = match outer {
            None => 0,
            Some(outer) => {
                self.check(outer)?;
                outer.at + 1
            }
        };
        if at != self.open.len() {
            return Err(Error::Busy(BusyWith::Transaction));
        }
        if self.failed() {
            return Err(Error::TransactionFailed);
        }
        if at == 0 {
            self.read_only = start.as_deref().is_some_and(|start| start.contains("READ ONLY"));
        }
        self.last += 1;
        self.open.push(Frame { id: self.last, stage: Stage::Asked, start, failed: false });
        if at == 0 {
            self.conflict = false;
        }
        Ok(FrameId { at, id: self.last })
    }

    /// Whether a transaction is open that was begun READ ONLY.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only && self.has_frame()
    }

    /// Refuses a guard whose frame has ended.
    pub(crate) fn check(&self, frame: FrameId) -> Result<()> {
        match self.open.get(frame.at) {
            Some(open) if open.id == frame.id => Ok(()),
            _ => Err(Error::TransactionEnded),
        }
    }

    /// Refuses a commit that would tear something apart.
    pub(crate) fn may_commit(&self, frame: FrameId) -> Result<()> {
        self.check(frame)?;
        if frame.at + 1 != self.open.len() {
            return Err(Error::NestedTransactionOpen);
        }
        if self.failed() { Err(Error::TransactionFailed) } else { Ok(()) }
    }

    /// Registers what runs after the transaction, unless its last statement has been sent.
    pub(crate) fn register(&mut self, frame: FrameId, callback: Callback) -> Result<(), (Error, Callback)> {
        match self.check(frame) {
            Ok(()) if self.open[frame.at].stage != Stage::Ending => {
                self.callbacks.register(self.open[0].id, frame.at, callback);
                Ok(())
            }
            _ => Err((Error::TransactionEnded, callback)),
        }
    }

    /// Whether the last statement of a frame has been sent, and not been answered.
    pub(crate) fn is_ending(&self, frame: FrameId) -> bool {
        self.check(frame).is_ok() && self.open[frame.at].stage == Stage::Ending
    }

    pub(crate) fn stage(&mut self, frame: FrameId, stage: Stage) {
        if self.check(frame).is_ok() {
            self.open[frame.at].stage = stage;
        }
    }

    /// Whether there is a transaction that later statements belong to, also one whose beginning has been put off.
    pub(crate) fn has_frame(&self) -> bool {
        self.is_put_off() || self.innermost().is_some()
    }

    /// Whether there is a transaction whose beginning has been put off.
    pub(crate) fn is_put_off(&self) -> bool {
        self.open.first().is_some_and(|first| first.start.is_some())
    }

    /// Whether the server has said that a transaction is begun, and the savepoint in it that is the innermost.
    pub(crate) fn is_begun(&self) -> bool {
        self.innermost().is_some_and(|frame| self.open[frame.at].stage == Stage::Open)
    }

    /// Takes what begins the transaction, if that has been put off. The caller sends it now, behind a probe if `probes`.
    pub(crate) fn take_start(&mut self, probes: bool) -> Option<(FrameId, Box<str>)> {
        let first = self.open.first_mut()?;
        let start = first.start.take()?;
        first.stage = if probes { Stage::Probing } else { Stage::Beginning };
        Some((FrameId { at: 0, id: first.id }, start))
    }

    /// Ends a transaction whose beginning has been put off, and says whether it was one.
    pub(crate) fn end_put_off(&mut self, frame: FrameId) -> bool {
        let put_off = self.is_put_off() && self.check(frame).is_ok();
        if put_off {
            self.committed(frame);
        }
        put_off
    }

    /// Removes a committed frame, and what was in it.
    pub(crate) fn committed(&mut self, frame: FrameId) {
        if self.check(frame).is_ok() {
            self.open.truncate(frame.at);
            self.callbacks.committed(frame.at);
        }
    }

    /// Removes a frame that is given up, and what was in it. If the server knows the frame, its rollback is pending.
    pub(crate) fn leave(&mut self, frame: FrameId) {
        if self.check(frame).is_err() {
            return;
        }
        let stage = self.open[frame.at].stage;
        self.open.truncate(frame.at);
        self.callbacks.left(frame.at, stage != Stage::Ending);
        match stage {
            Stage::Asked | Stage::Probing => {}
            // Nobody knows whether the savepoint exists, so the frame around it can only be rolled back.
            Stage::Beginning | Stage::Ending if self.is_savepoint(frame) => {
                let around = self.innermost();
                self.fail(around);
            }
            _ if self.is_savepoint(frame) => self.roll_back(Rollback::Savepoint(frame.at)),
            _ => self.roll_back(Rollback::Transaction),
        }
    }

    /// The frame that a statement sent now belongs to: the innermost that the server has been told of.
    pub(crate) fn innermost(&self) -> Option<FrameId> {
        let at = self.open.iter().rposition(|frame| frame.stage != Stage::Asked)?;
        Some(FrameId { at, id: self.open[at].id })
    }

    /// Fails a frame that could not be begun, or in which a statement was abandoned. A frame that has ended was answered after the
    /// statement, and is left alone.
    pub(crate) fn fail(&mut self, within: Option<FrameId>) {
        if let Some(frame) = within.filter(|frame| self.check(*frame).is_ok()) {
            self.open[frame.at].failed = true;
        }
    }

    /// Whether a frame can only be rolled back.
    pub(crate) fn failed(&self) -> bool {
        self.open.iter().any(|frame| frame.failed)
    }

    /// Whether the server has been told of a transaction.
    pub(crate) fn is_told(&self) -> bool {
        self.innermost().is_some() || self.own.is_some()
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty() || self.own.is_some()
    }

    /// Counts the first statement of a batch as sent. `probes` says that SQL may have begun a transaction.
    pub(crate) fn begin_own(&mut self, probes: bool) {
        self.own = Some(match (self.nested, probes) {
            (true, _) => OwnTransaction::SAVEPOINT,
            (false, true) => OwnTransaction::PROBE,
            (false, false) => OwnTransaction::TRANSACTION,
        });
    }

    pub(crate) fn stage_own(&mut self, stage: Stage) {
        self.own = self.own.map(|own| own.at(stage));
    }

    /// Whether the transaction of a batch is a savepoint in one that it has not begun.
    pub(crate) fn own_is_savepoint(&self) -> bool {
        self.own.is_some_and(OwnTransaction::is_savepoint)
    }

    /// Ends the transaction of a batch. If it was not committed, its rollback is pending.
    pub(crate) fn leave_own(&mut self) {
        if let Some(rollback) = self.own.take().and_then(OwnTransaction::rollback) {
            self.roll_back(rollback);
        }
    }

    fn roll_back(&mut self, rollback: Rollback) {
        self.pending_rollback = Some(self.pending_rollback.map_or(rollback, |other| other.min(rollback)));
    }

    /// Whether a rollback has to be answered before anything else is sent.
    pub(crate) fn has_pending_rollback(&self) -> bool {
        self.pending_rollback.is_some()
    }

    /// Takes the pending rollback. The caller has to have it answered before anything else is sent.
    pub(crate) fn take_pending_rollback(&mut self) -> Option<Rollback> {
        self.pending_rollback.take()
    }

    /// Records whether the latest statement lost against another transaction.
    pub(crate) fn note<T>(&mut self, answer: &Result<T>) {
        match answer {
            Ok(_) => self.conflict = false,
            Err(err) => match err.code() {
                Some(code) if *code == SqlState::IN_FAILED_SQL_TRANSACTION => {}
                code => self.conflict = code.is_some_and(is_conflict),
            },
        }
    }

    /// Records that nobody knows what came of a commit, nor whether it lost against another transaction.
    pub(crate) fn no_conflict(&mut self) {
        self.conflict = false;
    }

    pub(crate) fn conflict(&self) -> bool {
        self.conflict
    }

    /// Whether a frame is a savepoint, or the transaction itself.
    pub(crate) fn is_savepoint(&self, frame: FrameId) -> bool {
        frame.at > 0 || self.nested
    }
}

impl FrameId {
    /// The identity of the transaction, if it is not a savepoint.
    pub(crate) fn transaction(self) -> Option<u64> {
        (self.at == 0).then_some(self.id)
    }

    /// The name of the frame's savepoint, if it is one.
    pub(crate) fn savepoint(self) -> String {
        savepoint(self.at)
    }
}
