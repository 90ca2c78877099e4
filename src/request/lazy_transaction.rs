//! The transaction of a request: begun by its first statement, ended with the request.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::generic::GenericClient;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::{Scope, Transaction};
use crate::lease::{After, Callback, TransactionGuard, commit, run_after_commit, run_after_rollback};
use crate::{Error, Result};

/// What all handles of a request's transaction share.
#[derive(Debug)]
pub(super) struct LazyTransaction {
    scope: Arc<Scope>,
    state: Mutex<State>,
    /// Held by the one who begins it.
    beginning: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum State {
    /// Nothing has been sent. With what was registered to run after it.
    Lazy(Vec<Callback>),
    Begun(Arc<TransactionGuard>),
    Over,
}

/// What is left of a request's transaction when the request ends.
#[derive(Debug)]
pub(super) enum Left {
    /// Dropped, it is rolled back.
    Begun(Arc<TransactionGuard>),
    /// It was not begun, and has callbacks.
    Callbacks(Vec<Callback>),
}

impl Left {
    /// Commits, and runs what was registered to run after that.
    pub(super) async fn commit(self, scope: &Scope) -> Result<()> {
        match self {
            Self::Begun(guard) => commit(guard).await.map_err(|failed| failed.err),
            Self::Callbacks(callbacks) => {
                let (due, _dropped) = callbacks_after(After::Commit, callbacks);
                run_after_commit(scope.lender(), due).await;
                Ok(())
            }
        }
    }

    /// Rolls back, even while the transaction is in use.
    pub(super) fn roll_back(self, scope: &Scope) {
        match self {
            Self::Begun(guard) => guard.leave(),
            Self::Callbacks(callbacks) => {
                let (due, _dropped) = callbacks_after(After::Rollback, callbacks);
                run_after_rollback(scope.lender().pool(), due);
            }
        }
    }
}

fn callbacks_after(after: After, callbacks: Vec<Callback>) -> (Vec<Callback>, Vec<Callback>) {
    callbacks.into_iter().partition(|callback| callback.is_after(after))
}

impl LazyTransaction {
    pub(super) fn new(scope: Arc<Scope>) -> Arc<Self> {
        Arc::new(Self { scope, state: Mutex::new(State::Lazy(Vec::new())), beginning: Default::default() })
    }

    /// Cancellation safety: a beginner who gives up leaves a transaction that is rolled back, and the next one begins.
    async fn guard(&self, caller: Caller) -> Result<Arc<TransactionGuard>> {
        if let Some(begun) = self.begun()? {
            return Ok(begun);
        }
        // Outside of the lock, so that all who wait for a session wait for one, within one bound.
        drop(self.scope.enter(caller).await?);
        let _one = self.beginning.lock().await;
        if let Some(begun) = self.begun()? {
            return Ok(begun);
        }
        let guard =
            TransactionGuard::begin(self.scope.enter(caller).await?, None, "START TRANSACTION").await?;
        let guard = Arc::new(guard);
        let mut state = self.state();
        match &mut *state {
            State::Lazy(callbacks) => {
                callbacks.drain(..).try_for_each(|callback| guard.register(callback))?
            }
            State::Begun(_) => {}
            State::Over => return Err(Error::TransactionEnded),
        }
        *state = State::Begun(Arc::clone(&guard));
        Ok(guard)
    }

    /// Registers what runs after the transaction. A callback that is refused is dropped outside of the lock.
    pub(super) fn register(&self, callback: Callback) -> Result<()> {
        let begun = match &mut *self.state() {
            State::Lazy(callbacks) => {
                callbacks.push(callback);
                return Ok(());
            }
            State::Begun(guard) => Some(Arc::clone(guard)),
            State::Over => None,
        };
        begun.ok_or(Error::TransactionEnded)?.register(callback)
    }

    fn begun(&self) -> Result<Option<Arc<TransactionGuard>>> {
        match &*self.state() {
            State::Lazy(_) => Ok(None),
            State::Begun(guard) => Ok(Some(Arc::clone(guard))),
            State::Over => Err(Error::TransactionEnded),
        }
    }

    /// Takes the transaction from all handles.
    pub(super) fn end(&self) -> Option<Left> {
        match mem::replace(&mut *self.state(), State::Over) {
            State::Begun(guard) => Some(Left::Begun(guard)),
            State::Lazy(callbacks) if !callbacks.is_empty() => Some(Left::Callbacks(callbacks)),
            State::Lazy(_) | State::Over => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor for LazyTransaction {
    async fn enter(&self, caller: Caller) -> Result<Acquired> {
        Ok(Acquired(self.guard(caller).await?.enter()?.called_at(caller)))
    }

    fn shares(&self) -> Option<Shares<'_>> {
        None
    }

    fn give_back(&self) -> bool {
        false
    }

    async fn begin(&self, caller: Caller) -> Result<Transaction> {
        let outer = self.guard(caller).await?;
        let guard = TransactionGuard::begin(outer.enter()?, Some(&outer), "").await?;
        Ok(Transaction::new(Arc::new(guard)))
    }
}

impl GenericClient for LazyTransaction {}
