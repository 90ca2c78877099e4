//! What has happened in a pool since it was made.

use std::sync::atomic::{AtomicU64, Ordering};

use super::EndReason;
use super::shards::Shards;

/// Counts events, each in the shard of its thread. The pool holds it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    events: Shards<[AtomicU64; Event::COUNT]>,
    ended: Shards<[AtomicU64; EndReason::COUNT]>,
}

/// An event that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A session was lent.
    Borrow,
    /// A borrower had to wait.
    Wait,
    /// A wait lasted for `acquire_timeout`.
    Timeout,
    /// A borrower was turned away, because the queue was full or no session could be had.
    Refusal,
    /// A session was opened.
    Open,
    /// A session was reset.
    Reset,
    /// A cancel request was sent.
    Cancel,
    /// A transaction was run again.
    Retry,
    /// A cached statement was prepared anew.
    Renewal,
    /// A statement was sent on a shared session.
    SharedRead,
    /// A statement was asked again elsewhere, because one before it took too long.
    AskedAgain,
}

impl Event {
    const COUNT: usize = Self::AskedAgain as usize + 1;
}

impl Counts {
    pub(crate) fn count(&self, event: Event) {
        self.events.own()[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_ended(&self, reason: EndReason) {
        self.ended.own()[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, event: Event) -> u64 {
        self.events.iter().map(|shard| shard[event as usize].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn ended(&self, reason: EndReason) -> u64 {
        self.ended.iter().map(|shard| shard[reason as usize].load(Ordering::Relaxed)).sum()
    }
}
