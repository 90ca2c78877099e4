//! What is going on on a lent session, and who may send on it.

use super::transaction_stack::{FrameId, TransactionStack};
use crate::session::Abandoned;
use crate::sql::SideEffects;
use crate::{Error, Result};

/// The state that all users of one borrow share.
#[derive(Debug, Default)]
pub(crate) struct LeaseState {
    /// Statements, row streams, copies, transactions and client guards that are alive.
    pub(crate) users: u32,
    /// Those of them whose statement may be on its way.
    in_flight: u32,
    /// Those whose statement is only being prepared: it is sent where it was let in, so no transaction begins or ends before.
    preparing: u32,
    /// A row stream or a copy is open: the answers of later statements would be stuck behind it.
    pub(crate) streaming: bool,
    /// A statement was left before its answer was read, and nobody has made sure that it ended.
    abandoned: Option<Abandoned>,
    pub(crate) health: Health,
    pub(crate) transactions: TransactionStack,
    pub(crate) side_effects: SideEffects,
    /// The session has been used at all.
    pub(crate) used: bool,
    /// Statements may have been sent, and left, that were never seen here.
    pub(crate) untracked: bool,
    /// Settings of the request have been sent.
    pub(crate) configured: bool,
    /// The version of the request's settings that is in force.
    applied: u64,
    /// Counts what may have undone settings.
    generation: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// Nobody else may send: a repair is going on, or the first or last statement of a transaction is unanswered.
    Held,
    /// Abandoned statements or a rollback were not answered well in time, or a panic came between.
    Broken,
}

/// What a statement's answer is to those that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is read in one go; later statements may be sent meanwhile.
    Whole,
    /// The same, and another message of the same statement follows.
    Prepare,
    /// It is read one by one: no statement may follow until that is done.
    Stream,
    /// The same, and data is sent meanwhile; left alone, that ends by itself.
    Copy,
    /// It decides where later statements belong: they wait for it.
    Control,
}

/// What somebody who wants to send finds.
#[derive(Debug)]
pub(crate) enum Admission {
    Sent,
    Wait,
    /// The request's settings come first. They count as sent while this many undoings have been seen.
    Settings(u64),
}

/// What has to be done before anything else is sent.
#[derive(Debug)]
pub(crate) struct Repair {
    pub(crate) abandoned: Option<Abandoned>,
    pub(crate) rollback: Option<String>,
}

impl LeaseState {
    /// Within a transaction that is around everything.
    #[cfg(feature = "testing")]
    pub(crate) fn nested() -> Self {
        Self { transactions: TransactionStack::nested(), ..Self::default() }
    }

    /// Of a session that was used, nobody knows how.
    #[cfg(feature = "testing")]
    pub(crate) fn unknown() -> Self {
        Self { used: true, side_effects: SideEffects::UNKNOWN, ..Self::default() }
    }

    /// Whether a statement may be sent now; if so, it counts as sent. `prepared`: it was let in before, to be prepared.
    pub(crate) fn admit(
        &mut self,
        side_effects: SideEffects,
        answer: Reply,
        settings: u64,
        prepared: bool,
    ) -> Result<Admission> {
        match self.health {
            Health::Sound => {}
            Health::Held => return Ok(Admission::Wait),
            Health::Broken => return Err(Error::SessionLost),
        }
        if self.streaming {
            return Err(Error::Busy);
        }
        if self.transactions.has_pending_rollback() {
            return Ok(Admission::Wait);
        }
        if self.transactions.failed() {
            return Err(Error::TransactionFailed);
        }
        if self.transactions.is_nested() && side_effects.control {
            return Err(Error::Sandboxed);
        }
        if answer == Reply::Control && self.preparing > 0 {
            return Ok(Admission::Wait);
        }
        self.in_flight += 1;
        self.used = true;
        if settings != self.applied {
            self.configured = true;
            self.side_effects.session = true;
            return Ok(Admission::Settings(self.generation));
        }
        self.side_effects = self.side_effects.union(side_effects);
        self.streaming = matches!(answer, Reply::Stream | Reply::Copy);
        if answer == Reply::Control {
            self.health = Health::Held;
        }
        if side_effects.transaction {
            self.invalidate_settings();
        }
        self.preparing += u32::from(answer == Reply::Prepare);
        self.preparing -= u32::from(prepared);
        Ok(Admission::Sent)
    }

    /// Settings are in force, if nothing has undone them meanwhile.
    pub(crate) fn settings_applied(&mut self, version: u64, generation: u64) {
        if self.generation == generation {
            self.applied = version;
        }
    }

    /// Something has been sent that can roll settings back: they have to be applied again.
    pub(crate) fn invalidate_settings(&mut self) {
        self.generation += 1;
        self.applied = 0;
    }

    /// A statement's answer has been read, or is not waited for any more.
    pub(crate) fn complete(&mut self, sent: Reply) {
        self.in_flight -= 1;
        match sent {
            Reply::Whole | Reply::Prepare => {}
            Reply::Stream | Reply::Copy => self.streaming = false,
            Reply::Control if self.health == Health::Held => self.health = Health::Sound,
            Reply::Control => {}
        }
    }

    /// A statement has been left before its answer was read: the transaction it belongs to is failed.
    pub(crate) fn abandon(&mut self, sent: Reply, within: Option<FrameId>) {
        self.transactions.fail(within);
        if sent == Reply::Control {
            self.transactions.no_conflict();
        }
        if sent == Reply::Copy {
            return self.doubt(sent);
        }
        self.abandoned = self.abandoned.max(Some(Abandoned::Cancelled));
        self.complete(sent);
    }

    /// A statement has ended, or will, in a way that may leave its session one answer behind.
    pub(crate) fn doubt(&mut self, sent: Reply) {
        self.abandoned = Some(Abandoned::Ending);
        self.mark_untracked();
        self.complete(sent);
    }

    /// A statement that was let in to be prepared will not be sent.
    pub(crate) fn not_prepared(&mut self) {
        self.preparing -= 1;
    }

    /// From now on nothing is known of what is sent and left behind.
    pub(crate) fn mark_untracked(&mut self) {
        self.untracked = true;
        self.side_effects = self.side_effects.union(SideEffects::UNKNOWN);
    }

    /// Whether a repair has to start; if so, nobody else may send from now on.
    pub(crate) fn repair_due(&mut self) -> bool {
        let due = self.health == Health::Sound
            && self.in_flight == 0
            && (self.abandoned.is_some() || self.transactions.has_pending_rollback());
        if due {
            self.health = Health::Held;
        }
        due
    }

    /// What is left of a repair; `None` opens the session to all.
    pub(crate) fn next_repair(&mut self) -> Option<Repair> {
        let abandoned = self.abandoned.take();
        let rollback = self.transactions.take_pending_rollback();
        if abandoned.is_none() && rollback.is_none() {
            self.health = Health::Sound;
            return None;
        }
        if rollback.is_some() {
            self.invalidate_settings();
        }
        Some(Repair { abandoned, rollback })
    }

    /// Whether a transaction that was begun here has not been seen to end.
    pub(crate) fn in_transaction(&self) -> bool {
        self.transactions.is_open() || self.transactions.has_pending_rollback()
    }
}
