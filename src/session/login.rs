//! A connection that has logged in, and is driven to its end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::connect_error::{Cause, ConnectError};
use super::dialect::Dialect;
use super::driver::Driver;
use super::hosts::Host;
use super::lag::LagBound;
use super::names::Names;
use super::notices::{self, Heard};
use super::role::{self, Role};
use super::standing::Standing;
use super::stream::Address;
use super::value::value;
use crate::config::{Pooler, SessionSettings, TargetSessionAttrs};
use crate::stats::Stats;
use crate::telemetry;
use crate::tokio_postgres::{Client, Connection, Error};

/// A server that has not answered for so long is taken for silent.
const SILENCE: Duration = Duration::from_millis(1500);

/// The longest wait for the server to hang up after a goodbye. The socket is closed then.
const GOODBYE: Duration = Duration::from_secs(5);

/// A connection that has logged in. Its drop says goodbye to the server in the background; [`end`](Self::end) waits for that.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(super) client: Client,
    pub(super) driver: Driver,
    pub(super) place: Place,
}

/// What a session knows of its server.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) address: Address,
    pub(super) host: Arc<Host>,
    pub(super) standing: Arc<Standing>,
    /// That of PostgreSQL, until another one is found.
    pub(super) dialect: Dialect,
    /// With a pooler that gives each transaction another backend.
    pub(super) names: Names,
    /// The session is expected to write.
    pub(super) writes: bool,
    wanted: TargetSessionAttrs,
}

impl Place {
    pub(super) fn new(
        address: &Address,
        host: &Arc<Host>,
        reported: Option<Role>,
        wanted: TargetSessionAttrs,
    ) -> Self {
        Self {
            address: address.clone(),
            standing: host.add(),
            dialect: Dialect::default(),
            names: Names::default(),
            host: Arc::clone(host),
            writes: Role::writes(reported, wanted),
            wanted,
        }
    }

    /// Has the sessions of this host end, if its server does not take writes any more. Asks it.
    pub(super) async fn look_again(&self, client: &Client) {
        if self.standing.retire_reason().is_none() && role::was_demoted(client, self.wanted).await {
            self.host.became_read_only();
        }
    }

    /// Waits for a sign of the server itself, which answers at once if it runs. Where it is silent, its sessions end without a
    /// goodbye: also where the wait is dropped.
    pub(super) fn waits_for_server(&self) -> Patience<'_> {
        Patience { place: self, since: Instant::now() }
    }
}

/// A wait for a server that answers at once if it runs. Its drop means that there was no answer.
pub(super) struct Patience<'a> {
    place: &'a Place,
    since: Instant,
}

impl Patience<'_> {
    /// The server has answered, in whatever way.
    pub(super) fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= SILENCE {
            self.place.standing.server_is_silent();
            self.place.host.became_silent();
        }
    }
}

impl LoggedIn {
    /// Has the current runtime, its home, drive a connection to its end. `drivers` waits for that, and `alive` is dropped with it.
    pub(super) fn new<S, T>(
        (client, connection): (Client, Connection<S, T>),
        place: Place,
        moved: Arc<AtomicBool>,
        stats: &Arc<Stats>,
        drivers: &TaskTracker,
        alive: Arc<Alive>,
        heard: Option<Heard>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stats = Arc::clone(stats);
        let driver = Driver::start(moved, |dropped| {
            drivers.track_future(async move {
                let _alive = alive;
                let connection = pin!(notices::driven(connection, &stats, heard));
                let ended = match select(connection, dropped).await {
                    Either::Left((ended, _)) => Ok(ended),
                    Either::Right((_, connection)) => timeout(GOODBYE, connection).await,
                };
                match ended {
                    Ok(Ok(())) => telemetry::session_closed(stats.name()),
                    Ok(Err(err)) => telemetry::session_lost(stats.name(), &err),
                    Err(_) => telemetry::session_abandoned(stats.name()),
                }
            })
        });
        Self { client, driver, place }
    }

    /// Sets what a pooler in session mode has not passed on of the start-up parameters, and finds out what one in transaction mode does
    /// with names. Where none is declared, fails if the server has not got the start-up parameters. One session of each host is asked.
    pub(super) async fn adapt(&mut self, settings: &SessionSettings) -> Result<(), Cause> {
        let host = &self.place.host;
        match settings.pooler {
            Pooler::None if settings.not_in_force.is_empty() || host.gets_settings() => {}
            Pooler::None => {
                match value(&self.client, &settings.not_in_force).await {
                    Ok(Some(setting)) => return Err(Cause::Dropped(setting)),
                    // The login may not look, or the server lists none: nobody knows.
                    Err(err) if err.code().is_none() => return Err(err.into()),
                    Ok(None) | Err(_) => host.got_settings(),
                }
            }
            Pooler::Session => self.client.batch_execute(&settings.restore).await.map_err(Cause::from)?,
            Pooler::Transaction => self.place.names = Names::of(&self.client).await.map_err(Cause::from)?,
        }
        Ok(())
    }

    /// Fails if the server is a standby that is too far behind.
    pub(super) async fn check_lag(&self, bound: Option<&LagBound>) -> Result<(), Cause> {
        match bound {
            Some(lag) if !lag.allows(&self.client).await? => Err(Cause::TooFarBehind(lag.most())),
            _ => Ok(()),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether its host was found to be none that is wanted any more, or to be silent.
    pub(crate) fn is_given_up(&self) -> bool {
        self.place.standing.retire_reason().is_some() || self.place.standing.is_silent()
    }

    /// What the server said to something that it has to do first.
    pub(crate) fn refused(&self, err: Error) -> ConnectError {
        ConnectError::new(self.place.address.to_string(), err.into())
    }

    /// That it said nothing.
    pub(crate) fn silent(&self, bound: Duration) -> ConnectError {
        ConnectError::new(self.place.address.to_string(), Cause::TimedOut(bound))
    }

    /// Resolves when the connection has ended. Must not be called again after that.
    pub(crate) async fn ended(&mut self) {
        self.driver.ended().await;
    }

    /// Says goodbye, and returns when the server has hung up or 5 seconds have passed.
    pub(crate) async fn end(self) {
        let Self { client, driver, .. } = self;
        drop(client);
        driver.end().await;
    }
}

/// Counts a session, from [`count`](Self::count) to the end of its driver.
#[derive(Debug)]
pub(super) struct Alive {
    total: Arc<AtomicU32>,
    is_counted: AtomicBool,
}

impl Alive {
    pub(super) fn new(total: &Arc<AtomicU32>) -> Arc<Self> {
        Arc::new(Self { total: Arc::clone(total), is_counted: AtomicBool::new(false) })
    }

    /// Called once, when the session may be used.
    pub(super) fn count(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.is_counted.store(true, Ordering::Release);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if *self.is_counted.get_mut() {
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
