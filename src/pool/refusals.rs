//! The pauses between logins while the hook before a session is lent refuses every new session.
//!
//! ```text
//!   a new session is refused ──> no login for 100 ms, then one; for 200 ms, then one … 1 s
//!                                   │ a new session is accepted
//!                                   └──> as many as are wanted
//! ```
//!
//! A session that was in use before may be refused for its own sake, so its refusal costs no pause.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::Pool;
use super::backoff::Backoff;
use super::pooled_session::PooledSession;
use crate::stats::EndReason;

/// Whether the hook refuses new sessions at present. The pool holds it.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Option<Ongoing>>);

#[derive(Debug, Clone, Copy)]
struct Ongoing {
    backoff: Backoff,
    /// Nothing is opened now.
    is_paused: bool,
}

impl Refusals {
    /// How many sessions may be opened at a time, if that is bounded.
    pub(super) fn opening_limit(&self) -> Option<u32> {
        self.ongoing().map(|ongoing| u32::from(!ongoing.is_paused))
    }

    /// Begins a pause, unless there is one.
    fn pause(&self) -> Option<Duration> {
        let mut ongoing = self.ongoing();
        let backoff = match *ongoing {
            None => Backoff::default(),
            Some(former) if former.is_paused => return None,
            Some(former) => former.backoff.longer(),
        };
        *ongoing = Some(Ongoing { backoff, is_paused: true });
        Some(backoff.pause())
    }

    fn resume(&self) {
        if let Some(ongoing) = &mut *self.ongoing() {
            ongoing.is_paused = false;
        }
    }

    /// Records that a new session was accepted, and says whether the one before was refused.
    fn accepted(&self) -> bool {
        self.ongoing().take().is_some()
    }

    fn ongoing(&self) -> MutexGuard<'_, Option<Ongoing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Why a session that was taken at the gate must not be lent, if so. Asks the application's hook, if there is one.
    pub(super) fn refusal(self: &Arc<Self>, pooled: &PooledSession) -> Option<EndReason> {
        let session = pooled.session();
        if let Some(reason) = session.retire_reason() {
            return Some(reason);
        }
        let accepts = self.connector.hooks().accepts_acquire(session.client())?;
        if session.is_new() {
            match accepts {
                true if self.refusals.accepted() => self.gate.limit_opening(|limit| limit.max(1)),
                true => {}
                false => self.pause_opening(),
            }
        }
        (!accepts).then_some(EndReason::Refused)
    }

    fn pause_opening(self: &Arc<Self>) {
        let Some(pause) = self.refusals.pause() else { return };
        self.gate.limit_opening(|_| 0);
        let weak = Arc::downgrade(self);
        self.home.spawn(async move {
            sleep(pause).await;
            let Some(pool) = weak.upgrade() else { return };
            pool.refusals.resume();
            // An outage has pauses of its own.
            if pool.outage.cause().is_none() {
                pool.gate.limit_opening(|limit| limit.max(1));
                pool.hold_floor();
            }
        });
    }
}
