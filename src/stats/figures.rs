//! The running figures of one statement.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::shards::Shards;

/// The most SQLSTATEs that are counted apart for one statement.
const MOST_CODES: usize = 16;

/// Calls, time, rows and errors of one statement, since somebody has begun to watch.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    shards: Shards<Shard>,
    errors: Mutex<BTreeMap<Box<str>, u64>>,
}

#[derive(Debug, Default)]
struct Shard {
    calls: AtomicU64,
    rows: AtomicU64,
    total: AtomicU64,
    longest: AtomicU64,
    last_seen: AtomicU64,
}

/// The figures, added up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) calls: u64,
    pub(crate) rows: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
    /// After the register was made.
    pub(crate) last_seen: Duration,
    pub(crate) errors: BTreeMap<Box<str>, u64>,
}

impl Figures {
    /// Records a statement that has ended, `at` after the register was made.
    pub(crate) fn record(&self, elapsed: Duration, rows: u64, at: Duration) {
        let shard = self.shards.own();
        shard.calls.fetch_add(1, Ordering::Relaxed);
        shard.rows.fetch_add(rows, Ordering::Relaxed);
        shard.total.fetch_add(nanoseconds(elapsed), Ordering::Relaxed);
        shard.longest.fetch_max(nanoseconds(elapsed), Ordering::Relaxed);
        shard.last_seen.fetch_max(nanoseconds(at), Ordering::Relaxed);
    }

    /// Records the error that a statement has ended with.
    pub(crate) fn record_error(&self, kind: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if errors.contains_key(kind) || errors.len() < MOST_CODES { kind } else { "other" };
        *errors.entry(kind.into()).or_default() += 1;
    }

    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let (mut total, mut longest, mut last_seen) = (0_u64, 0, 0);
        for shard in self.shards.iter() {
            sums.calls += shard.calls.load(Ordering::Relaxed);
            sums.rows += shard.rows.load(Ordering::Relaxed);
            total += shard.total.load(Ordering::Relaxed);
            longest = longest.max(shard.longest.load(Ordering::Relaxed));
            last_seen = last_seen.max(shard.last_seen.load(Ordering::Relaxed));
        }
        sums.total = Duration::from_nanos(total);
        sums.longest = Duration::from_nanos(longest);
        sums.last_seen = Duration::from_nanos(last_seen);
        sums.errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sums
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_several_threads_record_is_added_up() {
        let figures = Figures::default();
        thread::scope(|scope| {
            for thread in 1..=20 {
                let figures = &figures;
                scope.spawn(move || {
                    figures.record(Duration::from_micros(thread), 2, Duration::from_secs(thread));
                    figures.record_error("23505");
                });
            }
        });
        let sums = figures.sums();
        assert_eq!((sums.calls, sums.rows, sums.total), (20, 40, Duration::from_micros(210)));
        assert_eq!((sums.longest, sums.last_seen), (Duration::from_micros(20), Duration::from_secs(20)));
        assert_eq!(sums.errors, BTreeMap::from([("23505".into(), 20)]));
    }

    #[test]
    fn the_kinds_of_errors_are_bounded() {
        let figures = Figures::default();
        (0..1000).for_each(|code| figures.record_error(&code.to_string()));
        let errors = figures.sums().errors;
        assert_eq!((errors.len(), errors["other"]), (MOST_CODES + 1, 1000 - MOST_CODES as u64));
    }
}
