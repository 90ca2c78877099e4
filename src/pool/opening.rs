//! Opens sessions for the waiters. While none can be opened, makes one attempt at a time.
//!
//! ```text
//!            wanted, and there is a place                     opened
//!   open ───────────────────────────────> several at a time ────────> to the first in line
//!    ^                                         │ one has failed
//!    │ opened                                  v
//!    └─────────────────────── one attempt after 100 ms, 200 ms … 500 ms
//! ```
//!
//! During an outage the places are free, so that a session that comes back goes to the first in line. When no session is
//! alive either, the waiters fail at once with the cause.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Pool;
use super::backoff::Backoff;
use super::bb8_pool::Bb8Session;
use super::gate::Permit;
use crate::session::ConnectError;
use crate::telemetry;

/// A time in which no session can be opened.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    ongoing: Mutex<Option<Ongoing>>,
    begun: Arc<Notify>,
}

#[derive(Debug)]
struct Ongoing {
    cause: ConnectError,
    since: Instant,
}

impl Outage {
    /// Why the latest attempt failed, if there is an outage.
    pub(crate) fn cause(&self) -> Option<ConnectError> {
        self.ongoing().as_ref().map(|ongoing| ongoing.cause.clone())
    }

    fn ongoing(&self) -> MutexGuard<'_, Option<Ongoing>> {
        self.ongoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outage {
    /// Wakes the task that waits for the next outage. It finds the pool gone, and ends.
    fn drop(&mut self) {
        self.begun.notify_one();
    }
}

/// Starts the tasks that open the sessions of a pool.
pub(crate) fn start(pool: &Arc<Pool>) {
    let (gate, weak) = (Arc::clone(&pool.gate), Arc::downgrade(pool));
    pool.home().keep_running(move || {
        let (gate, weak) = (Arc::clone(&gate), weak.clone());
        async move {
            while let Some(permit) = gate.place_for_waiter().await {
                let Some(pool) = weak.upgrade() else { return };
                pool.open_in_background(permit);
            }
        }
    });
    let (begun, weak) = (Arc::clone(&pool.outage.begun), Arc::downgrade(pool));
    pool.home().keep_running(move || {
        let (begun, weak) = (Arc::clone(&begun), weak.clone());
        async move {
            let mut backoff = None;
            loop {
                let Some(pool) = weak.upgrade() else { return };
                if pool.gate.is_closed() {
                    return;
                }
                let cause = pool.outage.cause();
                drop(pool);
                let Some(cause) = cause else {
                    backoff = None;
                    begun.notified().await;
                    continue;
                };
                let next = backoff.unwrap_or_else(|| Backoff::first(&cause));
                sleep(next.pause()).await;
                // Those that were under way may have failed meanwhile.
                let pool = loop {
                    let Some(pool) = weak.upgrade() else { return };
                    let rest = pool.pace.rest_after(&cause);
                    if rest.is_zero() {
                        break pool;
                    }
                    drop(pool);
                    sleep(rest).await;
                };
                backoff = pool.try_again(next).await;
            }
        }
    });
}

impl Pool {
    /// Opens a session in a place, and gives it to the first in line.
    pub(crate) fn open_in_background(self: &Arc<Self>, permit: Permit<Bb8Session>) {
        let pool = Arc::clone(self);
        self.home().spawn(async move { pool.open(permit).await });
    }

    pub(crate) async fn open(self: &Arc<Self>, permit: Permit<Bb8Session>) {
        // A panic counts as a failure: without the pause the next attempt would meet it at once.
        let opened = AssertUnwindSafe(self.bb8.open()).catch_unwind().await;
        match opened.unwrap_or_else(|_| Err(ConnectError::interrupted())) {
            Ok(lent) => {
                if let Some(surplus) = permit.deliver(Some(Handle::current().id()), lent) {
                    self.end_surplus(surplus).await;
                }
                self.opened();
            }
            Err(err) => self.failed_to_open(permit, err),
        }
    }

    /// Ends an outage. Few sessions are opened at a time at first, because the server may have room for one only.
    fn opened(self: &Arc<Self>) {
        let ended = self.outage.ongoing().take();
        self.keep_pace(ended.is_some());
        if let Some(Ongoing { since, .. }) = ended {
            telemetry::outage_ended(self.stats().name(), since.elapsed());
        }
        self.hold_floor();
    }

    fn failed_to_open(&self, permit: Permit<Bb8Session>, err: ConnectError) {
        if self.is_closed() {
            return;
        }
        let mut ongoing = self.outage.ongoing();
        let begins = ongoing.is_none();
        let since = ongoing.as_ref().map_or_else(Instant::now, |ongoing| ongoing.since);
        *ongoing = Some(Ongoing { cause: err.clone(), since });
        self.gate.limit_opening(|_| 0);
        self.pace.failed();
        drop(ongoing);
        drop(permit);
        self.refuse_if_unavailable();
        if begins {
            self.outage.begun.notify_one();
            telemetry::outage_began(self.stats().name(), &err);
        }
    }

    /// Whether a borrower would have to wait for a session that cannot be opened now.
    pub(crate) fn lacks_sessions(&self) -> bool {
        self.outage.cause().is_some() && self.gate.resting() == 0
    }

    /// The cause of the outage, if no session is alive either.
    pub(crate) fn unavailable(&self) -> Option<ConnectError> {
        self.outage.cause().filter(|_| self.connector().alive() == 0)
    }

    /// Fails all waiters with the cause, if there is nothing to wait for.
    pub(crate) fn refuse_if_unavailable(&self) {
        if let Some(cause) = self.unavailable() {
            self.gate.refuse_all(&cause);
        }
    }

    /// Makes one attempt, if a session is missed, and returns the pause before the next one. `None` if the outage is over.
    async fn try_again(self: &Arc<Self>, backoff: Backoff) -> Option<Backoff> {
        self.outage.cause()?;
        let nothing_alive = self.connector().alive() == 0;
        let Some(permit) = self.gate.place_to_try(self.min_size(), nothing_alive) else {
            return Some(backoff);
        };
        self.open(permit).await;
        Some(backoff.after(&self.outage.cause()?))
    }

    /// Opens the sessions that the floor lacks.
    pub(crate) fn hold_floor(self: &Arc<Self>) {
        while let Some(permit) = self.gate.place_below(self.min_size()) {
            self.open_in_background(permit);
        }
    }
}
