//! What a session of a standby is known to have.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Position, Session};
use crate::tokio_postgres::Error;

/// What the server of a session is known to have, if it was asked. The session holds it.
#[derive(Debug, Default)]
pub(super) struct Standby(Mutex<Known>);

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// Until when it need not be asked again how far it is behind.
    near_until: Option<Instant>,
    /// It was found to be here. It never goes back while its sessions live.
    position: Option<Position>,
}

impl Standby {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether the server, a standby, was found to be near enough to the primary of late.
    pub(crate) fn is_near(&self) -> bool {
        self.standby.known().near_until.is_some_and(|until| Instant::now() < until)
    }

    /// Records that the server is near enough for this time.
    pub(crate) fn near_for(&self, time: Duration) {
        self.standby.known().near_until = Instant::now().checked_add(time);
    }

    /// Whether the server is known to have what was committed before this position.
    pub(crate) fn is_known_to_have(&self, position: Position) -> bool {
        self.standby.known().position.is_some_and(|known| known.has(position))
    }

    /// Asks the server whether it has what was committed before this position. One that cannot say has not.
    pub(crate) async fn has(&self, position: Position) -> Result<bool, Error> {
        match Position::of_standby(&self.client).await {
            Ok(known) => self.standby.known().position = known,
            Err(err) if err.as_db_error().is_some() => return Ok(false),
            Err(err) => return Err(err),
        }
        Ok(self.is_known_to_have(position))
    }
}
