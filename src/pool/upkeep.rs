//! Looks after the sessions that nobody uses: holds the floor, and ends those that idle too long or are too old.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Pool;
use super::backoff::jittered;
use super::pooled_session::PooledSession;
use crate::stats::EndReason;

/// The pause between two rounds. Its jitter spreads the logins of pools that lost their sessions together.
const ROUND: Duration = Duration::from_secs(1);

/// The longest pause before a session that has ended is replaced.
const REFILL: Duration = Duration::from_millis(50);

/// Starts the task that looks after a pool.
pub(crate) fn start(pool: &Arc<Pool>) {
    let weak = Arc::downgrade(pool);
    pool.home().keep_running(move || {
        let weak = weak.clone();
        async move {
            loop {
                sleep(jittered(ROUND)).await;
                let Some(pool) = weak.upgrade() else { return };
                if pool.gate.is_closed() {
                    return;
                }
                pool.look_after().await;
            }
        }
    });
}

impl Pool {
    /// Opens what the floor lacks after a session has ended, after a random pause: sessions that ended together do not log in
    /// together.
    pub(crate) async fn refill(self: &Arc<Self>) {
        if self.gate.open() < self.min_size() {
            sleep(REFILL.mul_f64(rand::random())).await;
            self.hold_floor();
        }
    }

    async fn look_after(self: &Arc<Self>) {
        self.record_gauges();
        self.slow_down();
        let floor = self.min_size();
        for grant in self.gate.take_resting(u32::MAX, |lent| lent.session().client().is_closed()) {
            self.pooled(grant).end_in_background(EndReason::ConnectionLost);
        }
        // One that passed from a waiter that gave up to the shelf.
        for grant in self.gate.take_surplus() {
            self.pooled(grant).end_in_background(EndReason::Resized);
        }
        if let Some(idle_timeout) = self.settings.idle_timeout {
            let spare = self.gate.open().saturating_sub(floor);
            for grant in self.gate.take_resting(spare, |lent| lent.session().idle_for() >= idle_timeout) {
                self.pooled(grant).end_in_background(EndReason::Idle);
            }
        }
        self.hold_floor();
        // One after the other, so that the floor lacks one at most. The count keeps their replacements out, however short their
        // lifetime is.
        for _ in 0..self.gate.resting() {
            if self.outage.cause().is_some() {
                break;
            }
            let Some(grant) = self.gate.take_resting(1, |lent| lent.session().too_old().is_some()).pop()
            else {
                break;
            };
            self.replace(self.pooled(grant)).await;
        }
    }

    /// Ends a session that is too old. If the floor needs another one and there is room for both, that is opened first. If it
    /// cannot be opened, the old one stays.
    async fn replace(self: &Arc<Self>, pooled: PooledSession) {
        if self.gate.open() <= self.min_size()
            && let Some(permit) = self.gate.place_to_spare()
        {
            self.open(permit).await;
            if self.outage.cause().is_some() {
                return pooled.rest();
            }
        }
        let reason = pooled.session().too_old().unwrap_or(EndReason::Lifetime);
        pooled.end(reason).await;
        if let Some(permit) = self.gate.place_below(self.min_size()) {
            self.open(permit).await;
        }
        self.hold_floor();
    }
}
