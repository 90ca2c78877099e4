//! What makes a session usable again while it is still lent.
//!
//! A repair cancels what was abandoned and sends the rollback of a transaction that was dropped. It holds everybody back meanwhile. One that
//! fails or takes longer than `reset_timeout` breaks the lease: its users get [`Error::SessionLost`](crate::Error::SessionLost), and the session is
//! discarded at its return.

use std::sync::{Arc, MutexGuard};

use tokio::time::timeout;

use super::health::Health;
use super::stage::Rollback;
use super::state::LeaseState;
use super::{Lease, ending, leftovers};
use crate::session::{Abandoned, cancel_until_quiet};
use crate::telemetry;

/// The next step of a repair.
#[derive(Debug)]
struct Repair {
    abandoned: Option<Abandoned>,
    rollback: Option<Rollback>,
}

impl Lease {
    /// Starts a repair at home, if one is due.
    pub(crate) fn repair_if_due(self: &Arc<Self>, mut state: MutexGuard<'_, LeaseState>) {
        let due = state.repair_due();
        let decided = state.decided_callbacks();
        drop(state);
        if let Some(decided) = decided {
            ending::run_decided(self, decided);
        }
        if due {
            // Created before the task: a home that has stopped drops the task without polling it.
            let cut_off = CutOff::of(self);
            self.pool().home().spawn(Arc::clone(self).repaired(cut_off));
        }
    }

    async fn repaired(self: Arc<Self>, mut cut_off: CutOff) {
        self.repair().await;
        // The session is open to others, and the next repair may have begun.
        cut_off.done();
        self.opened();
        self.ask_after_refused_write();
        let decided = self.state().decided_callbacks();
        if let Some(decided) = decided {
            ending::run_decided(&self, decided);
        }
    }

    /// Cancels what was abandoned and sends the pending rollback, each within `reset_timeout`.
    async fn repair(&self) {
        let bound = self.pool().session_settings().reset_timeout;
        loop {
            let Some(repair) = self.state().next_repair() else {
                return;
            };
            if timeout(bound, self.carry_out(repair)).await != Ok(true) {
                telemetry::repair_failed(self.pool().stats().name(), bound);
                self.state().health.break_down();
                return;
            }
        }
    }

    async fn carry_out(&self, repair: Repair) -> bool {
        self.session().driver().go_home();
        if let Some(abandoned) = repair.abandoned
            && !cancel_until_quiet(self.session(), self.pool().connector(), abandoned).await
        {
            return false;
        }
        let Some(rollback) = repair.rollback else {
            return true;
        };
        let is_whole = rollback == Rollback::Transaction;
        let sql = if is_whole { leftovers::rollback(self) } else { rollback.sql() };
        let rolled_back = self.session().client().batch_execute(&sql).await.is_ok();
        if rolled_back && is_whole {
            self.transaction_ended();
        }
        rolled_back
    }
}

impl LeaseState {
    /// Says whether a repair has to start. If so, nobody else may send from now on.
    fn repair_due(&mut self) -> bool {
        let due = self.health == Health::Sound
            && self.in_flight == 0
            && (self.abandoned.is_some() || self.transactions.has_pending_rollback());
        if due {
            self.health.hold();
        }
        due
    }

    /// The next step of a repair. `None` ends it and opens the session to everybody.
    fn next_repair(&mut self) -> Option<Repair> {
        let abandoned = self.abandoned.take();
        let rollback = self.transactions.take_pending_rollback();
        if abandoned.is_none() && rollback.is_none() {
            self.health.release();
            return None;
        }
        if rollback.is_some() {
            self.invalidate_settings();
        }
        Some(Repair { abandoned, rollback })
    }
}

/// Breaks the lease when the runtime of a repair stops, so that nobody waits for the repair.
pub(super) struct CutOff(Option<Arc<Lease>>);

impl CutOff {
    pub(super) fn of(lease: &Arc<Lease>) -> Self {
        Self(Some(Arc::clone(lease)))
    }

    /// The task has come to its end.
    pub(super) fn done(&mut self) {
        self.0 = None;
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.state().health.break_down();
            lease.opened();
        }
    }
}
