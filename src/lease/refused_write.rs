//! A write that was refused because nothing may be written: SQLSTATE 25006.
//!
//! ```text
//!   begun READ ONLY ────────────────────────> the error is the application's
//!   otherwise ──> the transaction ends ──> the server is asked, in the background
//!                                           │ it takes writes: the error was the application's
//!                                           └ it does not: the sessions of this host end at their return
//! ```
//!
//! Only where the session is expected to write. A server stops taking writes when another one was promoted, or its configuration says
//! so; its sessions would stay in the pool, and fail every write.
//!
//! A refused `COPY … FROM STDIN` breaks its session, which can be asked nothing more. Then another connection asks the server, in the
//! place of the session and before that is free.

use std::sync::Arc;

use super::Lease;
use super::health::Health;
use super::repair::CutOff;
use super::state::LeaseState;
use crate::Error;
use crate::stats::EndReason;
use crate::tokio_postgres::error::SqlState;

impl Lease {
    /// Records that a write was refused, if `err` says that. Marks the error as one that another attempt may not meet, unless the
    /// application may have asked for it.
    pub(super) fn note_refused_write(&self, err: Error) -> Error {
        let code = &SqlState::READ_ONLY_SQL_TRANSACTION;
        if err.code() != Some(code) || !self.session().writes() {
            return err;
        }
        let is_set = self.settings().ask_for_read_only();
        let mut state = self.state();
        if state.transactions.is_read_only() || state.transactions.is_nested() {
            return err;
        }
        state.refused_write = true;
        let may_be_asked_for = is_set || state.untracked || state.side_effects.read_only;
        if may_be_asked_for { err } else { err.of_read_only_server() }
    }

    /// Asks the server at home whether it still takes writes, if it has refused one and no transaction is open. If it does not, the
    /// session is lost for those who still use it. Nobody sends meanwhile: the question must not be the first of a transaction.
    pub(super) fn ask_after_refused_write(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.take_refused_write() {
            return;
        }
        state.health.hold();
        drop(state);
        let (lease, bound) = (Arc::clone(self), self.pool().session_settings().reset_timeout);
        // Created before the task: a home that has stopped drops the task without polling it.
        let cut_off = CutOff::of(self);
        self.pool().home().spawn(async move {
            let mut cut_off = cut_off;
            let is_answered = lease.session().looks_again(bound).await;
            cut_off.done();
            let mut state = lease.state();
            // An answer that is still due would be waited for by whoever sends next.
            if !is_answered || lease.session().retire_reason() == Some(EndReason::ReadOnly) {
                state.health.break_down();
            }
            // Another connection asks when this session has ended.
            state.refused_write |= !is_answered;
            state.health.release();
            lease.repair_if_due(state);
            lease.opened();
        });
    }
}

impl LeaseState {
    /// Whether the server can be asked now, and has to be.
    fn take_refused_write(&mut self) -> bool {
        let due = self.refused_write
            && self.health == Health::Sound
            && self.in_flight == 0
            && self.streaming.is_none()
            && !self.in_transaction()
            && !self.side_effects.transaction
            && self.client_guards == 0;
        self.refused_write &= !due;
        due
    }
}
