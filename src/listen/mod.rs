//! Notifications, as streams that share one session.
//!
//! ```text
//!                    the driver's connection                  Inbox ──> Events (a stream)
//!   the server ──────────────────────────────> Registry ────> Inbox ──> Events
//!       ^        notifications                    │ what is listened to
//!       │ LISTEN, UNLISTEN                        v
//!       └────────────────────────────────────── keeper (a task at home, with the session)
//! ```
//!
//! A request cannot listen on its session, which goes back and is reset. So one session, beside those of the pool, listens for all streams of a
//! database. The [`registry`] knows who listens to what; it passes notifications on while the driver polls the connection, and so
//! waits for no reader. The [`keeper`] opens the session for the first stream, keeps the server informed, opens another one
//! after a loss, and ends it after the last stream. To follow a notification, begin at [`registry::Registry::deliver`].

mod channel;
mod event;
mod inbox;
mod outage;
mod registry;
mod events;
mod keeper;

pub use event::{Event, Notification};
pub use events::Events;

use std::sync::Arc;

use crate::config::Pooler;
use crate::pool::{AcquireError, Pool};
use crate::{Error, Result};
use registry::Registry;

/// Who listens to a database. Its handles share it.
#[derive(Debug)]
pub(crate) struct Listening {
    registry: Arc<Registry>,
    pool: Arc<Pool>,
}

impl Listening {
    /// Opens nothing yet.
    pub(crate) fn new(pool: &Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { registry: Arc::default(), pool: Arc::clone(pool) })
    }

    /// Adds a stream, and returns when the server listens for it. Cancel safety: a stream that was not returned is taken out.
    pub(crate) async fn listen(&self, channels: Vec<String>) -> Result<Events> {
        if self.pool.session_settings().pooler == Pooler::Transaction {
            return Err(Error::NeedsSession("`Database::listen`"));
        }
        channels.iter().try_for_each(|name| channel::checked(name))?;
        let channels = channels.into_iter().map(Arc::from);
        let (registration, confirmation, is_first) = self.registry.add(channels)?;
        if is_first {
            keeper::start(&self.registry, &self.pool);
        }
        match confirmation.await {
            Ok(confirmed) => confirmed?,
            Err(_) => return Err(self.registry.refusal()),
        }
        Ok(Events::new(registration))
    }

    /// Ends all streams, and the session in the background.
    pub(crate) fn close(&self) {
        self.registry.end(AcquireError::DatabaseClosed);
    }
}
