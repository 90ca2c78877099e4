//! What a transaction may leave behind on a backend that belongs to another session afterwards.
//!
//! A session that keeps its backend is reset when it goes back: [`reset`](super::reset). One that may have another backend in each
//! transaction is cleared at the end of each, in the same message as its COMMIT or ROLLBACK.

use super::Lease;
use super::reset::everything;
use super::session_use::SessionUse;
use crate::config::{Pooler, Reset};
use crate::sql::{SideEffects, Within, needs_session};
use crate::{Error, Result};

impl SessionUse {
    /// Whether the session may have another backend in each transaction.
    pub(crate) fn is_unpinned(&self) -> bool {
        self.lease().is_unpinned()
    }

    /// Refuses SQL that was let through while a transaction was open, and is about to be sent behind its end, in one of its own.
    pub(super) fn check_alone(&self, sql: &str, side_effects: SideEffects, batch: bool) -> Result<()> {
        let checked = check(sql, side_effects, Within::Nothing, batch);
        if checked.is_err() {
            // Nothing was sent that would have to be rolled back.
            self.lease().state().transactions.own = None;
        }
        checked
    }
}

impl Lease {
    pub(super) fn is_unpinned(&self) -> bool {
        self.pool().session_settings().pooler == Pooler::Transaction
    }

    /// Refuses SQL that needs what outlives a transaction. What leaves nothing behind needs nothing either. `may_draw` says whether it
    /// may draw a number from a sequence.
    pub(super) fn check_unpinned(
        &self,
        sql: &str,
        side_effects: SideEffects,
        batch: bool,
        may_draw: impl FnOnce() -> bool,
    ) -> Result<()> {
        let Some(unpinned) = self.session().unpinned().filter(|_| self.state().transactions.has_frame())
        else {
            return check(sql, side_effects, Within::Nothing, batch);
        };
        let drawn = unpinned.has_drawn();
        check(sql, side_effects, Within::Transaction { drawn }, batch)?;
        if !drawn && may_draw() {
            unpinned.draws();
        }
        Ok(())
    }

    /// Records that a transaction is about to begin.
    pub(super) fn transaction_begins(&self) {
        if let Some(unpinned) = self.session().unpinned() {
            unpinned.transaction_begins();
        }
    }

    /// Records that a transaction has ended on the server: its settings and its names are gone.
    pub(super) fn transaction_ended(&self) {
        if let Some(unpinned) = self.session().unpinned() {
            unpinned.transaction_ended();
            self.state().transaction_ended();
        }
    }

    /// Whether a statement can stand alone: it leaves nothing behind, and the request has no settings.
    pub(super) fn needs_no_transaction(&self, side_effects: SideEffects) -> bool {
        side_effects == SideEffects::CLEAN
            && self.settings().version() == 0
            && self.pool().session_settings().reset != Reset::Always
    }

    /// Whether what the open transaction has done to the session may be more than is known.
    fn is_marked(&self) -> bool {
        self.pool().session_settings().reset == Reset::Always || self.state().side_effects.session
    }

    /// What has to be cleared at the end of the open transaction, each statement with a semicolon behind it.
    fn leftovers(&self, is_marked: bool) -> String {
        let Some(unpinned) = self.session().unpinned() else {
            return String::new();
        };
        match (is_marked, unpinned.deallocate(is_marked)) {
            (true, deallocate) => format!("{}; {deallocate}; ", everything(self.pool(), self.session())),
            (false, "") => String::new(),
            (false, deallocate) => format!("{deallocate}; "),
        }
    }
}

/// Refuses SQL that needs what outlives a transaction, or is not in one.
pub(super) fn check(sql: &str, side_effects: SideEffects, within: Within, batch: bool) -> Result<()> {
    if side_effects == SideEffects::CLEAN {
        return Ok(());
    }
    needs_session(sql, within, batch).map_or(Ok(()), |what| Err(Error::NeedsSession(what)))
}

/// What stands before a COMMIT, so that nothing is left behind it. Empty on any other session.
///
/// Constraints and their triggers that wait for the COMMIT are checked before, with the settings of their statements.
pub(super) fn before_commit(lease: &Lease) -> String {
    if !lease.is_unpinned() {
        return String::new();
    }
    let is_marked = lease.is_marked();
    let constraints = if is_marked { "SET CONSTRAINTS ALL IMMEDIATE; " } else { "" };
    format!("{constraints}{}", lease.leftovers(is_marked))
}

/// A statement that rolls a transaction back, and what clears up after it.
pub(super) fn rollback(lease: &Lease) -> String {
    format!("ROLLBACK; {}", lease.leftovers(lease.is_marked()))
}
