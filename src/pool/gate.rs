//! The gate in front of bb8: a bound on the number of sessions, and a queue.
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
//! The gate has `pool_max_size` places. A place is free, or taken by a session that rests, or held by a [`Permit`] while its
//! session is opened, lent or ended. The holder of a permit [delivers](Permit::deliver) a session, which goes to the first in
//! line, or drops the permit, and the place is free.
//!
//! A borrower takes a session that rests, or queues. It never opens one. The gate says when a session
//! [should be opened](Gate::place_for_waiter): while there are places, one for each waiter, except for as many as there are
//! sessions being reset, which will come back in a moment.
//!
//! The gate can be made larger, and smaller: then a session that comes back is handed back to its holder to be ended, while there
//! are too many, and its place goes with it.
//!
//! A session stays with the runtime that drives it, because it can be used there without being moved. [`lanes`] says how far that
//! may change the order of arrival.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Id;
use tokio::sync::{Notify, oneshot};

use crate::session::ConnectError;
use permit::Phase;
pub(crate) use permit::{Grant, Permit, Resetting, Surplus};
use shedding::Shedding;
use state::{Refused, State, count};
pub(crate) use waiting::Waiting;

mod permit;
mod openings;
mod waiting;
mod state;
mod lanes;
mod shedding;

/// The places of a pool, its resting sessions and its queue. `S` is a session.
#[derive(Debug)]
pub(crate) struct Gate<S> {
    state: Mutex<State<S>>,
    /// A session should be opened, or the gate has been closed.
    wanted: Notify,
    /// A place has become free after the gate was closed.
    returned: Notify,
    /// Somebody waits, where waiters may be refused.
    queued: Notify,
}

/// The sender that ends a wait.
type Call<S> = oneshot::Sender<Result<Grant<S>, Refusal>>;

/// Why a wait ends without a session.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// Nothing is alive, and no session can be opened.
    Unavailable(ConnectError),
    /// It has lasted for more than twice the target, while the queue does not get empty.
    Overload { target: Duration },
}

/// The answer to a borrower.
#[derive(Debug)]
pub(crate) enum Entry<S> {
    Granted(Grant<S>),
    Wait(Waiting<S>),
    /// The queue has reached `max_waiting`.
    Full,
    Closed,
}

impl<S> Gate<S> {
    pub(crate) fn new(places: u32) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(places)),
            wanted: Notify::new(),
            returned: Notify::new(),
            queued: Notify::new(),
        })
    }

    /// Refuses from now on those who have waited for more than twice the target, while the least wait of an interval is above it.
    pub(crate) fn shed_above(&self, target: Duration, interval: Duration) {
        let mut state = self.state();
        state.shedding = Some(Box::new(Shedding::new(target, interval, Instant::now())));
        state.count_opening();
    }

    /// Takes the session that this runtime used last, or else one that rests on another runtime.
    pub(crate) fn take(self: &Arc<Self>, here: Option<Id>) -> Option<Grant<S>> {
        let session = self.state().take(here)?;
        Some(self.grant(here, session))
    }

    /// Takes a session, or a place in the queue. `max_waiting` counts the waiters for whom there is no place to open a session in.
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
        let number = state.wait(here, since, call);
        if state.shedding.is_some() {
            self.queued.notify_one();
        }
        self.look(&state);
        Entry::Wait(Waiting::new(self, here, number, called))
    }

    /// Gives a session, with its place, to the first in line, or lets it rest. Gives it back, to be ended, if there are too many.
    fn deliver(self: Arc<Self>, phase: Phase, runtime: Option<Id>, session: S) -> Option<Surplus<S>> {
        let mut state = self.state();
        if !state.closed && state.surplus() > 0 {
            state.leave(phase);
            state.ending += 1;
            drop(state);
            return Some(Surplus { session, permit: Permit::new(&self, Phase::Ending) });
        }
        self.hand_on(state, phase, runtime, session);
        None
    }

    /// Nothing is dropped or sent under the lock.
    fn hand_on<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State<S>>,
        phase: Phase,
        runtime: Option<Id>,
        mut session: S,
    ) {
        state.leave(phase);
        loop {
            if state.closed {
                drop(state);
                drop(session);
                return self.free_place(Phase::Lent);
            }
            let refused = state.shed();
            let next = state.next(runtime);
            let Some(call) = next else {
                state.lanes.rest(runtime, session);
                drop(state);
                return refused.into_iter().for_each(refuse);
            };
            drop(state);
            refused.into_iter().for_each(refuse);
            match call.send(Ok(self.grant(runtime, session))) {
                Ok(()) => return,
                // The waiter has just given up.
                Err(Ok(back)) => session = back.into_session(),
                Err(Err(_)) => return,
            }
            state = self.state();
        }
    }

    /// Frees a place whose session is gone.
    fn free_place(&self, phase: Phase) {
        let mut state = self.state();
        state.leave(phase);
        state.vacate();
        if state.closed {
            self.returned.notify_waiters();
        }
        self.look(&state);
    }

    /// Changes the number of places, and returns the sessions that rest in places too many.
    pub(crate) fn resize(self: &Arc<Self>, places: u32) -> Vec<Grant<S>> {
        let mut state = self.state();
        state.resize(places);
        self.look(&state);
        drop(state);
        self.take_surplus()
    }

    /// Takes sessions that rest in places too many.
    pub(crate) fn take_surplus(self: &Arc<Self>) -> Vec<Grant<S>> {
        let mut state = self.state();
        let surplus = state.surplus();
        let taken =
            if surplus == 0 { Vec::new() } else { state.lanes.take_where(surplus as usize, |_| true) };
        state.ending += count(taken.len());
        drop(state);
        let ending = |session| Grant { session, runtime: None, permit: Permit::new(self, Phase::Ending) };
        taken.into_iter().map(ending).collect()
    }

    /// The number of places that there should be.
    pub(crate) fn size(&self) -> u32 {
        self.state().wanted
    }

    /// Counts a session that is being reset. Until the guard is dropped, no session is opened for one of the waiters.
    pub(crate) fn resetting(self: &Arc<Self>) -> Resetting<S> {
        self.state().resetting += 1;
        Resetting::new(self)
    }

    /// Takes at most `most` sessions that rest, those that have rested longest first.
    pub(crate) fn take_resting(self: &Arc<Self>, most: u32, which: impl Fn(&S) -> bool) -> Vec<Grant<S>> {
        let taken = self.state().lanes.take_where(most as usize, which);
        taken.into_iter().map(|session| self.grant(None, session)).collect()
    }

    /// Fails all waiters.
    pub(crate) fn refuse_all(&self, err: &ConnectError) {
        let waiting = self.state().lanes.take_waiting();
        refuse(waiting.into_iter().map(|queued| (queued.call, Refusal::Unavailable(err.clone()))));
    }

    /// Refuses those who have waited too long, and says whether somebody waits still.
    pub(crate) fn shed(&self) -> bool {
        let mut state = self.state();
        let refused = state.shed();
        let waits = state.lanes.waiting() > 0;
        drop(state);
        refused.into_iter().for_each(refuse);
        waits
    }

    /// Waits until somebody waits, or the gate is closed. Where waiters may be refused.
    pub(crate) async fn queued(&self) {
        self.queued.notified().await;
    }

    /// Refuses borrowers from now on, fails all waiters, and returns the sessions that rest.
    pub(crate) fn close(&self) -> Vec<S> {
        let mut state = self.state();
        state.closed = true;
        let resting = state.lanes.take_where(usize::MAX, |_| true);
        let waiting = state.lanes.take_waiting();
        for _ in &resting {
            state.vacate();
        }
        drop(state);
        drop(waiting);
        self.wanted.notify_one();
        self.queued.notify_one();
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

    /// The number of sessions that are lent or rest.
    pub(crate) fn open(&self) -> u32 {
        self.state().open()
    }

    /// The number of sessions that rest.
    pub(crate) fn resting(&self) -> u32 {
        count(self.state().lanes.resting())
    }

    /// The number of waiters.
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

/// Ends waits. A waiter that has given up meanwhile need not know.
fn refuse<S>(refused: impl IntoIterator<Item = Refused<S>>) {
    for (call, refusal) in refused {
        let _ = call.send(Err(refusal));
    }
}

#[cfg(test)]
mod tests;
