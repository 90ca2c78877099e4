//! Several servers tried at a time, of which one alone logs in.
//!
//! ```text
//!   first host   ──connect, ask──> silence ································> given up
//!   250 ms later ──connect, ask──> answers: takes the turn ──log in──> the session
//!   250 ms later ──connect, ask──> answers: waits for the turn ······> given up
//! ```
//!
//! A server that does not answer costs the head start, not `connect_timeout`. A password, and a login that may fail, goes to one server
//! at a time: to the one that has answered first. Where that one will not do, the next one has its turn.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connect_error::ConnectError;

/// How long a server has before the next one is tried too: the pause that RFC 8305 recommends.
pub(super) const HEAD_START: Duration = Duration::from_millis(250);

/// The turn to log in, for which the servers of one search wait.
#[derive(Debug, Clone)]
pub(super) struct Race(Arc<Semaphore>);

impl Race {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// A part in the race, for one address. Its turn is over when it is dropped.
    pub(super) fn enter(&self) -> Runner {
        Runner { race: Arc::clone(&self.0), turn: Arc::default() }
    }

    /// Returns the first session that is opened, or the refusal of a login, or why there is none: that a server is not what is
    /// wanted goes before other failures. The next attempt begins when the last one has failed, or has been silent for some time.
    pub(super) async fn first<T, F>(
        &self,
        attempts: impl IntoIterator<Item = F>,
    ) -> Result<T, Option<ConnectError>>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let mut waiting = attempts.into_iter().peekable();
        let mut running = FuturesUnordered::new();
        running.extend(waiting.next());
        let mut failed: Option<ConnectError> = None;
        loop {
            let ended = match waiting.peek() {
                None => Ok(running.next().await),
                Some(_) => timeout(HEAD_START, running.next()).await,
            };
            match ended {
                Ok(None) => return Err(failed),
                Ok(Some(Ok(opened))) => return Ok(opened),
                Ok(Some(Err(err))) if err.is_refusal() => return Err(Some(err)),
                Ok(Some(Err(err))) => {
                    let is_told = failed.as_ref().is_some_and(ConnectError::is_wrong_target);
                    failed = if is_told { failed } else { Some(err) };
                }
                // While one logs in, nobody else is tried.
                Err(_) if self.0.available_permits() == 0 => continue,
                Err(_) => {}
            }
            running.extend(waiting.next());
        }
    }
}

/// One address in a race.
#[derive(Debug)]
pub(super) struct Runner {
    race: Arc<Semaphore>,
    turn: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Runner {
    /// What its stream waits for when the server has answered.
    pub(super) fn turn(&self) -> Turn {
        let turn = Arc::clone(&self.turn);
        let waiting = Arc::clone(&self.race).acquire_owned().boxed();
        Turn { waiting, turn }
    }
}

/// The wait for the turn to log in.
pub(super) struct Turn {
    waiting: BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>,
    turn: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Turn {
    /// Resolves when it is this stream's turn.
    pub(super) fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Its address has logged in before, and keeps its turn.
        if self.turn.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Poll::Ready(());
        }
        let permit = ready!(self.waiting.as_mut().poll(cx));
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = permit.ok();
        Poll::Ready(())
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}
