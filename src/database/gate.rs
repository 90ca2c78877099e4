//! The gate in front of the pool: at most so many may hold a session, and the others wait their turn.
//!
//! A session that comes back goes to the next who waits, or rests here until it is borrowed again: a warm session is
//! borrowed and returned under one lock. It stays with the runtime that drives it, because there it can be used without
//! moving it; how far that goes before who came first is for [`lanes`] to say.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::runtime::Id;
use tokio::sync::{Notify, oneshot};

use lanes::Lanes;

mod lanes;

/// Lets in so many at a time. `S` is a session, and gives itself back to the pool when it is dropped.
#[derive(Debug)]
pub(super) struct Gate<S> {
    permits: u32,
    state: Mutex<State<S>>,
    /// After the gate was closed, a permit has come back.
    returned: Notify,
}

#[derive(Debug)]
struct State<S> {
    /// Permits that nobody holds and no session rests with.
    free: u32,
    closed: bool,
    /// Those who hold a permit and wait for the pool to find them a session.
    hungry: u32,
    /// Nobody waits while a permit is free or a session rests.
    lanes: Lanes<S, oneshot::Sender<Pass<S>>>,
}

/// What one who asks to be let in is told.
#[derive(Debug)]
pub(super) enum Entry<S> {
    Pass(Pass<S>),
    Wait(Ticket<S>),
    /// So many wait already.
    Full,
    Closed,
}

/// The right to hold a session, and the session if there was one.
#[derive(Debug)]
pub(super) struct Pass<S> {
    // Dropped first: a permit is free when its session is.
    pub(super) session: Option<S>,
    pub(super) permit: Permit<S>,
}

impl<S> Gate<S> {
    pub(super) fn new(permits: u32) -> Arc<Self> {
        let state = State { free: permits, closed: false, hungry: 0, lanes: Lanes::new() };
        Arc::new(Self { permits, state: Mutex::new(state), returned: Notify::new() })
    }

    /// Lets one in who runs on this runtime, if that is possible now.
    pub(super) fn try_enter(self: &Arc<Self>, here: Option<Id>) -> Option<Pass<S>> {
        let session = self.state().admit(here)?;
        Some(Pass { session, permit: Permit(Some(Arc::clone(self))) })
    }

    /// Lets one in, or into the queue unless that has `max_waiting` already.
    pub(super) fn enter(
        self: &Arc<Self>,
        here: Option<Id>,
        max_waiting: Option<u32>,
        since: Instant,
    ) -> Entry<S> {
        let mut state = self.state();
        if state.closed {
            return Entry::Closed;
        }
        if let Some(session) = state.admit(here) {
            return Entry::Pass(Pass { session, permit: Permit(Some(Arc::clone(self))) });
        }
        if max_waiting.is_some_and(|most| state.lanes.waiting() >= most as usize) {
            return Entry::Full;
        }
        let (call, called) = oneshot::channel();
        let number = state.lanes.wait(here, since, call);
        Entry::Wait(Ticket { gate: Arc::clone(self), lane: here, number, waits: true, called })
    }

    /// Gives a permit, and what is to be used with it, to the next who waits, or keeps both.
    ///
    /// Nothing is dropped or sent under the lock.
    fn put(mut self: Arc<Self>, runtime: Option<Id>, mut session: Option<S>) {
        loop {
            let mut state = self.state();
            if let Some(call) = state.lanes.next(runtime) {
                drop(state);
                let Err(mut back) = call.send(Pass { session, permit: Permit(Some(self)) }) else {
                    return;
                };
                // It has just given up.
                session = back.session.take();
                let Some(gate) = back.permit.0.take() else { return };
                self = gate;
                continue;
            }
            match session {
                None => {
                    state.free += 1;
                    if state.closed {
                        self.returned.notify_waiters();
                    }
                    return;
                }
                // Back to the pool, and the permit after it.
                Some(_) if state.closed || state.hungry > 0 => {
                    drop(state);
                    session = None;
                }
                Some(session) => return state.lanes.rest(runtime, session),
            }
        }
    }

    /// Takes the sessions that have rested long enough; dropped, each goes back to the pool.
    pub(super) fn rested(self: &Arc<Self>, enough: impl Fn(&S) -> bool) -> Vec<Pass<S>> {
        let rested = self.state().lanes.take_rested(enough);
        let permit = || Permit(Some(Arc::clone(self)));
        rested.into_iter().map(|session| Pass { session: Some(session), permit: permit() }).collect()
    }

    /// Lets nobody in from now on, sends those away who wait, and hands out the sessions that rest.
    pub(super) fn close(&self) -> Vec<S> {
        let mut state = self.state();
        state.closed = true;
        let mut lanes = mem::replace(&mut state.lanes, Lanes::new());
        let resting = lanes.take_rested(|_| true);
        state.free += count(resting.len());
        resting
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Resolves after [`close`](Self::close), when nobody holds a permit any more.
    pub(super) async fn all_returned(&self) {
        loop {
            let returned = self.returned.notified();
            if self.free() == self.permits {
                return;
            }
            returned.await;
        }
    }

    /// Permits that nobody holds.
    pub(super) fn free(&self) -> u32 {
        let state = self.state();
        state.free + count(state.lanes.resting())
    }

    /// Sessions that rest.
    pub(super) fn resting(&self) -> u32 {
        count(self.state().lanes.resting())
    }

    /// Those who wait.
    pub(super) fn waiting(&self) -> u32 {
        count(self.state().lanes.waiting())
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> State<S> {
    /// Takes a permit: with the session of this runtime that was used last, or else without one, or else with one of another
    /// runtime.
    fn admit(&mut self, here: Option<Id>) -> Option<Option<S>> {
        if self.closed {
            return None;
        }
        if let Some(session) = self.lanes.take(here) {
            return Some(Some(session));
        }
        if self.free > 0 {
            self.free -= 1;
            return Some(None);
        }
        self.lanes.take_anywhere().map(Some)
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The right to hold a session; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<S>(Option<Arc<Gate<S>>>);

impl<S> Permit<S> {
    /// Gives back the permit and a session, which stays with the runtime that drives it.
    pub(super) fn rest(mut self, runtime: Id, session: S) {
        if let Some(gate) = self.0.take() {
            gate.put(Some(runtime), Some(session));
        }
    }

    /// Exchanges the permit for one with a session that rests on whatever runtime. If there is none, no session comes to
    /// rest until this one is fed: the pool gets those that are returned, and hands them on.
    pub(super) fn trade(mut self) -> Result<Pass<S>, Hungry<S>> {
        let Some(gate) = self.0.take() else { return Err(Hungry(None)) };
        let mut state = gate.state();
        let session = state.lanes.take_anywhere();
        match session {
            Some(_) => state.free += 1,
            None => state.hungry += 1,
        }
        drop(state);
        match session {
            Some(_) => Ok(Pass { session, permit: Self(Some(gate)) }),
            None => Err(Hungry(Some(gate))),
        }
    }
}

impl<S> Drop for Permit<S> {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.put(None, None);
        }
    }
}

/// The permit of one who waits for the pool to find a session.
#[derive(Debug)]
pub(super) struct Hungry<S>(Option<Arc<Gate<S>>>);

impl<S> Hungry<S> {
    /// The session has been found.
    pub(super) fn fed(mut self) -> Permit<S> {
        Permit(self.sated())
    }

    fn sated(&mut self) -> Option<Arc<Gate<S>>> {
        let gate = self.0.take()?;
        gate.state().hungry -= 1;
        Some(gate)
    }
}

impl<S> Drop for Hungry<S> {
    fn drop(&mut self) {
        drop(Permit(self.sated()));
    }
}

/// A place in the queue; `None` when the gate has been closed.
///
/// Cancellation safety: dropped, it leaves the queue, and what it was given already goes to the next.
#[derive(Debug)]
pub(super) struct Ticket<S> {
    gate: Arc<Gate<S>>,
    lane: Option<Id>,
    number: u64,
    waits: bool,
    called: oneshot::Receiver<Pass<S>>,
}

impl<S> Future for Ticket<S> {
    type Output = Option<Pass<S>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let called = ready!(Pin::new(&mut self.called).poll(cx));
        self.waits = false;
        Poll::Ready(called.ok())
    }
}

impl<S> Drop for Ticket<S> {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        let left = self.gate.state().lanes.leave(self.lane, self.number);
        drop(left);
    }
}

#[cfg(test)]
mod tests;
