//! The gate in front of the pool: at most so many may hold a session, and the others wait their turn.
//!
//! Among the borrowers of one runtime, who came first is served first. What is returned goes to a borrower of the runtime
//! that returns it, because there it can be used without moving it; but nobody is passed over more than [`PATIENCE`]
//! times by those who came later.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::runtime::Id;
use tokio::sync::oneshot;

/// How often one who waits may be passed over.
pub(super) const PATIENCE: u32 = 16;

/// Lets in so many at a time. `T` is what can be handed from one borrower to the next.
#[derive(Debug)]
pub(super) struct Gate<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    free: u32,
    closed: bool,
    last_number: u64,
    /// In the order of arrival; empty unless `free` is 0.
    queue: VecDeque<Waiter<T>>,
}

#[derive(Debug)]
struct Waiter<T> {
    number: u64,
    runtime: Option<Id>,
    passed_over: u32,
    call: oneshot::Sender<Grant<T>>,
}

/// What one who asks to be let in is told.
#[derive(Debug)]
pub(super) enum Entry<T> {
    Permit(Permit<T>),
    Wait(Ticket<T>),
    /// So many wait already.
    Full,
    Closed,
}

/// What one who has waited gets.
#[derive(Debug)]
pub(super) enum Grant<T> {
    Permit(Permit<T>),
    Handed(T),
}

impl<T> Gate<T> {
    pub(super) fn new(permits: u32) -> Arc<Self> {
        let state = State { free: permits, closed: false, last_number: 0, queue: VecDeque::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// A permit, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit<T>> {
        let mut state = self.state();
        if state.closed || state.free == 0 {
            return None;
        }
        state.free -= 1;
        Some(Permit(Some(Arc::clone(self))))
    }

    /// A permit, or a place in the queue unless that has `max_waiting` already.
    pub(super) fn enter(self: &Arc<Self>, runtime: Option<Id>, max_waiting: Option<u32>) -> Entry<T> {
        let mut state = self.state();
        if state.closed {
            return Entry::Closed;
        }
        if state.free > 0 {
            state.free -= 1;
            return Entry::Permit(Permit(Some(Arc::clone(self))));
        }
        if max_waiting.is_some_and(|most| state.queue.len() >= most as usize) {
            return Entry::Full;
        }
        let (call, called) = oneshot::channel();
        state.last_number += 1;
        let number = state.last_number;
        state.queue.push_back(Waiter { number, runtime, passed_over: 0, call });
        Entry::Wait(Ticket { gate: Arc::clone(self), number, called })
    }

    /// Hands something, with the permit that belongs to it, to one who waits; back to the caller if nobody does.
    pub(super) fn hand_over(&self, runtime: Id, handed: T) -> Result<(), T> {
        match self.call(Some(runtime), Grant::Handed(handed)) {
            Ok(()) => Ok(()),
            Err(Grant::Handed(handed)) => Err(handed),
            Err(Grant::Permit(_)) => unreachable!("what was to be handed over comes back"),
        }
    }

    /// Calls the next one who waits, and drops nothing under the lock.
    fn call(&self, runtime: Option<Id>, mut grant: Grant<T>) -> Result<(), Grant<T>> {
        loop {
            let Some(next) = self.state().next(runtime) else { return Err(grant) };
            match next.call.send(grant) {
                Ok(()) => return Ok(()),
                // It has just given up.
                Err(back) => grant = back,
            }
        }
    }

    fn release(mut self: Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(next) = state.next(None) else {
                state.free += 1;
                return;
            };
            drop(state);
            let Err(Grant::Permit(mut permit)) = next.call.send(Grant::Permit(Permit(Some(self)))) else {
                return;
            };
            // It has just given up, and the permit is still to be released.
            let Some(gate) = permit.0.take() else { return };
            self = gate;
        }
    }

    /// Lets nobody in from now on, and sends those away who wait.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let sent_away = std::mem::take(&mut state.queue);
        drop(state);
        drop(sent_away);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Permits that nobody holds.
    pub(super) fn free(&self) -> u32 {
        self.state().free
    }

    /// Those who wait.
    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.state().queue.len()).unwrap_or(u32::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// The next to be served: the first of this runtime, unless someone before it has been passed over too often.
    fn next(&mut self, runtime: Option<Id>) -> Option<Waiter<T>> {
        let first = self.queue.front()?;
        let own = match runtime {
            Some(_) if first.passed_over < PATIENCE => {
                self.queue.iter().position(|waiter| waiter.runtime == runtime).unwrap_or(0)
            }
            _ => 0,
        };
        self.queue.iter_mut().take(own).for_each(|waiter| waiter.passed_over += 1);
        self.queue.remove(own)
    }
}

/// The right to hold a session; returned when dropped.
#[derive(Debug)]
pub(super) struct Permit<T>(Option<Arc<Gate<T>>>);

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.release();
        }
    }
}

/// A place in the queue; `None` when the gate has been closed.
///
/// Cancellation safety: dropped, it leaves the queue, and what it was given already goes to the next.
#[derive(Debug)]
pub(super) struct Ticket<T> {
    gate: Arc<Gate<T>>,
    number: u64,
    called: oneshot::Receiver<Grant<T>>,
}

impl<T> Future for Ticket<T> {
    type Output = Option<Grant<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.called).poll(cx)).ok())
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if let Ok(at) = state.queue.binary_search_by_key(&self.number, |waiter| waiter.number) {
            let left = state.queue.remove(at);
            drop(state);
            drop(left);
        }
    }
}

#[cfg(test)]
mod tests;
