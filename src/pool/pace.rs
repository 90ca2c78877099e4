//! How many sessions are opened at a time: a few, and fewer where that has failed of late.
//!
//! A server that is full, or back after a restart, has other pools too. So no pool has more than five logins fail within a second, and
//! after an outage none takes all the connections that there are before the others have noticed that it is over:
//!
//! ```text
//!   an outage ends ──> the floor, one after the other ──> one more every 150 ms, for a second ──> as many as are wanted
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Pool;
use super::backoff::jittered;
use crate::session::ConnectError;

/// The most logins of a pool at a time, and the most that fail within a second.
pub(super) const AT_A_TIME: u32 = 5;

/// The most logins at a time where none has succeeded for a while. If all of them are refused, an account is not locked for it.
const AT_FIRST: u32 = 2;

/// A second, and what a busy machine may add between a failure and its note.
const SECOND: Duration = Duration::from_millis(1_050);

/// How long a pool grows slowly after an outage. Other pools notice its end within the longest pause of theirs, and so before that.
const RECOVERY: Duration = Duration::from_secs(1);

/// The pause between two logins above the floor meanwhile.
const STEP: Duration = Duration::from_millis(150);

/// What has become of the latest logins. The pool holds it.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    /// When logins have failed, at most [`AT_A_TIME`] of them.
    failed: VecDeque<Instant>,
    /// When the latest outage has ended.
    recovered: Option<Instant>,
    /// One has succeeded since somebody asked.
    has_opened: bool,
}

impl Latest {
    /// How many may fail now.
    fn left(&self, now: Instant) -> u32 {
        let lately = self.failed.iter().filter(|at| now.saturating_duration_since(**at) < SECOND).count();
        AT_A_TIME.saturating_sub(u32::try_from(lately).unwrap_or(AT_A_TIME))
    }

    /// The time until another one may fail, where so many may within a second.
    fn rest(&self, most: u32, now: Instant) -> Duration {
        let counts = self.failed.len().checked_sub(most as usize).and_then(|index| self.failed.get(index));
        counts.map_or(Duration::ZERO, |at| SECOND.saturating_sub(now.saturating_duration_since(*at)))
    }

    fn failed(&mut self, now: Instant) {
        if self.failed.len() == AT_A_TIME as usize {
            self.failed.pop_front();
        }
        self.failed.push_back(now);
    }
}

impl Pace {
    pub(super) fn failed(&self) {
        self.latest().failed(Instant::now());
    }

    /// The time until another login may fail.
    pub(super) fn rest(&self) -> Duration {
        self.latest().rest(AT_A_TIME, Instant::now())
    }

    /// The time until another login may fail, after one that has failed so.
    pub(super) fn rest_after(&self, cause: &ConnectError) -> Duration {
        let most = if cause.is_login_refused() { AT_FIRST } else { AT_A_TIME };
        self.latest().rest(most, Instant::now())
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Lets more sessions be opened after one that was, or makes a pause.
    pub(super) fn keep_pace(self: &Arc<Self>, ends_outage: bool) {
        // A hook that refuses new sessions has pauses of its own.
        if let Some(limit) = self.refusals.opening_limit() {
            return self.gate.limit_opening(|_| limit);
        }
        let now = Instant::now();
        let mut latest = self.pace.latest();
        latest.has_opened = true;
        if ends_outage {
            latest.recovered = Some(now);
        }
        let (left, rest) = (latest.left(now), latest.rest(AT_A_TIME, now));
        let recovers =
            latest.recovered.is_some_and(|recovered| now.saturating_duration_since(recovered) < RECOVERY);
        drop(latest);
        if left == 0 {
            self.pause_opening_for(rest);
        } else if !recovers {
            self.gate.limit_opening(|limit| limit.saturating_mul(2).clamp(1, left));
        } else if self.gate.open() < self.min_size() {
            self.gate.limit_opening(|_| 1);
        } else {
            self.pause_opening_for(jittered(STEP));
        }
    }

    fn pause_opening_for(self: &Arc<Self>, mut pause: Duration) {
        self.gate.limit_opening(|_| 0);
        let weak = Arc::downgrade(self);
        self.home.spawn(async move {
            let pool = loop {
                sleep(pause).await;
                let Some(pool) = weak.upgrade() else { return };
                pause = pool.pace.rest();
                if pause.is_zero() {
                    break pool;
                }
            };
            if pool.outage.cause().is_none() {
                let limit = pool.refusals.opening_limit().unwrap_or(1);
                pool.gate.limit_opening(|former| former.max(limit));
                pool.hold_floor();
            }
        });
    }

    /// Has the next logins go in small numbers, if none has succeeded since it was called last: much may have changed.
    pub(super) fn slow_down(&self) {
        if !std::mem::take(&mut self.pace.latest().has_opened) {
            self.gate.limit_opening(|limit| limit.min(AT_FIRST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_five_fail_in_a_second() {
        let (start, mut latest) = (Instant::now(), Latest::default());
        let at = |millis| start + Duration::from_millis(millis);
        for failure in 0..4 {
            latest.failed(at(failure * 100));
            assert_eq!(
                (u64::from(latest.left(at(400))), latest.rest(5, at(400))),
                (4 - failure, Duration::ZERO)
            );
        }
        latest.failed(at(400));
        assert_eq!((latest.left(at(500)), latest.rest(5, at(500))), (0, Duration::from_millis(550)));
        assert_eq!((latest.left(at(1_050)), latest.rest(5, at(1_050))), (1, Duration::ZERO));
        latest.failed(at(1_060));
        assert_eq!((latest.left(at(1_060)), latest.rest(5, at(1_060))), (0, Duration::from_millis(90)));
        assert_eq!(latest.rest(2, at(1_060)), Duration::from_millis(390));
        assert_eq!((latest.left(at(9_000)), latest.rest(2, at(9_000))), (AT_A_TIME, Duration::ZERO));
    }
}
