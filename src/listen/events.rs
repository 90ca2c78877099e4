//! The stream of those who listen.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::event::Event;
use super::registry::Registration;

/// A stream of [`Event`]s: the notifications on some channels. [`Database::listen`](crate::Database::listen) returns it.
///
/// It goes on after a loss of the connection, which it reports, and ends with [`Database::close`](crate::Database::close). It keeps 1,024
/// unread notifications; of more, the oldest are dropped, and counted. So a stream that is not read delays no other.
///
/// Dropping it ends the listening. It borrows nothing from the pool.
#[must_use = "nobody hears what a stream that is dropped was to hear"]
pub struct Events(Registration);

impl Events {
    pub(super) fn new(registration: Registration) -> Self {
        Self(registration)
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.inbox.poll(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
