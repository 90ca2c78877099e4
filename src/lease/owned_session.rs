//! A session of the pool that somebody else owns.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

use crate::pool::PooledSession;
use crate::stats::{Activity, Doing, EndReason, Holder, Place};
use crate::tokio_postgres::Client;

/// A session to own: a `&mut` [`Client`](crate::tokio_postgres::Client) with a place of the pool.
/// [`Database::session`](crate::Database::session) lends it.
///
/// With a `&mut Client` anything may be done to a session. So it is never reset and never lent again:
/// its drop ends it. What still runs on it is cancelled, an open transaction is rolled back, and its place in the pool is free when it
/// has ended on the server. That happens in the background, also after a panic.
///
/// `command_timeout`, `echo` and the settings of a request do not apply to what is done with it.
pub struct OwnedSession {
    /// `Some` until the drop.
    pooled: Option<PooledSession>,
    /// What the board looks at, while the session is owned.
    _owner: Arc<Owner>,
}

impl OwnedSession {
    /// Has the current runtime drive the session.
    pub(super) fn new(pooled: PooledSession, place: Place) -> Self {
        let owner = Arc::new(Owner);
        let holder = Holder { place, lease: Arc::downgrade(&owner) as Weak<dyn Activity> };
        pooled.session().driver().adopt();
        pooled.session().cell().lend(holder, pooled.taken());
        Self { pooled: Some(pooled), _owner: owner }
    }
}

impl Deref for OwnedSession {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.pooled.as_ref().expect("only the drop takes it").session().client()
    }
}

impl DerefMut for OwnedSession {
    fn deref_mut(&mut self) -> &mut Client {
        self.pooled.as_mut().expect("only the drop takes it").session_mut().client_mut()
    }
}

impl Drop for OwnedSession {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take() {
            pooled.discard_unknown(EndReason::Owned);
        }
    }
}

impl fmt::Debug for OwnedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSession").finish_non_exhaustive()
    }
}

/// Whoever owns a session, as the board sees it.
struct Owner;

impl Activity for Owner {
    fn activity(&self) -> Doing {
        Doing { standalone: false, owned: true, in_transaction: false, in_flight: false, latest: None }
    }
}
