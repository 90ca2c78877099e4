//! Whether the runs of a statement allow it to share a session.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A run counts for this part of the average. So one that was held up by the machine, and not by its own work, does not count much.
const WEIGHT: u64 = 16;

/// The least duration rises by this part of what a run takes longer.
const FORGETS: u64 = 64;

/// A run counts for at most this many times the limit, so that the average of a statement that is fast again falls below the limit
/// within some [`WEIGHT`] runs.
const MOST: u32 = 64;

/// The pause before a statement that was slow is tried again. It doubles with each time that it is slow again, [`DOUBLES`] times.
const PAUSE: Duration = Duration::from_secs(1);
const DOUBLES: u32 = 6;

/// What was seen of the runs of a statement, since shared reads are on.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// The server said that it does more than read.
    refused: AtomicBool,
    /// The runs that have already taken longer than the limit, and are not over.
    overdue: AtomicU32,
    /// The running average of the durations, in nanoseconds. 0 before the first.
    average: AtomicU64,
    /// The least duration of late, in nanoseconds: what is left of a run without the time in which the worker was busy. 0 before the first.
    least: AtomicU64,
    trial: Mutex<Trial>,
}

/// When a statement that was slow is shared once more, to see.
#[derive(Debug, Default)]
struct Trial {
    next: Option<Instant>,
    failed: u32,
}

impl Sharing {
    /// Whether the statement may share a session: it only reads, and has been quick on the average of late.
    pub(crate) fn allows(&self, limit: Duration) -> bool {
        !self.refused.load(Ordering::Relaxed)
            && self.overdue.load(Ordering::Relaxed) == 0
            && (self.average.load(Ordering::Relaxed) <= nanoseconds(limit) || self.is_tried())
    }

    /// Whether it is time to share the statement once more.
    fn is_tried(&self) -> bool {
        let mut trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = trial.next.is_some_and(|next| next <= now);
        if due || trial.next.is_none() {
            trial.failed = (trial.failed + u32::from(due)).min(DOUBLES);
            trial.next = Some(now + PAUSE * 2_u32.pow(trial.failed));
        }
        due
    }

    /// Counts a run on a session of its own. Its duration is seen from the asker's side, and says only that it was not slower.
    pub(crate) fn ran_alone(&self, elapsed: Duration, limit: Duration) {
        if elapsed <= limit || self.average.load(Ordering::Relaxed) == 0 {
            self.ran(elapsed, limit);
        }
    }

    /// How long a run takes at least. Zero before the first.
    pub(crate) fn least(&self) -> Duration {
        Duration::from_nanos(self.least.load(Ordering::Relaxed))
    }

    /// Never shares the statement again.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Counts a run. Two runs that end at once may count as one.
    pub(crate) fn ran(&self, elapsed: Duration, limit: Duration) {
        let before = self.average.load(Ordering::Relaxed);
        let most = if before == 0 { 2 } else { MOST };
        let elapsed = nanoseconds(elapsed.min(limit.saturating_mul(most)));
        let limit = nanoseconds(limit);
        let least = self.least.load(Ordering::Relaxed);
        let least =
            if least == 0 { elapsed } else { elapsed.min(least + elapsed.saturating_sub(least) / FORGETS) };
        self.least.store(least.max(1), Ordering::Relaxed);
        let average = match before {
            0 => elapsed,
            // A trial that went well: two of them are enough.
            _ if before > limit && elapsed <= limit => (before - before / WEIGHT).min(limit + limit / 8),
            _ => before - before / WEIGHT + elapsed / WEIGHT,
        };
        self.average.store(average.max(1), Ordering::Relaxed);
        if before > limit && average <= limit {
            *self.trial.lock().unwrap_or_else(PoisonError::into_inner) = Trial::default();
        }
    }

    /// Counts a run that is too much for a shared session, however quick it was.
    pub(crate) fn ran_too_long(&self, limit: Duration) {
        self.ran(Duration::MAX, limit);
        self.average.fetch_max(nanoseconds(limit.saturating_mul(2)), Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// A run that has taken longer than the limit. While it lives, the statement is not shared.
#[derive(Debug)]
pub(crate) struct Overdue(Arc<Sharing>);

impl Overdue {
    pub(crate) fn new(sharing: &Arc<Sharing>) -> Self {
        sharing.overdue.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sharing))
    }
}

impl Drop for Overdue {
    fn drop(&mut self) {
        self.0.overdue.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(5);

    fn after(runs: impl IntoIterator<Item = u64>) -> Sharing {
        let sharing = Sharing::default();
        runs.into_iter().for_each(|milliseconds| sharing.ran(Duration::from_millis(milliseconds), LIMIT));
        sharing
    }

    #[test]
    fn a_statement_that_is_slow_is_not_shared_until_it_has_been_quick_for_a_while() {
        assert!(after([]).allows(LIMIT));
        assert!(after([1; 100]).allows(LIMIT));
        assert!(!after([6]).allows(LIMIT));
        assert!(!after([20; 5]).allows(LIMIT));
        let sleeps_once = || [1; 10].into_iter().chain([10_000]);
        assert!(!after(sleeps_once()).allows(LIMIT));
        assert!(after(sleeps_once().chain([1; 40])).allows(LIMIT));
    }

    #[test]
    fn a_statement_that_was_slow_is_tried_again_more_and_more_rarely() {
        let sharing = after([20; 5]);
        assert!(!sharing.allows(LIMIT), "not at once");
        sharing.trial.lock().unwrap().next = Some(Instant::now());
        assert!(sharing.allows(LIMIT));
        assert!(!sharing.allows(LIMIT), "one at a time");
        let next = sharing.trial.lock().unwrap().next.unwrap();
        assert!(next > Instant::now() + PAUSE);
        sharing.ran(LIMIT / 5, LIMIT);
        sharing.ran(LIMIT / 5, LIMIT);
        sharing.ran(LIMIT / 5, LIMIT);
        assert!(sharing.allows(LIMIT));
    }

    #[test]
    fn what_is_seen_of_a_run_alone_makes_it_no_slower() {
        let sharing = after([1; 10]);
        (0..100).for_each(|_| sharing.ran_alone(LIMIT * 3, LIMIT));
        assert!(sharing.allows(LIMIT));
        let sharing = after([]);
        sharing.ran_alone(LIMIT * 3, LIMIT);
        assert!(!sharing.allows(LIMIT), "but for the first");
    }

    #[test]
    fn one_run_that_the_machine_held_up_does_not_count_much() {
        assert!(after([1; 10].into_iter().chain([50])).allows(LIMIT));
    }

    #[test]
    fn a_statement_is_not_shared_while_a_run_is_overdue_and_never_when_it_was_refused() {
        let sharing = Arc::default();
        let overdue = Overdue::new(&sharing);
        assert!(!sharing.allows(LIMIT));
        drop(overdue);
        assert!(sharing.allows(LIMIT));
        sharing.refuse();
        assert!(!sharing.allows(LIMIT));
    }

    #[test]
    fn a_large_answer_counts_as_a_slow_one() {
        let sharing = after([1; 10]);
        sharing.ran_too_long(LIMIT);
        assert!(!sharing.allows(LIMIT));
    }
}
