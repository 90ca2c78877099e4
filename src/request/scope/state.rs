//! What the lazy connection of a request has borrowed.

use std::sync::{Arc, Weak};

use crate::lease::{Lease, Lender};
use crate::request::borrow::Borrow;

/// What the lazy connection of a request has borrowed.
///
/// ```text
///          first use               borrowed
///   Idle ────────────> Borrowing ────────────> Leased
///    ^ <────────────────── │ gave up             │
///    └───────────────────────────────────────────┘ release
///   any ── the request is over ──> Detached        any ── close ──> Closed
///   any ── its other connection is used ──> Detached
/// ```
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is borrowed.
    Idle,
    /// Statements wait for a session together. The wait ends with the last of them.
    Borrowing(Weak<Borrow>),
    /// A session is borrowed.
    Leased(Arc<Lease>),
    /// In a sandbox: each statement waits for a turn, unless a transaction, stream or copy of this request has one.
    Turns(Weak<Lease>),
    /// The request is over, or uses its connection for writes. Every statement borrows and returns by itself.
    Detached,
    /// Closed by the handler for good.
    Closed,
}

impl State {
    /// Where nothing has been borrowed yet.
    pub(super) fn idle(lender: &Lender) -> Self {
        if lender.in_turns() { Self::Turns(Weak::new()) } else { Self::Idle }
    }

    /// Whether a session is borrowed, or somebody waits for one.
    pub(super) fn borrows(&self) -> bool {
        match self {
            Self::Leased(_) => true,
            Self::Borrowing(borrow) => borrow.strong_count() > 0,
            _ => false,
        }
    }

    /// One word, for `Debug`.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Idle | Self::Turns(_) => "idle",
            Self::Borrowing(_) => "borrowing",
            Self::Leased(_) => "leased",
            Self::Detached => "its request is over",
            Self::Closed => "closed",
        }
    }
}
