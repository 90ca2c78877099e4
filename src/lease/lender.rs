//! Who lends a session and takes it back: the pool, the reader in front of two of them, or in tests a sandbox.

use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::timeout;

use super::Lease;
use super::owned_session::OwnedSession;
use super::request_info::RequestInfo;
use super::request_settings::RequestSettings;
use super::reset;
#[cfg(feature = "testing")]
use super::sandbox::{Sandbox, Turn};
use super::session_use::SessionUse;
use super::state::LeaseState;
use crate::config::Pooler;
use crate::pool::{AcquireError, Pool, PooledSession, Reader, Told};
use crate::stats::Place;
use crate::telemetry::Span;
use crate::{Error, Result};

/// Who borrows a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Borrower<'a> {
    /// Its settings are applied to the session.
    pub(crate) request: &'a Arc<RequestInfo>,
    /// The line that needed it, if it was one of the application.
    pub(crate) caller: Option<&'static Location<'static>>,
}

impl Borrower<'_> {
    pub(crate) fn place(&self) -> Place {
        Place { caller: self.caller, route: self.request.route() }
    }
}

/// What a request borrows from.
#[derive(Debug, Clone)]
pub(crate) enum Lender {
    Pool(Arc<Pool>),
    /// Whose leases are those of the pool that has lent the session.
    Reader(Arc<Reader>),
    #[cfg(feature = "testing")]
    Sandbox(Arc<Sandbox>),
}

impl Lender {
    /// A sandbox on a session of the same pool.
    #[cfg(feature = "testing")]
    pub(crate) async fn sandbox(&self) -> Result<Self> {
        if self.pool().session_settings().pooler == Pooler::Transaction {
            return Err(Error::NeedsSession("a sandbox"));
        }
        Ok(Self::Sandbox(Sandbox::begin(self.pool()).await?))
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        match self {
            Self::Pool(pool) => pool,
            Self::Reader(reader) => reader.standbys(),
            #[cfg(feature = "testing")]
            Self::Sandbox(sandbox) => sandbox.pool(),
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pool(one), Self::Pool(other)) => Arc::ptr_eq(one, other),
            (Self::Reader(one), Self::Reader(other)) => Arc::ptr_eq(one, other),
            #[cfg(feature = "testing")]
            (Self::Sandbox(one), Self::Sandbox(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Whether a session is lent for one use at a time.
    pub(crate) fn in_turns(&self) -> bool {
        !matches!(self, Self::Pool(_) | Self::Reader(_))
    }

    /// Lends a session without waiting, if that is possible.
    pub(crate) fn acquire_now(&self, borrower: Borrower<'_>) -> Option<Arc<Lease>> {
        let pooled = match self {
            Self::Pool(pool) => pool.acquire_now()?,
            Self::Reader(reader) => reader.acquire_now()?,
            #[cfg(feature = "testing")]
            Self::Sandbox(_) => return None,
        };
        // A span without length: the session was there.
        drop(Span::session("acquire", Some(pooled.session().peer())));
        Some(Lease::new(Loan::Pooled(pooled), borrower))
    }

    /// Lends a session. The borrower's settings are applied before the first statement.
    pub(crate) async fn acquire(&self, borrower: Borrower<'_>) -> Result<Arc<Lease>, AcquireError> {
        self.within_acquire_timeout(borrower, self.acquire_in_time(borrower)).await
    }

    /// Lends a session to one who owns it until its end. Fails in a sandbox, whose session belongs to all.
    pub(crate) async fn own(&self, borrower: Borrower<'_>) -> Result<OwnedSession> {
        if self.pool().session_settings().pooler == Pooler::Transaction {
            return Err(Error::NeedsSession("`Database::session`"));
        }
        let pooled = match self {
            Self::Pool(pool) => match pool.acquire_now() {
                Some(pooled) => pooled,
                None => self.within_acquire_timeout(borrower, waited_for(pool.acquire_in_time())).await?,
            },
            Self::Reader(reader) => {
                self.within_acquire_timeout(borrower, waited_for(reader.acquire_in_time())).await?
            }
            #[cfg(feature = "testing")]
            Self::Sandbox(_) => return Err(Error::Sandboxed),
        };
        let pooled = reset::without_settings(pooled).await?;
        Ok(OwnedSession::new(pooled, borrower.place()))
    }

    /// Bounds a wait for a session, and warns of one that is slow.
    async fn within_acquire_timeout<T>(
        &self,
        borrower: Borrower<'_>,
        acquired: impl Future<Output = Result<T, AcquireError>>,
    ) -> Result<T, AcquireError> {
        let pool = self.pool();
        let acquired = pool.within_acquire_timeout(acquired);
        let Some(threshold) = pool.warnings().slow_acquire else {
            return acquired.await?;
        };
        let mut acquired = pin!(acquired);
        if let Ok(acquired) = timeout(threshold, acquired.as_mut()).await {
            return acquired?;
        }
        pool.warn_of_slow_acquire(&borrower.place(), threshold);
        acquired.await?
    }

    /// Lends a session for one use, which returns it.
    pub(crate) async fn enter(&self, borrower: Borrower<'_>) -> Result<SessionUse> {
        let lease = match self.acquire_now(borrower) {
            Some(lease) => lease,
            // Boxed, because most borrows need not wait and every statement's future contains this one.
            None => self.acquire(borrower).boxed().await?,
        };
        let session_use = lease.enter()?;
        Ok(match borrower.caller {
            Some(caller) => session_use.called_at(caller),
            None => session_use,
        })
    }

    /// The same without a bound, for a caller that has one: see [`Pool::acquire_in_time`].
    pub(crate) async fn acquire_in_time(&self, borrower: Borrower<'_>) -> Result<Arc<Lease>, AcquireError> {
        match self {
            Self::Pool(pool) => {
                let pooled = waited_for(pool.acquire_in_time()).await?;
                Ok(Lease::new(Loan::Pooled(pooled), borrower))
            }
            Self::Reader(reader) => {
                // Boxed, because few databases have a reader.
                let pooled = waited_for(reader.acquire_in_time().boxed()).await?;
                Ok(Lease::new(Loan::Pooled(pooled), borrower))
            }
            #[cfg(feature = "testing")]
            Self::Sandbox(sandbox) => {
                Ok(Lease::new(Loan::Turn(sandbox.turn(borrower.request).await?), borrower))
            }
        }
    }

    /// The statements that have run in a sandbox.
    #[cfg(feature = "testing")]
    pub(crate) fn statements(&self) -> Vec<String> {
        match self {
            Self::Pool(_) | Self::Reader(_) => Vec::new(),
            Self::Sandbox(sandbox) => sandbox.statements(),
        }
    }

    /// Runs the callbacks that a sandbox has kept.
    #[cfg(feature = "testing")]
    pub(crate) async fn run_kept(&self) -> usize {
        match self {
            Self::Pool(_) | Self::Reader(_) => 0,
            Self::Sandbox(sandbox) => sandbox.run_kept().await,
        }
    }

    /// Ends the pool, or the sandbox.
    pub(crate) async fn close(&self) {
        match self {
            Self::Pool(pool) => pool.close().await,
            Self::Reader(reader) => reader.close().await,
            #[cfg(feature = "testing")]
            Self::Sandbox(sandbox) => sandbox.close().await,
        }
    }
}

/// Waits for a session, within a span.
async fn waited_for(
    acquired: impl Future<Output = Result<PooledSession, AcquireError>>,
) -> Result<PooledSession, AcquireError> {
    let span = Span::session("acquire", None);
    let acquired = acquired.await;
    if acquired.is_err() {
        span.record_error(None, "acquire");
    }
    acquired
}

/// A session on loan, which knows where it goes back to.
#[derive(Debug)]
pub(crate) enum Loan {
    Pooled(PooledSession),
    #[cfg(feature = "testing")]
    Turn(Turn),
}

impl Loan {
    pub(super) fn pooled(&self) -> &PooledSession {
        match self {
            Self::Pooled(pooled) => pooled,
            #[cfg(feature = "testing")]
            Self::Turn(turn) => turn.pooled(),
        }
    }

    /// The state in which it is lent. The session of the pool is driven by the current runtime from now on.
    #[inline]
    pub(super) fn begin(&self) -> LeaseState {
        match self {
            Self::Pooled(pooled) => {
                pooled.session().driver().adopt();
                let mut state = match pooled.session().settings_left().is_empty() {
                    true => LeaseState::default(),
                    false => LeaseState::with_settings_left(),
                };
                state.unpinned = pooled.session().unpinned().is_some();
                state
            }
            #[cfg(feature = "testing")]
            Self::Turn(_) => LeaseState::nested(),
        }
    }

    /// Who has lent it.
    pub(super) fn lender(&self) -> Lender {
        match self {
            Self::Pooled(pooled) => Lender::Pool(Arc::clone(pooled.pool())),
            #[cfg(feature = "testing")]
            Self::Turn(turn) => Lender::Sandbox(Arc::clone(turn.sandbox())),
        }
    }

    /// Notes a statement for the test that has lent it in a sandbox.
    #[cfg(feature = "testing")]
    pub(super) fn runs(&self, sql: &str) {
        if let Self::Turn(turn) = self {
            turn.sandbox().runs(sql);
        }
    }

    /// Has the senders dropped when the session has ended.
    pub(super) fn tell_of_end(&mut self, told: Told) {
        if told.is_none() {
            return;
        }
        match self {
            Self::Pooled(pooled) => pooled.tell_of_end(told),
            #[cfg(feature = "testing")]
            Self::Turn(turn) => turn.pooled_mut().tell_of_end(told),
        }
    }

    pub(super) fn give_back(self, state: &LeaseState, settings: &RequestSettings) {
        match self {
            Self::Pooled(pooled) => reset::give_back(pooled, state, settings),
            #[cfg(feature = "testing")]
            Self::Turn(turn) => turn.end(state),
        }
    }
}
