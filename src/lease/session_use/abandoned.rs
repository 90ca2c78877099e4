//! A statement whose answer nobody reads to its end.

use super::SessionUse;

/// So many unwanted rows are read away; it takes longer to cancel them.
const FEW: u64 = 1_000;

impl SessionUse {
    /// Whether the rest of an answer is to be cancelled when so many rows have come that nobody wants. Not where that undoes something.
    pub(crate) fn is_too_much(&self, unwanted: u64) -> bool {
        unwanted == FEW && self.stands_alone() && self.only_reads()
    }

    /// Records that the answer to what was sent will not be read. The next statement waits until it is cancelled.
    pub(crate) fn abandon(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.lease.abandoned(sent, self.within, self.lease.state());
        }
    }
}

impl Drop for SessionUse {
    fn drop(&mut self) {
        let mut state = self.lease.state();
        state.users -= 1;
        let preparing = self.preparing;
        if preparing {
            state.not_prepared();
        }
        if let Some(sent) = self.sent.take() {
            self.lease.abandoned(sent, self.within, state);
        } else {
            drop(state);
        }
        if preparing {
            self.lease.opened();
        }
    }
}
