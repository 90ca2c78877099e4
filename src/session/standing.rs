//! Whether a session may be lent again.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::stats::EndReason;

// What is worse is greater, and stays.
const GOOD: u8 = 0;
const STATEMENTS_DROPPED: u8 = 1;
const READ_ONLY: u8 = 2;
const SILENT: u8 = 3;

/// Whether a session may be lent again. The session has it, and its host, which may take it back.
#[derive(Debug, Default)]
pub(crate) struct Standing(AtomicU8);

impl Standing {
    /// The server has dropped prepared statements: the cache, and the driver's own for type look-ups, are wrong.
    pub(super) fn statements_dropped(&self) {
        self.0.fetch_max(STATEMENTS_DROPPED, Ordering::Relaxed);
    }

    /// Its server does not take writes any more.
    pub(super) fn server_is_read_only(&self) {
        self.0.fetch_max(READ_ONLY, Ordering::Relaxed);
    }

    /// Its server does not answer any more.
    pub(super) fn server_is_silent(&self) {
        self.0.fetch_max(SILENT, Ordering::Relaxed);
    }

    pub(super) fn is_silent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SILENT
    }

    /// Why the session has to end, if so.
    pub(super) fn retire_reason(&self) -> Option<EndReason> {
        match self.0.load(Ordering::Relaxed) {
            GOOD => None,
            READ_ONLY => Some(EndReason::ReadOnly),
            SILENT => Some(EndReason::CheckFailed),
            _ => Some(EndReason::StatementsDropped),
        }
    }
}
