//! A connection that has logged in, and is driven to its end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::connect_error::{Cause, ConnectError};
use super::driver::Driver;
use super::notices::{self, Heard};
use super::stream::Address;
use crate::stats::Stats;
use crate::telemetry;
use crate::tokio_postgres::config::TargetSessionAttrs;
use crate::tokio_postgres::{Client, Connection, Error, SimpleQueryMessage};

/// The longest wait for the server to hang up after a goodbye. The socket is closed then.
const GOODBYE: Duration = Duration::from_secs(5);

/// A connection that has logged in. Its drop says goodbye to the server in the background; [`end`](Self::end) waits for that.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(super) client: Client,
    pub(super) address: Address,
    pub(super) driver: Driver,
}

impl LoggedIn {
    /// Has the current runtime, its home, drive a connection to its end. `drivers` waits for that, and `alive` is dropped with it.
    pub(super) fn new<S, T>(
        (client, connection): (Client, Connection<S, T>),
        address: &Address,
        moved: Arc<AtomicBool>,
        stats: &Arc<Stats>,
        drivers: &TaskTracker,
        alive: Option<Alive>,
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
        Self { client, address: address.clone(), driver }
    }

    /// Checks that the server is what `target_session_attrs` asks for.
    pub(super) async fn check_target(&self, wanted: TargetSessionAttrs) -> Result<(), Cause> {
        let wanted = match wanted {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let answer = self.client.simple_query("SHOW transaction_read_only").await.map_err(Cause::from)?;
        let read_only = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if read_only == Some(wanted) { Ok(()) } else { Err(Cause::WrongTarget) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the server said to something that it has to do first.
    pub(crate) fn refused(&self, err: Error) -> ConnectError {
        ConnectError::new(self.address.to_string(), err.into())
    }

    /// That it said nothing.
    pub(crate) fn silent(&self, bound: Duration) -> ConnectError {
        ConnectError::new(self.address.to_string(), Cause::TimedOut(bound))
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

/// Counts a session from its login to the end of its driver.
pub(super) struct Alive(Arc<AtomicU32>);

impl Alive {
    pub(super) fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
