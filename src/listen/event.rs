//! What a stream of notifications says.

use std::fmt;
use std::sync::Arc;

use crate::tokio_postgres;

/// An item of the stream that [`Database::listen`](crate::Database::listen) returns.
///
/// Two of the three say that something may have been missed. Both mean the same for the application: look into the database, which has what
/// has happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Somebody has sent a notification, by `NOTIFY` or `pg_notify`, and his transaction is committed.
    Notification(Notification),
    /// The connection was lost and there is another one now. What was sent in between is lost. What is sent from now on is heard.
    Reconnected,
    /// The stream was not read in time: this many notifications came while its buffer was full, and are lost.
    Missed(u64),
}

/// A notification: [`NOTIFY`](https://www.postgresql.org/docs/current/sql-notify.html) on a channel. Cheap to clone.
#[derive(Clone)]
pub struct Notification(Arc<tokio_postgres::Notification>);

impl Notification {
    pub(super) fn new(notification: tokio_postgres::Notification) -> Self {
        Self(Arc::new(notification))
    }

    /// Returns the channel on which it was sent.
    pub fn channel(&self) -> &str {
        self.0.channel()
    }

    /// Returns what was sent: less than 8,000 bytes. Empty for a `NOTIFY` without a payload.
    pub fn payload(&self) -> &str {
        self.0.payload()
    }

    /// Returns the process of the server that sent it, as `pg_backend_pid()` names it.
    pub fn process_id(&self) -> i32 {
        self.0.process_id()
    }
}

/// Without the payload, which may be data of a row.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("channel", &self.channel())
            .field("process_id", &self.process_id())
            .finish_non_exhaustive()
    }
}
