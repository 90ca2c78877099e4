//! What is in flight on a lent session.

use std::sync::Arc;

use super::callbacks::Decided;
use super::health::Health;
use super::transaction_stack::{FrameId, TransactionStack};
use crate::error::BusyWith;
use crate::pool::Told;
use crate::session::Abandoned;
use crate::sql::SideEffects;
use crate::stats::{Doing, StatementInfo};
use crate::{Error, Result};

/// The state that all users of one borrow share.
#[derive(Debug, Default)]
pub(crate) struct LeaseState {
    /// Statements, row streams, copies, transactions and client guards that are alive.
    pub(crate) users: u32,
    /// Users whose statement may be on its way.
    pub(super) in_flight: u32,
    /// Users whose statement is being prepared, or waits for the transaction that it begins. It belongs to the transaction in which it
    /// was admitted, so no other transaction begins or ends before it is sent.
    pub(super) preparing: u32,
    /// Batches in a transaction whose last statement has not been sent. They belong to it, so it does not end before that.
    pub(super) batches: u32,
    /// The users that are transactions.
    pub(crate) transaction_guards: u32,
    /// The users that are client guards.
    pub(crate) client_guards: u32,
    /// The row stream or copy that is open. The answers of later statements would be stuck behind it.
    pub(crate) streaming: Option<BusyWith>,
    /// A statement was dropped before its answer was read, and may still run.
    pub(super) abandoned: Option<Abandoned>,
    pub(crate) health: Health,
    pub(crate) transactions: TransactionStack,
    pub(crate) side_effects: SideEffects,
    /// The statement that was sent last, if it was prepared.
    pub(crate) latest: Option<Arc<StatementInfo>>,
    /// A statement has been sent.
    pub(crate) used: bool,
    /// The server has refused a write, and was not asked why.
    pub(super) refused_write: bool,
    /// Statements may have been sent that were not admitted here, as by a client guard.
    pub(crate) untracked: bool,
    /// Settings of the request have been sent.
    pub(crate) configured: bool,
    /// The version of the request's settings that is in force. 0 means none, `LEFT` those of an earlier request.
    pub(super) applied: u64,
    /// What is in force where they are not, or are undone: 0, or `LEFT` until those of the earlier request have been reset.
    unapplied: u64,
    /// The version of the request's settings that the server has refused.
    refused: Option<u64>,
    /// The generation of the settings. Whatever may undo settings, such as a rollback, starts a new one.
    pub(super) generation: u64,
    /// The session may have another backend in each transaction: settings end with theirs.
    pub(super) unpinned: bool,
    /// Dropped when the session has ended.
    pub(crate) told_of_end: Told,
}

/// How a message's answer is read, and what that means for the statements behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The answer is read in one go. Later statements may be sent meanwhile.
    Whole,
    /// As `Whole`, and another message of the same statement follows.
    Prepare,
    /// The answer is read row by row. No statement may be sent before it has been read.
    Stream,
    /// As `Stream`, of a copy's data.
    CopyOut,
    /// As `Stream`, and the client sends data meanwhile. Abandoned, it ends by itself.
    CopyIn,
    /// The answer decides which transaction later statements belong to. They wait for it.
    Control,
    /// As `Whole`, and more statements of the same batch follow. The transaction that they are in does not end meanwhile.
    Batch,
    /// As `Control`, from the first statement of a transaction to its last: a batch that has one of its own. Where a transaction is
    /// open, it becomes a `Batch`.
    Alone,
}

/// How the settings of a request are applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SettingsSent {
    /// The generation that they are valid for.
    pub(crate) generation: u64,
    /// What an earlier request has left is reset with them.
    pub(crate) resets_left: bool,
    /// No transaction is open, whose rollback would undo it.
    pub(crate) is_final: bool,
    /// The server is known to keep what is prepared.
    pub(crate) keeps: bool,
}

/// Stands for the version of settings that an earlier request has left on the session.
const LEFT: u64 = u64::MAX;

impl LeaseState {
    /// The state of a session on which an earlier request has left its settings.
    pub(crate) fn with_settings_left() -> Self {
        Self { applied: LEFT, unapplied: LEFT, ..Self::default() }
    }

    /// The state inside of a transaction that is not ours to end: a sandbox.
    #[cfg(feature = "testing")]
    pub(crate) fn nested() -> Self {
        Self { transactions: TransactionStack::nested(), ..Self::default() }
    }

    /// The state of a session that was used in ways that nobody has tracked.
    #[cfg(feature = "testing")]
    pub(crate) fn unknown() -> Self {
        Self { used: true, side_effects: SideEffects::UNKNOWN, ..Self::default() }
    }

    /// Fails while a row stream or a copy is open.
    pub(crate) fn check_quiet(&self) -> Result<()> {
        self.streaming.map_or(Ok(()), |with| Err(Error::Busy(with)))
    }

    /// What is alive, if anything is: of several, the one that has to end first.
    pub(crate) fn busy_with(&self) -> Option<BusyWith> {
        if self.users == 0 {
            return None;
        }
        let guards =
            [(self.client_guards, BusyWith::ClientGuard), (self.transaction_guards, BusyWith::Transaction)];
        let guard = guards.into_iter().find(|(alive, _)| *alive > 0).map(|(_, with)| with);
        Some(self.streaming.or(guard).unwrap_or(BusyWith::Statement))
    }

    /// Records that a message has been answered, or that nobody waits for its answer any more.
    pub(crate) fn complete(&mut self, sent: Reply) {
        self.in_flight -= 1;
        match sent {
            Reply::Whole | Reply::Prepare => {}
            Reply::Stream | Reply::CopyIn | Reply::CopyOut => self.streaming = None,
            Reply::Control => self.open(),
            Reply::Batch => self.batches -= 1,
            Reply::Alone => {
                self.transactions.leave_own();
                self.open();
            }
        }
    }

    /// Lets others send again, unless the session is broken.
    fn open(&mut self) {
        self.health.release();
    }

    /// Records that the last statement of a batch in a transaction has been sent.
    pub(crate) fn batch_sent(&mut self) {
        self.batches -= 1;
    }

    /// Records that a statement was dropped before its answer was read, and fails the transaction that it was sent in.
    pub(crate) fn abandon(&mut self, sent: Reply, within: Option<FrameId>) {
        self.transactions.fail(within);
        if sent == Reply::Control {
            self.transactions.no_conflict();
        }
        if sent == Reply::CopyIn {
            return self.doubt(sent);
        }
        self.abandoned = self.abandoned.max(Some(Abandoned::Cancelled));
        self.complete(sent);
    }

    /// Records that the session may be one answer behind. The next repair asks it.
    pub(crate) fn doubt(&mut self, sent: Reply) {
        self.abandoned = Some(Abandoned::Ending);
        self.mark_untracked();
        self.complete(sent);
    }

    /// Records that a statement that was admitted to be prepared will not be sent.
    pub(crate) fn not_prepared(&mut self) {
        self.preparing -= 1;
    }

    /// Records that nothing is known of what is sent from now on.
    pub(crate) fn mark_untracked(&mut self) {
        self.untracked = true;
        self.side_effects = self.side_effects.union(SideEffects::UNKNOWN);
    }

    /// Whether an earlier request has left settings that have not been reset.
    pub(crate) fn has_settings_left(&self) -> bool {
        self.unapplied == LEFT
    }

    /// Whether these settings are in force, and no others.
    pub(crate) fn is_in_force(&self, settings: u64) -> bool {
        self.applied == settings && !self.has_settings_left()
    }

    /// Records that settings are in force, unless a new generation has begun meanwhile.
    pub(crate) fn settings_applied(&mut self, version: u64, sent: SettingsSent) {
        if sent.resets_left && sent.is_final {
            self.unapplied = 0;
        }
        if self.generation == sent.generation {
            self.applied = version;
        }
    }

    /// Records that the server has refused the settings. It may refuse to reset them, too.
    pub(crate) fn settings_refused(&mut self, version: u64) {
        self.refused = Some(version);
        self.side_effects.session = true;
    }

    pub(crate) fn has_refused(&self, settings: u64) -> bool {
        self.refused == Some(settings)
    }

    /// Records that what was applied may have been undone: the settings have to be applied again.
    pub(crate) fn invalidate_settings(&mut self) {
        self.generation += 1;
        self.applied = self.unapplied;
    }

    /// Whether statements may have done to the session what nobody knows.
    pub(crate) fn has_unknown_effects(&self) -> bool {
        self.untracked || self.side_effects.session
    }

    /// Takes the callbacks that nothing has to be waited for any more.
    pub(crate) fn decided_callbacks(&mut self) -> Option<Decided> {
        if self.transactions.callbacks.is_empty() {
            return None;
        }
        let answered = match self.health {
            Health::Sound => !self.transactions.has_pending_rollback(),
            Health::Held => false,
            Health::Broken => true,
        };
        Some(self.transactions.callbacks.take_decided(answered))
    }

    /// What the users do, for an observer.
    pub(crate) fn doing(&self) -> Doing {
        Doing {
            standalone: false,
            owned: false,
            in_transaction: self.in_transaction(),
            in_flight: self.in_flight > 0,
            latest: self.latest.clone(),
        }
    }

    /// Records that a transaction has ended, with what it has cleared, on a session without a backend of its own.
    pub(super) fn transaction_ended(&mut self) {
        self.side_effects = SideEffects::CLEAN;
        self.untracked = false;
        self.invalidate_settings();
    }

    /// Whether a transaction is open, or its rollback has not been answered.
    pub(crate) fn in_transaction(&self) -> bool {
        self.transactions.is_open() || self.transactions.has_pending_rollback()
    }
}
