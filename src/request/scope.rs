//! The lazy connection of a request: a state machine that borrows on the first use, and returns at the end.

mod last_question;
mod other;
mod state;

use std::fmt;
use std::mem;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::HttpRequest;
use futures_util::FutureExt;

use super::borrow::Borrow;
use crate::database::Untyped;
use crate::error::BusyWith;
use crate::lease::{Borrower, Deadline, Lease, Lender, RequestInfo, RequestSettings, SessionUse, Timed};
use crate::pool::AcquireError;
use crate::shared::SharedReads;
use crate::{Error, Result};
use other::Other;
use state::State;

/// The line of an application that runs a statement.
pub(crate) type Caller = &'static Location<'static>;

/// What all [`Connection`](super::Connection)s of one request share.
pub(crate) struct Scope {
    lender: Lender,
    /// `None` if no session is shared.
    shared: Option<Arc<SharedReads>>,
    info: Arc<RequestInfo>,
    state: Mutex<State>,
    /// A session was borrowed, and has been given back.
    was_leased: AtomicBool,
    other: Other,
}

impl Scope {
    /// The connection of no request.
    pub(crate) fn standalone(database: &Untyped) -> Arc<Self> {
        Arc::new(Self::new(database, Arc::new(RequestInfo::standalone())))
    }

    fn new(database: &Untyped, info: Arc<RequestInfo>) -> Self {
        let lender = database.lender().clone();
        let state = Mutex::new(State::idle(&lender));
        let shared = database.shared().cloned();
        let was_leased = AtomicBool::new(false);
        Self { lender, shared, info, state, was_leased, other: Other::default() }
    }

    /// The connection of a request. Its route is kept where a warning may have to name it.
    pub(crate) fn of_request(database: &Untyped, req: &HttpRequest, sum_up: bool) -> Arc<Self> {
        let scope = Arc::new(Self::new(database, Arc::default()));
        scope.info.sum_up(sum_up);
        if scope.lender.pool().warnings().any()
            && let Some(route) = req.match_pattern()
        {
            scope.info.set_route(&route);
        }
        scope
    }

    /// Whether this is a connection of that database.
    pub(crate) fn is_of(&self, lender: &Lender) -> bool {
        self.lender.is(lender)
    }

    pub(super) fn lender(&self) -> &Lender {
        &self.lender
    }

    /// The settings that are applied to every session of the request.
    pub(crate) fn settings(&self) -> &RequestSettings {
        &self.info.settings
    }

    /// Sets when the work of the request has to be over.
    pub(crate) fn set_deadline(&self, deadline: Option<Deadline>) {
        self.info.set_deadline(deadline);
    }

    /// Becomes a user of the request's session. Borrows one if there is none.
    ///
    /// Cancellation safety: a borrow ends with the last future that waits for it. Nothing is lost then.
    pub(crate) async fn enter(self: &Arc<Self>, caller: Caller) -> Result<SessionUse> {
        let scope = self.serving();
        match self.info.deadline() {
            None => scope.enter_in_time(caller).await,
            // Boxed, because few requests have a deadline.
            Some(deadline) => deadline.limit(scope.enter_in_time(caller).boxed()).await,
        }
    }

    async fn enter_in_time(self: &Arc<Self>, caller: Caller) -> Result<SessionUse> {
        loop {
            match self.try_enter(caller)? {
                Entry::Acquired(session_use) => return Ok(session_use.called_at(caller)),
                Entry::Wait(borrow) => match Arc::clone(&borrow).ended().await {
                    Ok(ended) => {
                        if let Some(lease) = ended? {
                            return Ok(lease.enter()?.called_at(caller));
                        }
                    }
                    Err(_) => {
                        let pool = self.lender.pool();
                        if borrow.is_first_to_give_up() {
                            pool.count_timeout();
                        }
                        return Err(pool.timed_out().into());
                    }
                },
                Entry::Turn => {
                    let lease = self.lender.acquire(self.borrower(caller)).boxed().await?;
                    if let State::Turns(turn) = &mut *self.state() {
                        *turn = Arc::downgrade(&lease);
                    }
                    return Ok(lease.enter()?.called_at(caller));
                }
                Entry::Alone => {
                    self.was_leased.store(true, Ordering::Release);
                    return self.lender.enter(self.borrower(caller)).await;
                }
            }
        }
    }

    /// Where a read needs no session of its own: sessions are shared, and the request holds none and has no settings.
    pub(crate) fn shares(&self) -> Option<(&Arc<SharedReads>, &Arc<RequestInfo>)> {
        let shared = self.shared.as_ref()?;
        let holds_none = match &*self.state() {
            State::Idle | State::Detached => true,
            // Nobody waits any more.
            State::Borrowing(borrow) => borrow.strong_count() == 0,
            _ => false,
        };
        (holds_none && self.info.settings.version() == 0).then_some((shared, &self.info))
    }

    fn try_enter(self: &Arc<Self>, caller: Caller) -> Result<Entry> {
        self.detach_reader();
        let mut state = self.state();
        match &*state {
            State::Leased(lease) => return lease.enter().map(Entry::Acquired),
            State::Borrowing(borrow) => {
                if let Some(borrow) = borrow.upgrade() {
                    return Ok(Entry::Wait(borrow));
                }
            }
            State::Turns(turn) => {
                let kept = turn.upgrade().filter(|lease| lease.is_kept());
                return kept.map_or(Ok(Entry::Turn), |lease| lease.enter().map(Entry::Acquired));
            }
            State::Idle => {}
            State::Detached => return Ok(Entry::Alone),
            State::Closed => return Err(Error::ConnectionClosed),
        }
        if let Some(lease) = self.lender.acquire_now(self.borrower(caller)) {
            let session_use = lease.enter()?;
            *state = State::Leased(lease);
            return Ok(Entry::Acquired(session_use));
        }
        let borrow = Borrow::new(Arc::clone(self).borrow(caller).boxed(), self.lender.pool().deadline());
        *state = State::Borrowing(Arc::downgrade(&borrow));
        self.warn_when_slow(&borrow, caller);
        Ok(Entry::Wait(borrow))
    }

    /// Warns of a wait that takes long, while it lasts.
    ///
    /// The timer is a task at home, so that a wait has none: see [`Borrow`]. It ends with the wait, and keeps no pool.
    fn warn_when_slow(self: &Arc<Self>, borrow: &Arc<Borrow>, caller: Caller) {
        let pool = self.lender.pool();
        let Some(threshold) = pool.warnings().slow_acquire else {
            return;
        };
        let lasts = borrow.lasts_for(threshold);
        let (weak, borrow) = (Arc::downgrade(pool), Arc::downgrade(borrow));
        let place = self.borrower(caller).place();
        pool.home().spawn(async move {
            if lasts.await
                && borrow.upgrade().is_some_and(|borrow| borrow.is_going_on())
                && let Some(pool) = weak.upgrade()
            {
                pool.warn_of_slow_acquire(&place, threshold);
            }
        });
    }

    /// Borrows a session and keeps it for the request. If the request has ended meanwhile, returns the lease.
    async fn borrow(self: Arc<Self>, caller: Caller) -> Result<Option<Arc<Lease>>, AcquireError> {
        let timed = Timed::wait(&self.info);
        let acquired = self.lender.acquire_in_time(self.borrower(caller)).await;
        drop(timed);
        let mut state = self.state();
        let next = match (&*state, acquired) {
            (State::Borrowing(_), Ok(lease)) => State::Leased(lease),
            (State::Borrowing(_), Err(err)) => {
                *state = State::Idle;
                return Err(err);
            }
            (State::Detached, acquired) => return acquired.map(Some),
            // The connection has been closed meanwhile. The lease is dropped outside of the lock.
            (_, acquired) => {
                drop(state);
                return acquired.map(|_| None);
            }
        };
        *state = next;
        Ok(None)
    }

    /// Gives the session back now; the next statement borrows again.
    pub(crate) fn release(&self) -> Result<()> {
        self.leave(State::idle(&self.lender))
    }

    /// Gives the session back for good.
    pub(crate) fn close(&self) -> Result<()> {
        self.leave(State::Closed)
    }

    fn leave(&self, next: State) -> Result<()> {
        let mut state = self.state();
        let busy_with = match &*state {
            State::Leased(lease) => lease.busy_with(),
            State::Borrowing(borrow) => (borrow.strong_count() > 0).then_some(BusyWith::Statement),
            State::Turns(turn) => turn.upgrade().and_then(|lease| lease.busy_with()),
            State::Closed => return Ok(()),
            State::Detached if !matches!(next, State::Closed) => return Ok(()),
            State::Idle | State::Detached => None,
        };
        if let Some(busy_with) = busy_with {
            return Err(Error::Busy(busy_with));
        }
        let left = mem::replace(&mut *state, next);
        self.left(&left);
        drop(state);
        drop(left);
        Ok(())
    }

    /// Ends the request for this connection. The session goes back now, or with its last user.
    pub(super) fn detach(&self) {
        let mut state = self.state();
        let left = match &*state {
            State::Closed => State::Closed,
            _ => mem::replace(&mut *state, State::Detached),
        };
        self.left(&left);
        drop(state);
        drop(left);
    }

    /// Ends the request. The session goes back now, or with its last user.
    pub(crate) fn end(&self) {
        self.detach();
        if let Some(sums) = self.info.sums() {
            sums.record();
        }
    }

    /// The value of a `Server-Timing` header, if the cost of the request is summed up.
    pub(super) fn server_timing(&self) -> Option<String> {
        self.info.sums().map(|sums| sums.server_timing())
    }

    /// The state for `Debug`, which must not wait for the lock.
    pub(super) fn describe(&self) -> &'static str {
        self.state.try_lock().map_or("changing", |state| state.describe())
    }

    fn borrower(&self, caller: Caller) -> Borrower<'_> {
        Borrower { request: &self.info, caller: Some(caller) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.describe()).finish()
    }
}

/// The answer to a user who wants to enter.
enum Entry {
    Acquired(SessionUse),
    Wait(Arc<Borrow>),
    /// Borrow for one use, which others of the request may join.
    Turn,
    /// Borrow for one use.
    Alone,
}
