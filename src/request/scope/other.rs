//! The two connections of a request: one for writes, and beside it one for reads.
//!
//! ```text
//!   a read ──> the connection for reads ──> has that for writes been used? ── no ──> a session of the reader
//!                                                     │ yes
//!   a write ──> the connection for writes <───────────┘
//!                 └─ has that for reads give its session back
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use super::{Scope, State};
use crate::database::Untyped;

/// The other connection of a request, if it has two.
#[derive(Default)]
pub(super) struct Other {
    /// That for reads.
    reader: OnceLock<Weak<Scope>>,
    /// That for writes, if this one is for reads. It serves as soon as it is used.
    writer: Option<Arc<Scope>>,
}

impl Scope {
    /// The connection of the same request for reads from this database, with the same settings and deadline. Called once.
    pub(in crate::request) fn beside(self: &Arc<Self>, database: &Untyped) -> Arc<Self> {
        let other = Other { writer: Some(Arc::clone(self)), ..Other::default() };
        let reader = Arc::new(Self { other, ..Self::new(database, Arc::clone(&self.info)) });
        let _ = self.other.reader.set(Arc::downgrade(&reader));
        reader
    }

    /// The connection that serves the next statement.
    pub(super) fn serving(self: &Arc<Self>) -> &Arc<Self> {
        match &self.other.writer {
            Some(writer) if writer.is_used() => writer,
            _ => self,
        }
    }

    /// Has the connection for reads give its session back. Both may borrow from one pool: where each request held one session and
    /// waited for another, none would go on.
    pub(super) fn detach_reader(&self) {
        if let Some(reader) = self.other.reader.get().and_then(Weak::upgrade) {
            reader.detach();
        }
    }

    /// Whether a session has been borrowed. A read that is shared needs none.
    pub(in crate::request) fn is_used(&self) -> bool {
        self.state().borrows() || self.was_leased.load(Ordering::Acquire)
    }

    /// Notes that a session is given back. Under the lock, so that [`is_used`](Self::is_used) finds either.
    pub(super) fn left(&self, left: &State) {
        // Whoever still waits gets a session after the end of the request.
        if left.borrows() {
            self.was_leased.store(true, Ordering::Release);
        }
    }
}
