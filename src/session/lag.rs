//! How far a standby may be behind its primary, measured against what the primary had written.
//!
//! ```text
//!   primary ──position, four times within the bound──> the positions of late
//!                                                           │
//!   standby ──how far it has replayed──> at least a position of late enough?
//! ```
//!
//! The clock is that of this process. So the bound holds where the clocks of the servers differ, where nobody writes to the primary,
//! and where a standby has lost its primary and does not know it, all of which deceive `pg_last_xact_replay_timestamp()`.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::position::last_replayed;
use super::value::value;
use crate::tokio_postgres::types::PgLsn;
use crate::tokio_postgres::{Client, Error};

/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where the next record of the log begins.
const POSITION: &str = "SELECT pg_current_wal_insert_lsn()";

/// How far a standby has replayed the log; nothing at a server that is none.
const REPLAYED: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END";

/// How far a standby may be behind, and how far the primary was of late. The reader's connector holds it.
pub(crate) struct LagBound {
    most: Duration,
    positions: Mutex<VecDeque<(Instant, u64)>>,
    /// The primary has not answered the latest question in time.
    is_silent: AtomicBool,
}

impl LagBound {
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, positions: Mutex::default(), is_silent: AtomicBool::new(false) }
    }

    /// The bound itself.
    pub(crate) fn most(&self) -> Duration {
        self.most
    }

    /// How often the primary is asked, and for how long a standby that was near enough need not be asked again.
    pub(crate) fn pause(&self) -> Duration {
        (self.most / 4).min(LONGEST_PAUSE)
    }

    /// Asks the primary how far it is.
    pub(crate) async fn ask_primary(&self, client: &Client) -> Result<(), Error> {
        // Before the question: all that was committed by then is in the answer.
        let asked = Instant::now();
        let mut answer = pin!(ask(client, POSITION));
        let answer = match timeout(self.near() - self.pause(), answer.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => {
                // Now, because nothing known is of late any more.
                self.note_silence();
                answer.await
            }
        };
        if let Some(position) = answer? {
            self.note(asked, position);
        }
        Ok(())
    }

    /// Notes that the primary does not answer: until it does, its last known position counts.
    pub(crate) fn note_silence(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Asks a server whether it is a standby that is near enough, or no standby.
    pub(crate) async fn allows(&self, client: &Client) -> Result<bool, Error> {
        let replayed = ask(client, REPLAYED).await?;
        Ok(replayed.is_none_or(|replayed| self.is_near(replayed, Instant::now())))
    }

    fn note(&self, at: Instant, position: u64) {
        let position = last_replayed(position);
        self.is_silent.store(false, Ordering::Relaxed);
        let mut positions = self.positions();
        // Another server is the primary, and has not got what the former one had.
        if positions.back().is_some_and(|(_, latest)| *latest > position) {
            positions.clear();
        }
        while positions.len() > 1 && positions[1].0 + self.most <= at {
            positions.pop_front();
        }
        positions.push_back((at, position));
    }

    /// Whether a standby that has replayed so far stays near enough until it is asked again.
    ///
    /// While the primary does not answer, it is the last position known that counts. Where nobody has asked, as after the process was
    /// stopped for a time, none does.
    fn is_near(&self, replayed: u64, now: Instant) -> bool {
        let is_silent = self.is_silent.load(Ordering::Relaxed);
        let positions = self.positions();
        let of_late = positions.iter().find(|(at, _)| now.saturating_duration_since(*at) <= self.near());
        let last = positions.back().filter(|_| is_silent);
        of_late.or(last).is_some_and(|(_, position)| *position <= replayed)
    }

    /// How old a position may be that a standby has to have.
    fn near(&self) -> Duration {
        self.most - self.pause()
    }

    fn positions(&self) -> MutexGuard<'_, VecDeque<(Instant, u64)>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LagBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LagBound").field("most", &self.most).finish_non_exhaustive()
    }
}

async fn ask(client: &Client, sql: &str) -> Result<Option<u64>, Error> {
    let position = value(client, sql).await?;
    Ok(position.and_then(|text| text.parse::<PgLsn>().ok()).map(u64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_has_to_have_what_the_primary_had_of_late() {
        let bound = LagBound::new(Duration::from_secs(4));
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        assert!(!bound.is_near(u64::MAX, start), "nothing is known of the primary");
        for number in 0..10 {
            bound.note(second(number), 100_000 + 100 * number);
        }
        // Three seconds before now are late enough: one more passes before it is asked again.
        assert!(bound.is_near(100_600, second(9)) && !bound.is_near(100_599, second(9)));
        assert!(bound.positions().len() < 7);
        // Nobody writes.
        bound.note(second(10), 100_900);
        bound.note(second(20), 100_900);
        assert!(bound.is_near(100_900, second(20)) && !bound.is_near(100_899, second(20)));
        // Nobody has asked.
        assert!(!bound.is_near(u64::MAX, second(99)));
        // The primary is silent.
        bound.note_silence();
        assert!(bound.is_near(100_900, second(99)) && !bound.is_near(100_899, second(99)));
        // Another primary, which has got less.
        bound.note(second(100), 100_500);
        assert!(bound.is_near(100_500, second(100)) && !bound.is_near(u64::MAX, second(199)));
    }

    /// On an idle server the next record may begin behind the header of a page, up to which nothing is ever replayed.
    #[test]
    fn the_header_of_a_page_is_nothing_to_replay() {
        let bound = LagBound::new(Duration::from_secs(4));
        let now = Instant::now();
        bound.note(now, 8192 * 7 + 24);
        assert!(bound.is_near(8192 * 7, now) && !bound.is_near(8192 * 7 - 1, now));
    }
}
