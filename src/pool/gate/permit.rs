//! A place of the gate that is held.

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
    /// The runtime whose lane it came from.
    pub(super) runtime: Option<Id>,
    pub(crate) permit: Permit<S>,
}

impl<S> Grant<S> {
    /// Gives the session to the next in line. One too many rests until it is looked for.
    pub(super) fn pass_on(mut self) {
        if let Some(gate) = self.permit.gate.take() {
            gate.hand_on(gate.state(), self.permit.phase, self.runtime, self.session);
        }
    }

    /// The session without its place, which the caller accounts for.
    pub(super) fn into_session(mut self) -> S {
        self.permit.gate = None;
        self.session
    }
}

/// A session too many, and its place, which goes when the session has ended.
#[derive(Debug)]
pub(crate) struct Surplus<S> {
    pub(crate) session: S,
    pub(crate) permit: Permit<S>,
}

/// A place that is held. Its drop frees the place.
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

    /// Gives a session that `runtime` drives to the first in line, or lets it rest. Gives it back, to be ended, if there are too
    /// many.
    pub(crate) fn deliver(mut self, runtime: Option<Id>, session: S) -> Option<Surplus<S>> {
        self.gate.take().and_then(|gate| gate.deliver(self.phase, runtime, session))
    }

    /// Records that the session is being ended.
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

/// Counts a session that is being reset, and will come back in a moment.
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
