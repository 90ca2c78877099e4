//! A place in the pool: what bb8 and the gate know of a session.

use std::sync::{Arc, Mutex, PoisonError};

use super::connect_error::ConnectError;
use super::connector::Connector;
use super::gate::Permit;
use super::lease::Lease;
use super::pool::Pool;
use super::session::Session;
use super::shelf::{Shelf, Token};
use bb8_postgres::bb8::{ManageConnection, PooledConnection};

/// A place in the pool, with room for one session. Dropped empty, it may be given to a new one.
#[derive(Debug)]
pub(crate) struct Place {
    slot: Option<Slot>,
    permit: Option<Permit<Arc<Lease>>>,
    pool: Arc<Pool>,
}

impl Place {
    pub(super) fn new(slot: Slot, permit: Permit<Arc<Lease>>, pool: Arc<Pool>) -> Self {
        Self { slot: Some(slot), permit: Some(permit), pool }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Takes the session of this place off the shelf.
    pub(super) fn take(&mut self) -> Option<Box<Session>> {
        self.slot.as_mut()?.spend()
    }

    /// Makes a session idle again.
    pub(super) fn put(mut self, session: Box<Session>) {
        if let Some(slot) = &mut self.slot {
            slot.restore(session);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // bb8 opens a replacement for what has ended, on the runtime that it finds.
        let _home = self.pool.home().enter();
        drop(self.slot.take());
        drop(self.permit.take());
        self.pool.returned();
    }
}

/// A token in bb8's keeping, or on loan from it.
pub(super) type Slot = PooledConnection<'static, Manager>;

/// Opens sessions for bb8.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) connector: Arc<Connector>,
    pub(super) shelf: Arc<Shelf>,
    /// Those that the start has opened already.
    pub(super) opened: Mutex<Vec<Box<Session>>>,
}

impl ManageConnection for Manager {
    type Connection = Token;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match opened {
            Some(session) => session,
            None => self.connector.open().await?,
        };
        Ok(self.shelf.stock(session))
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, token: &mut Self::Connection) -> bool {
        token.is_spent()
    }
}
