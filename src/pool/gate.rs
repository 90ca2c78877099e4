//! The gate in front of the pool: at most so many sessions at a time, and a queue of those who wait for one.
//!
//! ```text
//!                    take                          deliver
//!   resting ─────────────────────> lent ──────────────────────> the first in line, else resting
//!                                   │ ending
//!   free ──> opening ──deliver──────┼────────────────────────> the first in line, else resting
//!    ^                              v
//!    └──────────────────────────── gone
//! ```
//!
//! A borrower takes a session that rests, or queues; it never opens one itself. A place is free, or held by a [`Permit`] while
//! its session is opened, lent or ended, or kept by a session that rests. Whoever holds a permit either
//! [delivers](Permit::deliver) a session, which goes to the first in line, or drops it, and the place is free. A session stays
//! with the runtime that drives it, because there it can be used without moving it; how far that goes before who came first
//! is for [`lanes`] to say.
//!
//! The gate says when a session [should be opened](Gate::place_for_waiter): as long as there are places, for each who waits but
//! those whom a session that is just being reset will serve.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::runtime::Id;
use tokio::sync::{Notify, oneshot};

use crate::session::ConnectError;
use permit::Phase;
pub(crate) use permit::{Grant, Permit, Resetting};
use state::{State, count};
pub(crate) use waiting::Waiting;

mod permit;
mod waiting;
mod state;
mod lanes;

/// Lets in so many at a time. `S` is a session.
#[derive(Debug)]
pub(crate) struct Gate<S> {
    state: Mutex<State<S>>,
    /// A session should be opened, or the gate has been closed.
    wanted: Notify,
    /// After the gate was closed, a place has become free.
    returned: Notify,
}

/// Calls one who waits.
type Call<S> = oneshot::Sender<Result<Grant<S>, ConnectError>>;

/// What one who asks to be let in is told.
#[derive(Debug)]
pub(crate) enum Entry<S> {
    Granted(Grant<S>),
    Wait(Waiting<S>),
    /// So many wait already.
    Full,
    Closed,
}

impl<S> Gate<S> {
    pub(crate) fn new(places: u32) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(places)),
            wanted: Notify::new(),
            returned: Notify::new(),
        })
    }

    /// Takes a session that rests: of this runtime the one that was used last, or else one of another runtime.
    pub(crate) fn take(self: &Arc<Self>, here: Option<Id>) -> Option<Grant<S>> {
        let session = self.state().take(here)?;
        Some(self.grant(here, session))
    }

    /// Lets one in, or into the queue. Beyond those for whom there is a place, `max_waiting` may queue.
    pub(crate) fn enter(
        self: &Arc<Self>,
        here: Option<Id>,
        max_waiting: Option<u32>,
        since: Instant,
    ) -> Entry<S> {
        let mut state = self.state();
        if state.closed {
            return Entry::Closed;
        }
        if let Some(session) = state.take(here) {
            drop(state);
            return Entry::Granted(self.grant(here, session));
        }
        if max_waiting.is_some_and(|most| state.is_full(most)) {
            state.turned_away = true;
            return Entry::Full;
        }
        let (call, called) = oneshot::channel();
        let number = state.lanes.wait(here, since, call);
        self.look(&state);
        Entry::Wait(Waiting::new(self, here, number, called))
    }

    /// Gives a session to the first in line, or lets it rest. Comes with the place that it takes.
    ///
    /// Nothing is dropped or sent under the lock.
    fn deliver(self: Arc<Self>, phase: Phase, runtime: Option<Id>, mut session: S) {
        let mut state = self.state();
        state.leave(phase);
        loop {
            if state.closed {
                drop(state);
                drop(session);
                return self.free_place(Phase::Lent);
            }
            let Some(call) = state.lanes.next(runtime) else {
                return state.lanes.rest(runtime, session);
            };
            drop(state);
            match call.send(Ok(self.grant(runtime, session))) {
                Ok(()) => return,
                // It has just given up.
                Err(Ok(back)) => session = back.into_session(),
                Err(Err(_)) => return,
            }
            state = self.state();
        }
    }

    /// A place has no session any more.
    fn free_place(&self, phase: Phase) {
        let mut state = self.state();
        state.leave(phase);
        state.free += 1;
        if state.closed {
            self.returned.notify_waiters();
        }
        self.look(&state);
    }

    /// Waits until a session should be opened for one who waits, and takes the place for it; `None` when the gate is closed.
    pub(crate) async fn place_for_waiter(self: &Arc<Self>) -> Option<Permit<S>> {
        loop {
            if let Some(permit) = self.place_if(State::is_session_wanted) {
                return Some(permit);
            }
            if self.is_closed() {
                return None;
            }
            self.wanted.notified().await;
        }
    }

    /// A place to open a session in, if fewer than `floor` are open or being opened.
    pub(crate) fn place_below(self: &Arc<Self>, floor: u32) -> Option<Permit<S>> {
        self.place_if(|state| state.may_open() && state.open() + state.opening < floor)
    }

    /// A place to open one more session in.
    pub(crate) fn place_to_spare(self: &Arc<Self>) -> Option<Permit<S>> {
        self.place_if(State::may_open)
    }

    /// A place for the next attempt in an outage, if somebody waits or would have, fewer than `floor` sessions are open, or
    /// `anyway`.
    pub(crate) fn place_to_try(self: &Arc<Self>, floor: u32, anyway: bool) -> Option<Permit<S>> {
        self.place_if(|state| {
            let missed = state.turned_away || state.lanes.waiting() > 0;
            let wanted = anyway || missed || state.open() < floor;
            !state.closed && state.free > 0 && state.opening == 0 && wanted
        })
    }

    fn place_if(self: &Arc<Self>, wanted: impl FnOnce(&State<S>) -> bool) -> Option<Permit<S>> {
        let mut state = self.state();
        if !wanted(&state) {
            return None;
        }
        state.free -= 1;
        state.opening += 1;
        state.turned_away = false;
        drop(state);
        Some(Permit::new(self, Phase::Opening))
    }

    /// Has a session opened if that should be.
    fn look(&self, state: &State<S>) {
        if state.is_session_wanted() {
            self.wanted.notify_one();
        }
    }

    /// Sets how many sessions may be opened at a time.
    pub(crate) fn limit_opening(&self, limit: impl FnOnce(u32) -> u32) {
        let mut state = self.state();
        state.opening_limit = limit(state.opening_limit).min(state.places);
        self.look(&state);
    }

    /// Counts a session that is being reset: until the guard is dropped, one who waits is left to it.
    pub(crate) fn resetting(self: &Arc<Self>) -> Resetting<S> {
        self.state().resetting += 1;
        Resetting::new(self)
    }

    /// Takes sessions that rest, those that have rested longest first, and at most so many.
    pub(crate) fn take_resting(self: &Arc<Self>, most: u32, which: impl Fn(&S) -> bool) -> Vec<Grant<S>> {
        let taken = self.state().lanes.take_where(most as usize, which);
        taken.into_iter().map(|session| self.grant(None, session)).collect()
    }

    /// Tells all who wait that there will be no session.
    pub(crate) fn refuse_all(&self, err: &ConnectError) {
        let waiting = self.state().lanes.take_waiting();
        for call in waiting {
            // One that has given up meanwhile need not know.
            let _ = call.send(Err(err.clone()));
        }
    }

    /// Lets nobody in from now on, sends those away who wait, and hands out the sessions that rest.
    pub(crate) fn close(&self) -> Vec<S> {
        let mut state = self.state();
        state.closed = true;
        let resting = state.lanes.take_where(usize::MAX, |_| true);
        let waiting = state.lanes.take_waiting();
        state.free += count(resting.len());
        drop(state);
        drop(waiting);
        self.wanted.notify_one();
        resting
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Resolves after [`close`](Self::close), when nobody holds a permit any more.
    pub(crate) async fn all_returned(&self) {
        loop {
            let returned = self.returned.notified();
            if self.state().is_empty() {
                return;
            }
            returned.await;
        }
    }

    /// Sessions that are open: lent, or resting.
    pub(crate) fn open(&self) -> u32 {
        self.state().open()
    }

    /// Sessions that rest.
    pub(crate) fn resting(&self) -> u32 {
        count(self.state().lanes.resting())
    }

    /// Those who wait.
    pub(crate) fn waiting(&self) -> u32 {
        count(self.state().lanes.waiting())
    }

    fn grant(self: &Arc<Self>, runtime: Option<Id>, session: S) -> Grant<S> {
        Grant { session, runtime, permit: Permit::new(self, Phase::Lent) }
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
