//! Whom the queue refuses because they cannot be served in time: CoDel, as Elixir's DBConnection has it.
//!
//! ```text
//!   the least wait of an interval   <= target: a burst, which the queue is for     > target: the queue does not get empty
//!   the next interval               nobody is refused                              who has waited > 2 × target is refused
//! ```
//!
//! Time is counted by a clock that stands still while sessions are being opened: such a wait says nothing about the load.

use std::time::{Duration, Instant};

use super::Refusal;

/// The state of an interval. Pure: whoever calls it has looked at the clock.
#[derive(Debug)]
pub(super) struct Shedding {
    target: Duration,
    interval: Duration,
    clock: Clock,
    /// When the interval ends.
    ends: Counted,
    /// The least wait of those who were served in it.
    least: Option<Duration>,
    /// The least wait of the interval before was above the target.
    sheds: bool,
}

/// A point in time, without the time in which sessions were being opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counted(Duration);

#[derive(Debug)]
struct Clock {
    origin: Instant,
    stopped: Duration,
    stands_still_since: Option<Instant>,
}

impl Shedding {
    pub(super) fn new(target: Duration, interval: Duration, now: Instant) -> Self {
        let clock = Clock { origin: now, stopped: Duration::ZERO, stands_still_since: None };
        Self { target, interval, clock, ends: Counted(interval), least: None, sheds: false }
    }

    pub(super) fn now(&self, now: Instant) -> Counted {
        self.clock.at(now)
    }

    pub(super) fn refusal(&self) -> Refusal {
        Refusal::Overload { target: self.target }
    }

    /// Records whether sessions are being opened from now on.
    pub(super) fn opening(&mut self, opening: bool, now: Instant) {
        match (opening, self.clock.stands_still_since) {
            (true, None) => self.clock.stands_still_since = Some(now),
            (false, Some(since)) => {
                self.clock.stopped += now.saturating_duration_since(since);
                self.clock.stands_still_since = None;
            }
            _ => {}
        }
    }

    /// Records that a borrower was served without waiting. Looks at no clock.
    pub(super) fn served_at_once(&mut self) {
        self.least = Some(Duration::ZERO);
    }

    /// Records that a borrower was served who had waited since then.
    pub(super) fn served(&mut self, since: Counted, now: Counted) {
        let waited = now.since(since);
        self.begin_interval(now, Some(waited));
        self.least = Some(self.least.map_or(waited, |least| least.min(waited)));
    }

    /// Whoever began to wait before this is refused, if anybody is. `first` is when the first of those who wait began to.
    pub(super) fn refused_before(&mut self, first: Option<Counted>, now: Counted) -> Option<Counted> {
        self.begin_interval(now, first.map(|first| now.since(first)));
        let limit = self.target.saturating_mul(2);
        self.sheds.then(|| now.0.checked_sub(limit)).flatten().map(Counted)
    }

    /// Begins an interval, if one has ended. Where nobody was served in that, a wait that lasted all the time stands for the least.
    fn begin_interval(&mut self, now: Counted, longest: Option<Duration>) {
        if now < self.ends {
            return;
        }
        let is_recent = now.since(self.ends) < self.interval;
        let least = self.least.take().filter(|least| is_recent || least.is_zero());
        let least = least.or_else(|| longest.filter(|longest| *longest >= self.interval));
        self.sheds = least.is_some_and(|least| least > self.target);
        self.ends = Counted(now.0.saturating_add(self.interval));
    }
}

impl Counted {
    fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Clock {
    fn at(&self, now: Instant) -> Counted {
        let until = self.stands_still_since.map_or(now, |since| since.min(now));
        Counted(until.saturating_duration_since(self.origin).saturating_sub(self.stopped))
    }
}

#[cfg(test)]
mod tests;
