//! Whether reads may be asked again elsewhere.
//!
//! One statement that hangs is no reason for those behind it to wait. A server that is slow as a whole is: asked twice, it would
//! be slower.

use std::time::{Duration, Instant};

/// Of so many reads of the last second, one may be asked again.
const ONE_IN: u64 = 10;

/// So many may be asked again within a second in any case. With little traffic, one in ten would be less than those who can be behind
/// a single statement.
const ANYWAY: u64 = 64;

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_millis(100);

/// The reads of the last second, and how many of them were asked again. A worker holds it.
#[derive(Debug)]
pub(super) struct Brake {
    since: Instant,
    /// The number of the newest slot since then.
    newest: u128,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    reads: u64,
    again: u64,
}

impl Brake {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, newest: 0, slots: [Slot::default(); SLOTS] }
    }

    /// Counts a read.
    pub(super) fn read(&mut self, now: Instant) {
        self.slot(now).reads += 1;
    }

    /// Counts a read that is asked again, unless there have been too many.
    pub(super) fn lets_ask_again(&mut self, now: Instant) -> bool {
        self.slot(now);
        let (reads, again) =
            self.slots.iter().fold((0, 0), |(reads, again), slot| (reads + slot.reads, again + slot.again));
        let lets = again < ANYWAY.max(reads / ONE_IN);
        self.slot(now).again += u64::from(lets);
        lets
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        let number = now.saturating_duration_since(self.since).as_millis() / SLOT.as_millis();
        while self.newest < number {
            // After a pause, all slots are old.
            self.newest = (self.newest + 1).max(number.saturating_sub(SLOTS as u128 - 1));
            self.slots[(self.newest % SLOTS as u128) as usize] = Slot::default();
        }
        &mut self.slots[(self.newest % SLOTS as u128) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_of_the_last_second_is_asked_again() {
        let begun = Instant::now();
        let mut brake = Brake::new(begun);
        (0..10_000).for_each(|_| brake.read(begun));
        let asked = (0..10_000).filter(|_| brake.lets_ask_again(begun + SLOT)).count();
        assert_eq!(asked, 1000);
        // The reads are older than a second, the repeats are not.
        assert!(!brake.lets_ask_again(begun + SLOT * 10));
        assert!(brake.lets_ask_again(begun + SLOT * 11));
    }

    #[test]
    fn with_little_traffic_those_behind_one_statement_are_asked_again() {
        let begun = Instant::now();
        let mut brake = Brake::new(begun);
        brake.read(begun);
        let asked = (0..1000).filter(|_| brake.lets_ask_again(begun)).count() as u64;
        assert_eq!(asked, ANYWAY);
        assert!(brake.lets_ask_again(begun + Duration::from_secs(3600)));
    }
}
