//! A place in the pool: what bb8 and the gate know of a session.

use std::sync::{Arc, Mutex, PoisonError};

use bb8_postgres::bb8::{ManageConnection, PooledConnection};
use tokio::runtime::Handle;

use super::connect_error::ConnectError;
use super::connector::Connector;
use super::gate::Permit;
use super::pool::Pool;
use super::session::Session;

/// A place in the pool and the session in it. Dropped, it makes the session idle.
#[derive(Debug)]
pub(crate) struct Place {
    // Dropped in this order: the permit is free when the session is.
    slot: Slot,
    permit: Permit<Slot>,
    pool: Lending,
}

impl Place {
    pub(super) fn new(slot: Slot, permit: Permit<Slot>, pool: Arc<Pool>) -> Self {
        Self { slot, permit, pool: Lending(pool) }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool.0
    }

    pub(super) fn session(&self) -> &Session {
        self.slot.session().expect("only the end of a place takes its session")
    }

    /// Records that the session has been used until now.
    pub(super) fn used(&mut self) {
        if let Some(session) = self.slot.kept() {
            session.returned();
        }
    }

    /// Gives the session to one who waits for it, or lets it rest where it is driven.
    pub(super) fn rest(self) {
        let runtime = self.session().runtime();
        let Self { slot, permit, pool: _lending } = self;
        permit.rest(runtime, slot);
    }

    /// Ends the session, and gives the place on when it has ended.
    pub(super) async fn end(mut self) {
        if let Some(session) = self.slot.take() {
            session.end().await;
        }
    }
}

/// The pool, which is told when a place has become free.
#[derive(Debug)]
struct Lending(Arc<Pool>);

impl Drop for Lending {
    fn drop(&mut self) {
        self.0.returned();
    }
}

/// A session that bb8 keeps, or has lent to us.
#[derive(Debug)]
pub(super) struct Slot {
    lent: Option<PooledConnection<'static, Manager>>,
    home: Handle,
}

impl Slot {
    pub(super) fn new(lent: PooledConnection<'static, Manager>, home: Handle) -> Self {
        Self { lent: Some(lent), home }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.lent.as_ref()?.0.as_deref()
    }

    fn kept(&mut self) -> Option<&mut Session> {
        self.lent.as_mut()?.0.as_deref_mut()
    }

    /// Takes the session out: bb8 may open another one in its place when this is dropped.
    pub(super) fn take(&mut self) -> Option<Box<Session>> {
        self.lent.as_mut()?.0.take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // bb8 opens a replacement for what has ended, on the runtime that it finds.
        let _home = self.home.enter();
        drop(self.lent.take());
    }
}

/// What bb8 keeps; `None` when the session has been taken out.
#[derive(Debug)]
pub(super) struct Kept(Option<Box<Session>>);

impl Kept {
    pub(super) fn new(session: Box<Session>) -> Self {
        Self(Some(session))
    }
}

/// Opens sessions for bb8.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) connector: Arc<Connector>,
    /// Those that the start has opened already.
    pub(super) opened: Mutex<Vec<Box<Session>>>,
}

impl ManageConnection for Manager {
    type Connection = Kept;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match opened {
            Some(session) => session,
            None => self.connector.open().await?,
        };
        Ok(Kept::new(session))
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, kept: &mut Self::Connection) -> bool {
        kept.0.is_none()
    }
}
