//! How long things take, in buckets that are at most an eighth wide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::shards::Shards;

/// Each power of two of nanoseconds has so many buckets.
const STEPS: u32 = 8;

/// The first power of two that is divided: what is shorter than 1.024 µs is one bucket.
const FIRST: u32 = 10;

/// The last one: what is longer than 18 minutes is one bucket.
const LAST: u32 = 40;

const BUCKETS: usize = ((LAST - FIRST) * STEPS) as usize + 1;

/// Durations, each counted in the shard of its thread.
#[derive(Debug, Default)]
pub(crate) struct Histogram(Shards<Buckets>);

#[derive(Debug)]
struct Buckets([AtomicU64; BUCKETS]);

impl Default for Buckets {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

/// How often durations have occurred, since the pool was made: what [`Watch`](crate::Watch) reads.
///
/// A quantile is exact to an eighth of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durations {
    counts: Box<[u64]>,
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        self.0.own().0[bucket(duration)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Durations {
        let mut counts = vec![0; BUCKETS].into_boxed_slice();
        for shard in self.0.iter() {
            for (sum, count) in counts.iter_mut().zip(&shard.0) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        Durations { counts }
    }
}

impl Durations {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that a share of them, from 0 to 1, did not exceed. `None` if there was none.
    ///
    /// ```
    /// # fn shown(latency: &actix_pg::Durations) {
    /// println!("median {:?}, p99 {:?}", latency.quantile(0.5), latency.quantile(0.99));
    /// # }
    /// ```
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.filter(|_| count > 0).map(upper_bound)
    }

    /// Those that have occurred since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        Self { counts: counts.map(|(now, then)| now.saturating_sub(*then)).collect() }
    }
}

fn bucket(duration: Duration) -> usize {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let power = nanoseconds.checked_ilog2().unwrap_or(0);
    if power < FIRST {
        return 0;
    }
    if power >= LAST {
        return BUCKETS - 1;
    }
    let step = (nanoseconds >> (power - STEPS.ilog2())) as u32 % STEPS;
    ((power - FIRST) * STEPS + step) as usize + 1
}

fn upper_bound(bucket: usize) -> Duration {
    let Some(at) = (bucket as u32).checked_sub(1) else {
        return Duration::from_nanos(1 << FIRST);
    };
    let power = FIRST + at / STEPS;
    Duration::from_nanos(u64::from(STEPS + at % STEPS + 1) << (power - STEPS.ilog2()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_exact_to_an_eighth() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|millis| histogram.record(Duration::from_millis(millis)));
        let read = histogram.read();
        assert_eq!(read.count(), 1000);
        for (share, millis) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0), (0.001, 1.0)] {
            let found = read.quantile(share).expect("some").as_secs_f64() * 1000.0;
            assert!((millis..=millis * 1.126).contains(&found), "{share}: {found}");
        }
        histogram.record(Duration::from_secs(3600));
        let later = histogram.read().since(&read);
        assert_eq!((later.count(), later.quantile(0.5) > Some(Duration::from_secs(1000))), (1, true));
        assert_eq!(Histogram::default().read().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_duration_is_at_most_the_bound_of_its_bucket(nanoseconds in 0_u64..(1 << LAST)) {
            let duration = Duration::from_nanos(nanoseconds);
            let at = bucket(duration);
            prop_assert!(duration <= upper_bound(at));
            prop_assert!(at == 0 || duration >= upper_bound(at - 1));
        }
    }
}
