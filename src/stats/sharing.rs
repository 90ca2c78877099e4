//! Whether the runs of a statement allow it to share a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A run counts for this part of the average. So one that was held up by the machine, and not by its own work, does not count much.
const WEIGHT: u64 = 16;

/// A run counts for at most this many times the limit, so that the average of a statement that is fast again falls below the limit
/// within some [`WEIGHT`] runs.
const MOST: u32 = 64;

/// What was seen of the runs of a statement, since shared reads are on.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// The server said that it does more than read.
    refused: AtomicBool,
    /// The runs that have already taken longer than the limit, and are not over.
    overdue: AtomicU32,
    /// The running average of the durations, in nanoseconds. 0 before the first.
    average: AtomicU64,
}

impl Sharing {
    /// Whether the statement may share a session: it only reads, and has been quick on the average of late.
    pub(crate) fn allows(&self, limit: Duration) -> bool {
        !self.refused.load(Ordering::Relaxed)
            && self.overdue.load(Ordering::Relaxed) == 0
            && self.average.load(Ordering::Relaxed) <= nanoseconds(limit)
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
        let average = match before {
            0 => elapsed,
            before => before - before / WEIGHT + elapsed / WEIGHT,
        };
        self.average.store(average.max(1), Ordering::Relaxed);
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
