//! The bb8 pool, which counts the sessions and opens them.
//!
//! As bb8 sees it, every session is lent from its login to its end. The gate in front of it decides who gets a session, how long one
//! idles, and when another one is opened: bb8 would hold its floor, end idle sessions and wake waiters without looking at how
//! many sessions the server still has.

use std::sync::Arc;

use bb8::{ManageConnection, Pool, PooledConnection};
use bb8_postgres::{bb8 as paired_bb8, tokio_postgres as paired_driver};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::session::ConnectError;
use crate::session::Connector;
use crate::session::Session;
use crate::stats::EndReason;

// bb8-postgres names the versions of bb8 and of the driver that fit each other: ours are the same crates.
const _: fn(paired_bb8::State) -> bb8::State = |same| same;
const _: fn(paired_driver::Client) -> tokio_postgres::Client = |same| same;

#[derive(Debug)]
pub(crate) struct Bb8Pool(Pool<Manager>);

impl Bb8Pool {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        let pool = Pool::builder()
            // The gate has the bound, because bb8's cannot be changed. Nothing is allocated for it.
            .max_size(u32::MAX)
            .min_idle(None)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .retry_connection(false)
            .build_unchecked(Manager { connector });
        Self(pool)
    }

    /// Opens a session. Called at home, by the holder of a place.
    pub(crate) async fn open(&self) -> Result<Bb8Session, ConnectError> {
        let managed = self.0.dedicated_connection().await?;
        Ok(self.lend(managed))
    }

    /// Counts a session that is open already. Called at home, by the holder of a place.
    pub(crate) fn add(&self, session: Box<Session>) -> Bb8Session {
        self.lend(Managed { session: Some(session) })
    }

    fn lend(&self, managed: Managed) -> Bb8Session {
        self.0.add(managed).expect("there is room in bb8 for each place");
        let lent = self.0.get_owned().now_or_never().and_then(Result::ok);
        let lent = lent.expect("one has just been added");
        Bb8Session { lent: Some(lent), home: Handle::current(), counted: false }
    }

    /// The number of sessions that are open or about to end.
    pub(crate) fn open_sessions(&self) -> u32 {
        self.0.state().connections
    }
}

/// A session that bb8 has lent. Its drop ends the session, so bb8 never sees one again.
#[derive(Debug)]
pub(crate) struct Bb8Session {
    lent: Option<PooledConnection<'static, Manager>>,
    home: Handle,
    /// Its end has been counted.
    counted: bool,
}

impl Bb8Session {
    pub(crate) fn session(&self) -> &Session {
        let lent = self.lent.as_ref().and_then(|lent| lent.session.as_deref());
        lent.expect("only the end of a session takes its session")
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        let lent = self.lent.as_mut().and_then(|lent| lent.session.as_deref_mut());
        lent.expect("only the end of a session takes its session")
    }

    /// Counts the end of the session, for its first reason.
    pub(crate) fn count_ended(&mut self, reason: EndReason) {
        if !std::mem::replace(&mut self.counted, true) {
            self.session().stats().count_ended(reason);
        }
    }

    /// Ends the session, and returns when the server has hung up or [`Session::end`] has given up.
    pub(crate) async fn end(mut self) {
        if let Some(session) = self.lent.as_mut().and_then(|lent| lent.session.take()) {
            session.end().await;
        }
    }
}

impl Drop for Bb8Session {
    fn drop(&mut self) {
        if self.lent.as_ref().is_some_and(|lent| lent.session.is_some()) {
            // It rested, or was about to, when the gate was closed.
            self.count_ended(EndReason::Closed);
        }
        let _home = self.home.enter();
        if let Some(mut lent) = self.lent.take() {
            drop(lent.session.take());
        }
    }
}

/// The connection of bb8's [`ManageConnection`]. `None` when the session has been taken out.
#[derive(Debug)]
struct Managed {
    session: Option<Box<Session>>,
}

/// Opens sessions for bb8.
#[derive(Debug)]
struct Manager {
    connector: Arc<Connector>,
}

impl ManageConnection for Manager {
    type Connection = Managed;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        Ok(Managed { session: Some(self.connector.open().await?) })
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, managed: &mut Self::Connection) -> bool {
        managed.session.is_none()
    }
}
