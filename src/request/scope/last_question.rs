//! The last question of a request: how far it has written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Scope, State};
use crate::lease::{Borrower, SessionUse};
use crate::request::written::Written;

/// The longest wait for the answer. The client waits for its response meanwhile.
const WAIT: Duration = Duration::from_secs(1);

impl Scope {
    /// Asks the server up to where the request may have written. Waits for no session: where none is at hand, or its server does not
    /// answer in time, nobody knows. `None` if no session has been borrowed.
    pub(in crate::request) async fn written(self: &Arc<Self>) -> Option<Written> {
        if !self.is_used() {
            return None;
        }
        let answer = match self.at_hand() {
            Some(session_use) => timeout(WAIT, session_use.position()).await.ok(),
            None => None,
        };
        let position = answer.and_then(Result::ok).flatten();
        Some(position.map_or(Written::Somewhere, Written::UpTo))
    }

    /// A user of the request's session, or of one that is free.
    fn at_hand(&self) -> Option<SessionUse> {
        let lease = match &*self.state() {
            State::Leased(lease) => Some(Arc::clone(lease)),
            State::Turns(turn) => turn.upgrade(),
            // Whoever waits for a session will write later.
            State::Idle | State::Borrowing(_) | State::Detached | State::Closed => None,
        };
        // What a task still does there is neither waited for nor failed by a question that is given up.
        if lease.as_ref().is_some_and(|lease| lease.busy_with().is_some()) {
            return None;
        }
        // No line of the application asks for it.
        let borrower = Borrower { request: &self.info, caller: None };
        let lease = lease.or_else(|| self.lender.acquire_now(borrower))?;
        lease.enter().ok()
    }
}
