//! The places of a gate, and what they are used for.

use std::time::Instant;

use tokio::runtime::Id;

use super::lanes::Lanes;
use super::permit::Phase;
use super::shedding::{Counted, Shedding};
use super::{Call, Refusal};

#[derive(Debug)]
pub(super) struct State<S> {
    /// All of them: free, opening, lent, ending, or kept by a session that rests.
    pub(super) places: u32,
    /// So many places there should be. Fewer than there are after the gate was made smaller, until the surplus is gone.
    pub(super) wanted: u32,
    /// Places without a session.
    pub(super) free: u32,
    /// Places whose session is being opened.
    pub(super) opening: u32,
    /// No more than these are opened at a time; 0 during an outage.
    pub(super) opening_limit: u32,
    /// Since one was last being opened, somebody was turned away who would have waited for that.
    pub(super) turned_away: bool,
    /// Places whose session is being ended.
    pub(super) ending: u32,
    /// Sessions that are about to come back from a reset.
    pub(super) resetting: u32,
    pub(super) closed: bool,
    /// Nobody waits while a session rests.
    pub(super) lanes: Lanes<S, Queued<S>>,
    /// `None` if nobody is refused for having waited too long.
    pub(super) shedding: Option<Box<Shedding>>,
}

/// A borrower in the queue.
#[derive(Debug)]
pub(super) struct Queued<S> {
    pub(super) call: Call<S>,
    /// When the wait began; nothing where that does not matter.
    since: Counted,
}

impl<S> State<S> {
    pub(super) fn new(places: u32) -> Self {
        Self {
            places,
            wanted: places,
            free: places,
            opening: 0,
            opening_limit: places,
            turned_away: false,
            ending: 0,
            resetting: 0,
            closed: false,
            lanes: Lanes::new(),
            shedding: None,
        }
    }

    /// Changes how many places there should be. New ones are free at once, and free ones go at once. The others go with the sessions
    /// that have them.
    pub(super) fn resize(&mut self, wanted: u32) {
        if self.opening_limit >= self.wanted {
            self.opening_limit = wanted;
        }
        self.wanted = wanted;
        let grown = wanted.saturating_sub(self.places);
        self.places += grown;
        self.free += grown;
        let gone = self.free.min(self.places.saturating_sub(wanted));
        self.places -= gone;
        self.free -= gone;
    }

    /// How many sessions have to be ended, besides those that are being ended already.
    pub(super) fn surplus(&self) -> u32 {
        self.places.saturating_sub(self.wanted).saturating_sub(self.ending)
    }

    /// A place has lost its session: it is free, or gone if there are too many.
    pub(super) fn vacate(&mut self) {
        if self.places > self.wanted { self.places -= 1 } else { self.free += 1 }
    }

    pub(super) fn take(&mut self, here: Option<Id>) -> Option<S> {
        let taken = self.lanes.take(here).or_else(|| self.lanes.take_anywhere());
        if let Some(shedding) = &mut self.shedding
            && taken.is_some()
        {
            shedding.served_at_once();
        }
        taken
    }

    /// Adds a waiter, and returns its number.
    pub(super) fn wait(&mut self, here: Option<Id>, since: Instant, call: Call<S>) -> u64 {
        let counted = self.shedding.as_ref().map(|shedding| shedding.now(Instant::now())).unwrap_or_default();
        self.lanes.wait(here, since, Queued { call, since: counted })
    }

    /// Takes the next in line, if somebody waits.
    pub(super) fn next(&mut self, runtime: Option<Id>) -> Option<Call<S>> {
        let Queued { call, since } = self.lanes.next(runtime)?;
        if let Some(shedding) = &mut self.shedding {
            let now = shedding.now(Instant::now());
            shedding.served(since, now);
        }
        Some(call)
    }

    /// Takes those who have waited too long, if there are any.
    pub(super) fn shed(&mut self) -> Option<Vec<Refused<S>>> {
        let shedding = self.shedding.as_mut()?;
        let first = self.lanes.firsts().map(|queued| queued.since).min();
        let before = shedding.refused_before(first, shedding.now(Instant::now()))?;
        let refused = self.lanes.take_firsts(|queued| queued.since < before);
        Some(refused.into_iter().map(|queued| (queued.call, shedding.refusal())).collect())
    }

    /// Records that as many more sessions are being opened.
    pub(super) fn opens(&mut self) {
        self.opening += 1;
        self.count_opening();
    }

    /// Tells the clock of those who wait whether sessions are being opened.
    pub(super) fn count_opening(&mut self) {
        if let Some(shedding) = &mut self.shedding {
            shedding.opening(self.opening > 0, Instant::now());
        }
    }

    /// A place leaves the phase that it was in.
    pub(super) fn leave(&mut self, phase: Phase) {
        match phase {
            Phase::Opening => {
                self.opening -= 1;
                self.count_opening();
            }
            Phase::Ending => self.ending -= 1,
            Phase::Lent => {}
        }
    }

    pub(super) fn may_open(&self) -> bool {
        !self.closed && self.free > 0 && self.opening < self.opening_limit
    }

    pub(super) fn is_session_wanted(&self) -> bool {
        self.may_open() && count(self.lanes.waiting()) > self.opening + self.resetting
    }

    /// Whether so many wait already beyond those for whom there is a place.
    pub(super) fn is_full(&self, max_waiting: u32) -> bool {
        let openable = if self.opening_limit == 0 { 0 } else { self.free };
        count(self.lanes.waiting()) >= max_waiting.saturating_add(self.opening + openable)
    }

    /// Whether every place is free.
    pub(super) fn is_empty(&self) -> bool {
        self.free == self.places
    }

    /// Sessions that are lent or rest.
    pub(super) fn open(&self) -> u32 {
        self.places - self.free - self.opening - self.ending
    }
}

/// A borrower who is refused, and why.
pub(super) type Refused<S> = (Call<S>, Refusal);

pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
