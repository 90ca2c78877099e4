//! A place in the pool: what bb8 and the gate know of a session.

use std::sync::Arc;

use bb8_postgres::bb8::PooledConnection;
use tokio::runtime::Handle;

use super::gate::Permit;
use super::pool::Pool;
use super::session::Session;
use super::stock::Manager;

/// A place in the pool and the session in it. Dropped, it makes the session idle.
#[derive(Debug)]
pub(crate) struct Place {
    // Dropped in this order: the permit is free when the session is.
    slot: Slot,
    permit: Permit<Slot>,
    pool: Arc<Pool>,
}

impl Place {
    pub(super) fn new(slot: Slot, permit: Permit<Slot>, pool: Arc<Pool>) -> Self {
        Self { slot, permit, pool }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
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
        self.permit.rest(runtime, self.slot);
    }

    /// Ends the session, and gives the place on when it has ended.
    pub(super) async fn end(mut self) {
        if let Some(session) = self.slot.take() {
            session.end().await;
        }
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
        self.lent.as_ref()?.session.as_deref()
    }

    fn kept(&mut self) -> Option<&mut Session> {
        self.lent.as_mut()?.session.as_deref_mut()
    }

    /// Takes the session out: bb8 may open another one in its place when this is dropped.
    pub(super) fn take(&mut self) -> Option<Box<Session>> {
        self.lent.as_mut()?.session.take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // bb8 opens a replacement for what has ended, on the runtime that it finds.
        let _home = self.home.enter();
        drop(self.lent.take());
    }
}
