//! Lends a session: one that rests, or the next that comes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use super::bb8_pool::Bb8Session;
use super::gate::{Entry, Grant, Refusal};
use super::{AcquireError, Pool, PooledSession};
use crate::session::Session;
use crate::stats::Event;

/// The wait of a borrower.
pub(super) struct Wait {
    since: Instant,
    /// It has stood in the queue.
    is_queued: bool,
}

impl Pool {
    /// Lends a session without waiting, if one rests that needs no check.
    ///
    /// The hot path: one lock, no allocation, one look at the clock.
    pub(crate) fn acquire_now(self: &Arc<Self>) -> Option<PooledSession> {
        self.acquire_now_if(|_| true)
    }

    /// The same for a borrower for whom not every session will do. One that will not rests on, as if nobody had looked at it.
    pub(super) fn acquire_now_if(
        self: &Arc<Self>,
        will_do: impl Fn(&Session) -> bool,
    ) -> Option<PooledSession> {
        loop {
            let pooled = self.pooled(self.gate.take(here())?);
            if !will_do(pooled.session()) {
                pooled.rest();
                return None;
            }
            match self.refusal(&pooled) {
                None if self.is_fresh(&pooled) => {
                    self.stats().count(Event::Borrow);
                    self.stats().record(|recorder| recorder.waited(Duration::ZERO));
                    return Some(pooled);
                }
                None => {
                    pooled.rest();
                    return None;
                }
                Some(reason) => pooled.end_in_background(reason),
            }
        }
    }

    /// Lends a session, waiting for it in the order of arrival and for `acquire_timeout` at most.
    #[cfg(feature = "testing")]
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<PooledSession, AcquireError> {
        self.within_acquire_timeout(self.acquire_in_time()).await?
    }

    /// Lends a session without a bound, and so without a timer. The callers may wait together on several runtimes.
    pub(crate) fn acquire_in_time(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<PooledSession, AcquireError>> + Send {
        self.take_in_time().map_ok(|(pooled, wait)| {
            self.count_borrow(wait);
            pooled
        })
    }

    /// The same for a borrower for whom the session may not do. The borrow [counts](Self::count_borrow) when it does.
    pub(super) async fn take_in_time(self: &Arc<Self>) -> Result<(PooledSession, Wait), AcquireError> {
        let mut wait = Wait { since: Instant::now(), is_queued: false };
        loop {
            let pooled = self.pooled(self.enter(&mut wait).await?);
            if let Some(reason) = self.refusal(&pooled) {
                pooled.end_in_background(reason);
            } else if self.is_fresh(&pooled) {
                return Ok((pooled, wait));
            // Boxed, because the future of every waiter contains this one.
            } else if let Some(pooled) = self.checked(pooled).boxed().await? {
                return Ok((pooled, wait));
            }
        }
    }

    /// Counts a session that is lent after a wait.
    pub(super) fn count_borrow(&self, Wait { since, is_queued }: Wait) {
        self.stats().count(Event::Borrow);
        if is_queued {
            self.stats().waits.record(since.elapsed());
        }
        self.stats().record(|recorder| recorder.waited(since.elapsed()));
    }

    async fn enter(&self, wait: &mut Wait) -> Result<Grant<Bb8Session>, AcquireError> {
        let waiting = match self.gate.enter(here(), self.settings.max_waiting, wait.since.into_std()) {
            Entry::Granted(grant) => return Ok(grant),
            Entry::Wait(waiting) => waiting,
            Entry::Full => {
                self.stats().count(Event::Refusal);
                let max_waiting = self.settings.max_waiting.unwrap_or(u32::MAX);
                let full = AcquireError::QueueFull { max_waiting, database: self.stats().name() };
                return Err(self.unavailable().map_or(full, AcquireError::Unavailable));
            }
            Entry::Closed => return Err(self.stopped()),
        };
        if !std::mem::replace(&mut wait.is_queued, true) {
            self.stats().count(Event::Wait);
        }
        // Looked at from within the queue, because the beginning of an outage tells only those who are in it.
        if let Some(cause) = self.unavailable() {
            self.stats().count(Event::Refusal);
            return Err(AcquireError::Unavailable(cause));
        }
        match waiting.await {
            Some(Ok(grant)) => Ok(grant),
            Some(Err(refusal)) => {
                self.stats().count(Event::Refusal);
                Err(match refusal {
                    Refusal::Unavailable(cause) => AcquireError::Unavailable(cause),
                    Refusal::Overload { target } => {
                        AcquireError::Overloaded { queue_target: target, database: self.stats().name() }
                    }
                })
            }
            None => Err(self.stopped()),
        }
    }

    fn is_fresh(&self, pooled: &PooledSession) -> bool {
        let idle = pooled.taken().saturating_duration_since(pooled.session().idle_since());
        idle < self.settings.test_after_idle
    }
}

/// The runtime that a borrower runs on.
fn here() -> Option<Id> {
    Handle::try_current().ok().map(|here| here.id())
}
