//! The bb8 pool: it counts the sessions, opens them, holds the floor and ends those that idle too long. Everything of it
//! happens at home.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8_postgres::bb8::{ManageConnection, Pool, QueueStrategy, RunError};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::connect_error::ConnectError;
use super::connector::Connector;
use super::home::{AtHome, Home};
use super::place::Slot;
use super::session::Session;
use crate::config::PoolSettings;

/// How often bb8 looks for sessions that have idled too long and for a floor that is not met.
pub(super) const REAPER_RATE: Duration = Duration::from_secs(1);

/// bb8 always gets a bound; waiting is bounded by us.
const UNBOUNDED: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Stock(Pool<Manager>);

impl Stock {
    /// On the current runtime, with these sessions, which are not fewer than the floor.
    pub(super) async fn new(
        settings: &PoolSettings,
        connector: Arc<Connector>,
        mut sessions: Vec<Box<Session>>,
    ) -> Result<Self, ConnectError> {
        let spare = sessions.split_off(sessions.len().min(settings.min_size as usize));
        let manager = Manager { connector, opened: Mutex::new(sessions) };
        let pool = Pool::builder()
            .max_size(settings.max_size)
            .min_idle(settings.min_size)
            .test_on_check_out(false)
            .retry_connection(false)
            .connection_timeout(UNBOUNDED)
            .idle_timeout(settings.idle_timeout)
            // Never `None` for both: the reaper is what keeps the floor.
            .max_lifetime(settings.max_lifetime.unwrap_or(UNBOUNDED))
            .reaper_rate(REAPER_RATE)
            .queue_strategy(QueueStrategy::Lifo)
            // Asks for the floor at once, and is given what is open already.
            .build(manager)
            .await?;
        for session in spare {
            let _ = pool.add(Kept { session: Some(session) });
        }
        Ok(Self(pool))
    }

    /// The idle session that was used last.
    pub(super) fn idle(&self, home: &Home) -> Option<Slot> {
        if self.counts().1 == 0 {
            return None;
        }
        self.slot(home).now_or_never()?.ok()
    }

    /// The next session that is idle; if there are not enough, bb8 opens another.
    pub(super) fn slot<'a>(
        &self,
        home: &'a Home,
    ) -> AtHome<'a, impl Future<Output = Result<Slot, RunError<ConnectError>>> + use<>> {
        let pool = self.0.clone();
        home.run(async move { Ok(Slot::new(pool.get_owned().await?, Handle::current())) })
    }

    /// Sessions that are open, and those of them that are idle here.
    pub(super) fn counts(&self) -> (u32, u32) {
        let state = self.0.state();
        (state.connections, state.idle_connections)
    }
}

/// What bb8 keeps; `None` when the session has been taken out.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) session: Option<Box<Session>>,
}

/// Opens sessions for bb8.
#[derive(Debug)]
pub(super) struct Manager {
    connector: Arc<Connector>,
    /// Those that the start has opened already.
    opened: Mutex<Vec<Box<Session>>>,
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
        Ok(Kept { session: Some(session) })
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, kept: &mut Self::Connection) -> bool {
        kept.session.is_none()
    }
}
