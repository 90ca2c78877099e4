//! Who holds a place, and what for.

use std::sync::Arc;

use tokio::runtime::Id;

use super::Gate;

/// What a place is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Lent,
    Ending,
}

/// A session that was taken out, and the place that it has.
#[derive(Debug)]
pub(crate) struct Grant<S> {
    pub(crate) session: S,
    /// The lane that it came from.
    pub(super) runtime: Option<Id>,
    pub(crate) permit: Permit<S>,
}

impl<S> Grant<S> {
    /// Gives it to the next one.
    pub(super) fn pass_on(self) {
        self.permit.deliver(self.runtime, self.session);
    }

    /// The session alone: its place is for who has it to keep.
    pub(super) fn into_session(mut self) -> S {
        self.permit.gate = None;
        self.session
    }
}

/// A place that is held. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Permit<S> {
    /// `None` when the place has been given away.
    gate: Option<Arc<Gate<S>>>,
    phase: Phase,
}

impl<S> Permit<S> {
    pub(super) fn new(gate: &Arc<Gate<S>>, phase: Phase) -> Self {
        Self { gate: Some(Arc::clone(gate)), phase }
    }

    /// Gives a session that `runtime` drives to the first in line, or lets it rest there.
    pub(crate) fn deliver(mut self, runtime: Option<Id>, session: S) {
        if let Some(gate) = self.gate.take() {
            gate.deliver(self.phase, runtime, session);
        }
    }

    /// The session is being ended.
    pub(crate) fn ending(&mut self) {
        if self.phase == Phase::Lent
            && let Some(gate) = &self.gate
        {
            gate.state().ending += 1;
            self.phase = Phase::Ending;
        }
    }
}

impl<S> Drop for Permit<S> {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.free_place(self.phase);
        }
    }
}

/// A session that is being reset, and will come back in a moment.
#[derive(Debug)]
pub(crate) struct Resetting<S>(Arc<Gate<S>>);

impl<S> Resetting<S> {
    pub(super) fn new(gate: &Arc<Gate<S>>) -> Self {
        Self(Arc::clone(gate))
    }
}

impl<S> Drop for Resetting<S> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.resetting -= 1;
        self.0.look(&state);
    }
}
