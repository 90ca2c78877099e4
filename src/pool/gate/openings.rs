//! Which places sessions are opened in, and when.

use std::sync::Arc;

use super::Gate;
use super::permit::{Permit, Phase};
use super::state::State;

impl<S> Gate<S> {
    /// Waits until a session should be opened for a waiter, and takes the place for it. `None` when the gate is closed.
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

    /// Takes a place to open a session in, if fewer than `floor` are open or being opened.
    pub(crate) fn place_below(self: &Arc<Self>, floor: u32) -> Option<Permit<S>> {
        self.place_if(|state| state.may_open() && state.open() + state.opening < floor)
    }

    /// Takes a place to open one more session in.
    pub(crate) fn place_to_spare(self: &Arc<Self>) -> Option<Permit<S>> {
        self.place_if(State::may_open)
    }

    /// Takes a place for the next attempt in an outage, if a request waits or was turned away, fewer than `floor` sessions are
    /// open, or `anyway`.
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
        state.opens();
        state.turned_away = false;
        drop(state);
        Some(Permit::new(self, Phase::Opening))
    }

    /// Wakes the task that opens sessions, if one is wanted.
    pub(super) fn look(&self, state: &State<S>) {
        if state.is_session_wanted() {
            self.wanted.notify_one();
        }
    }

    /// Sets how many sessions may be opened at a time.
    pub(crate) fn limit_opening(&self, limit: impl FnOnce(u32) -> u32) {
        let mut state = self.state();
        state.opening_limit = limit(state.opening_limit).min(state.wanted);
        self.look(&state);
    }

    /// Whether no session is being opened or ended, or should be opened.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state();
        state.opening + state.ending == 0 && !state.is_session_wanted()
    }
}
