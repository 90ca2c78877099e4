//! The order at the gate: one lane for each runtime, with its resting sessions and its waiters.
//!
//! ```text
//!   worker 1   resting: s1 s4   waiting: -
//!   worker 2   resting: -       waiting: 7 9      a session comes back on worker 2: it goes to 7
//!   home       resting: s2      waiting: 3        … but to 3, if 3 came 5 ms or 128 arrivals before 7
//! ```
//!
//! The borrowers of one runtime are served in the order of arrival. A borrower of another runtime is served earlier only within
//! [`LEAD`] and [`MAX_OVERTAKES`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::runtime::Id;

/// How much earlier a waiter of another runtime may have come without being served first. Short beside the wait for a slow
/// statement, and long beside the time in which two workers get out of step.
pub(super) const LEAD: Duration = Duration::from_millis(5);

/// How many arrivals earlier. So nobody is passed over more often than this.
pub(super) const MAX_OVERTAKES: u64 = 128;

/// The lanes of all runtimes. `S` is a session, `W` ends a wait.
#[derive(Debug)]
pub(super) struct Lanes<S, W> {
    lanes: Vec<Lane<S, W>>,
    arrivals: u64,
}

#[derive(Debug)]
struct Lane<S, W> {
    runtime: Option<Id>,
    /// The session that was used last is on top.
    resting: Vec<S>,
    /// In the order of arrival.
    waiting: VecDeque<Waiter<W>>,
}

#[derive(Debug)]
struct Waiter<W> {
    number: u64,
    since: Instant,
    call: W,
}

impl<S, W> Lanes<S, W> {
    pub(super) fn new() -> Self {
        Self { lanes: Vec::new(), arrivals: 0 }
    }

    pub(super) fn rest(&mut self, runtime: Option<Id>, session: S) {
        self.lane(runtime).resting.push(session);
    }

    /// Takes the session that this runtime used last.
    pub(super) fn take(&mut self, runtime: Option<Id>) -> Option<S> {
        self.known(runtime)?.resting.pop()
    }

    /// Takes the session that has rested longest in the lane that has most of them.
    pub(super) fn take_anywhere(&mut self) -> Option<S> {
        let fullest = self.lanes.iter_mut().max_by_key(|lane| lane.resting.len())?;
        (!fullest.resting.is_empty()).then(|| fullest.resting.remove(0))
    }

    /// Takes at most `most` resting sessions, in each lane those first that have rested longest.
    pub(super) fn take_where(&mut self, most: usize, which: impl Fn(&S) -> bool) -> Vec<S> {
        let lanes = self.lanes.iter_mut();
        lanes.flat_map(|lane| lane.resting.extract_if(.., |session| which(session))).take(most).collect()
    }

    /// Takes all waiters.
    pub(super) fn take_waiting(&mut self) -> Vec<W> {
        let waiting = self.lanes.iter_mut().flat_map(|lane| lane.waiting.drain(..));
        waiting.map(|waiter| waiter.call).collect()
    }

    /// The first waiter of each lane.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &W> {
        self.lanes.iter().filter_map(|lane| Some(&lane.waiting.front()?.call))
    }

    /// Takes the waiters of each lane up to the first that does not match.
    pub(super) fn take_firsts(&mut self, which: impl Fn(&W) -> bool) -> Vec<W> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            let waiting = &mut lane.waiting;
            let matching = waiting.iter().take_while(|waiter| which(&waiter.call)).count();
            taken.extend(waiting.drain(..matching).map(|waiter| waiter.call));
        }
        taken
    }

    /// Adds a waiter, and returns its number.
    pub(super) fn wait(&mut self, runtime: Option<Id>, since: Instant, call: W) -> u64 {
        self.arrivals += 1;
        let number = self.arrivals;
        self.lane(runtime).waiting.push_back(Waiter { number, since, call });
        number
    }

    /// Removes a waiter.
    pub(super) fn leave(&mut self, runtime: Option<Id>, number: u64) -> Option<W> {
        let waiting = &mut self.known(runtime)?.waiting;
        let at = waiting.binary_search_by_key(&number, |waiter| waiter.number).ok()?;
        Some(waiting.remove(at)?.call)
    }

    /// Takes the next waiter: the first of this runtime, unless one of another runtime came too long before it.
    pub(super) fn next(&mut self, runtime: Option<Id>) -> Option<W> {
        let firsts = self.lanes.iter().enumerate();
        let firsts = firsts.filter_map(|(at, lane)| Some((at, lane.waiting.front()?)));
        let (mut at, oldest) = firsts.min_by_key(|(_, first)| first.number)?;
        if let Some(own) = self.lanes.iter().position(|lane| runtime.is_some() && lane.runtime == runtime)
            && let Some(first) = self.lanes[own].waiting.front()
            && first.number - oldest.number < MAX_OVERTAKES
            && first.since.saturating_duration_since(oldest.since) < LEAD
        {
            at = own;
        }
        Some(self.lanes[at].waiting.pop_front()?.call)
    }

    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    pub(super) fn resting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.resting.len()).sum()
    }

    fn known(&mut self, runtime: Option<Id>) -> Option<&mut Lane<S, W>> {
        self.lanes.iter_mut().find(|lane| lane.runtime == runtime)
    }

    fn lane(&mut self, runtime: Option<Id>) -> &mut Lane<S, W> {
        let at = match self.lanes.iter().position(|lane| lane.runtime == runtime) {
            Some(at) => at,
            None => {
                // Runtimes come and go.
                self.lanes.retain(|lane| !(lane.resting.is_empty() && lane.waiting.is_empty()));
                self.lanes.push(Lane { runtime, resting: Vec::new(), waiting: VecDeque::new() });
                self.lanes.len() - 1
            }
        };
        &mut self.lanes[at]
    }
}
