//! Has every session that is open now replaced, spread over some time.
//!
//! Each gets a time of its own, from which on it is too old. The rest is as with `max_lifetime`: it ends at its next return, or is
//! replaced where it rests, one at a time.

use std::time::Duration;

use super::Pool;
use crate::telemetry;

impl Pool {
    /// Has the sessions replaced within this time. New ones are not touched.
    pub(crate) fn renew(&self, within: Duration) {
        let sessions = self.stats().board.sessions();
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        let share = within / count.max(1);
        for (number, session) in (0..count).zip(&sessions) {
            // A random part of it, because other processes may have been told at the same moment.
            session.renew_after(share * number + share.mul_f64(rand::random()));
        }
        telemetry::sessions_renewed(self.stats().name(), count, within);
    }
}
