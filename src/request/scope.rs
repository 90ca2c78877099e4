//! The lazy connection of a request: a state machine that borrows on the first use and returns at the end.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};

use crate::database::{Lease, Pool, Usage};
use crate::error::AcquireError;
use crate::{Error, Result};

/// What all [`Connection`](super::Connection)s of one request share.
#[derive(Debug)]
pub(crate) struct Scope {
    pool: Arc<Pool>,
    state: Mutex<State>,
}

/// ```text
///          first use               borrowed
///   Idle ────────────> Borrowing ────────────> Leased
///    ^ <────────────────── │ gave up             │
///    └───────────────────────────────────────────┘ release
///   any ── the request is over ──> Detached        any ── close ──> Closed
/// ```
#[derive(Debug, Default)]
enum State {
    /// Nothing is borrowed.
    #[default]
    Idle,
    /// Somebody waits for a session. Everyone who comes now waits with them, and the last to give up ends the wait.
    Borrowing(WeakShared<Borrow>),
    /// A session is borrowed.
    Leased(Arc<Lease>),
    /// The request is over: every statement borrows and returns by itself.
    Detached,
    /// Closed by the handler for good.
    Closed,
}

/// Resolves when the scope is leased, or could not be.
type Borrow = BoxFuture<'static, Result<(), AcquireError>>;

impl Scope {
    pub(crate) fn new(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { pool, state: Mutex::default() })
    }

    /// Whether this is a connection of that database.
    pub(crate) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Becomes a user of the request's session, borrowing it if need be.
    ///
    /// Cancellation safety: a borrow ends with the last future that waits for it; nothing is lost then.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Usage> {
        loop {
            match self.try_enter()? {
                Entry::Entered(usage) => return Ok(usage),
                Entry::Wait(borrow) => borrow.await?,
                Entry::Alone => return self.pool.acquire().await?.enter(),
            }
        }
    }

    fn try_enter(self: &Arc<Self>) -> Result<Entry> {
        let mut state = self.state();
        match &*state {
            State::Leased(lease) => return lease.enter().map(Entry::Entered),
            State::Borrowing(borrow) => {
                if let Some(borrow) = borrow.upgrade() {
                    return Ok(Entry::Wait(borrow));
                }
            }
            State::Idle => {}
            State::Detached => return Ok(Entry::Alone),
            State::Closed => return Err(Error::Closed),
        }
        if let Some(lease) = self.pool.acquire_now() {
            let usage = lease.enter()?;
            *state = State::Leased(lease);
            return Ok(Entry::Entered(usage));
        }
        let borrow = Arc::clone(self).borrow().boxed().shared();
        if let Some(weak) = borrow.downgrade() {
            *state = State::Borrowing(weak);
        }
        Ok(Entry::Wait(borrow))
    }

    async fn borrow(self: Arc<Self>) -> Result<(), AcquireError> {
        let acquired = self.pool.acquire().await;
        let mut state = self.state();
        // A request that has ended meanwhile has no use for the session: the lease is dropped, outside of the lock.
        let next = match (&*state, acquired) {
            (State::Borrowing(_), Ok(lease)) => State::Leased(lease),
            (State::Borrowing(_), Err(err)) => {
                *state = State::Idle;
                return Err(err);
            }
            (_, acquired) => {
                drop(state);
                return acquired.map(drop);
            }
        };
        *state = next;
        Ok(())
    }

    /// Gives the session back now; the next statement borrows again.
    pub(crate) fn release(&self) -> Result<()> {
        self.leave(State::Idle)
    }

    /// Gives the session back for good.
    pub(crate) fn close(&self) -> Result<()> {
        self.leave(State::Closed)
    }

    fn leave(&self, next: State) -> Result<()> {
        let mut state = self.state();
        match &*state {
            State::Leased(lease) if lease.in_use() => return Err(Error::Busy),
            State::Borrowing(borrow) if borrow.upgrade().is_some() => return Err(Error::Busy),
            State::Closed => return Ok(()),
            State::Detached if matches!(next, State::Idle) => return Ok(()),
            _ => {}
        }
        let left = mem::replace(&mut *state, next);
        drop(state);
        drop(left);
        Ok(())
    }

    /// The request is over: the session goes back now, or with its last user.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        if matches!(*state, State::Closed) {
            return;
        }
        let left = mem::replace(&mut *state, State::Detached);
        drop(state);
        drop(left);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a user finds at the door.
enum Entry {
    Entered(Usage),
    Wait(Shared<Borrow>),
    /// No state to share: borrow for one use.
    Alone,
}
