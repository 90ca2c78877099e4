//! The client itself, lent to the application.

use std::thread;

use super::SessionUse;
use crate::lease::state::Reply;
use crate::sql::SideEffects;
use crate::{Error, Result};

impl SessionUse {
    /// Waits until the client may be lent. Nothing is known of the statements that are sent through it.
    pub(crate) async fn lend_client(&mut self) -> Result<()> {
        if self.is_unpinned() {
            return Err(Error::NeedsSession("`Connection::client`"));
        }
        self.send(SideEffects::UNKNOWN, Reply::Whole).await?;
        let mut state = self.lease.state();
        state.mark_untracked();
        state.client_guards += 1;
        Ok(())
    }

    /// Records that the client has been returned. Its user may have undone settings.
    ///
    /// Until now it counted as a statement in flight, because a cancel could have hit what was done with it.
    pub(crate) fn client_returned(&mut self) {
        let mut state = self.lease.state();
        state.invalidate_settings();
        state.client_guards -= 1;
        drop(state);
        if !thread::panicking() {
            let _ = self.answered(Ok(()));
        }
    }
}
