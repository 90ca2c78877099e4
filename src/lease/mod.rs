//! One borrow of one session, and its repair. Dropping it returns the session.

mod lender;
mod session_use;
mod state;
mod transaction_stack;
mod statement;
mod transaction;
mod request_settings;
mod reset;
#[cfg(feature = "testing")]
mod sandbox;

pub(crate) use lender::Lender;
pub(crate) use request_settings::RequestSettings;
#[cfg(feature = "testing")]
pub(crate) use sandbox::Sandbox;
pub(crate) use session_use::SessionUse;
pub(crate) use statement::{Params, batch_execute, copy_in, copy_out, execute, query, query_opt, query_raw};
pub(crate) use transaction::TransactionGuard;

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::pool::{Pool, PooledSession};
use crate::session::{Session, cancel_until_quiet};
use crate::{Error, Result, telemetry};
#[cfg(feature = "testing")]
use sandbox::Turn;
use state::{Health, LeaseState, Repair};

/// A session on loan. Everyone who uses it holds a [`SessionUse`]; the last to let go returns it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `Some` until the drop.
    pooled: Option<PooledSession>,
    state: Mutex<LeaseState>,
    /// The settings of the request that borrowed the session.
    settings: OnceLock<Arc<RequestSettings>>,
    opened: Notify,
    #[cfg(feature = "testing")]
    turn: Option<Turn>,
}

impl Lease {
    /// Has the current runtime drive the session.
    pub(crate) fn new(pooled: PooledSession) -> Arc<Self> {
        pooled.session().driver().adopt();
        Arc::new(Self {
            pooled: Some(pooled),
            state: Mutex::default(),
            settings: OnceLock::new(),
            opened: Notify::new(),
            #[cfg(feature = "testing")]
            turn: None,
        })
    }

    /// Has these settings applied before the first statement, and again whenever they change.
    pub(crate) fn configure(&self, settings: &Arc<RequestSettings>) {
        self.settings.get_or_init(|| Arc::clone(settings));
    }

    /// A turn in a sandbox, where the session goes back to.
    #[cfg(feature = "testing")]
    pub(crate) fn in_turn(pooled: PooledSession, turn: Turn) -> Arc<Self> {
        Arc::new(Self {
            pooled: Some(pooled),
            state: Mutex::new(LeaseState::nested()),
            settings: OnceLock::new(),
            opened: Notify::new(),
            turn: Some(turn),
        })
    }

    /// Takes the place from a lease that nobody else has.
    #[cfg(feature = "testing")]
    pub(crate) fn into_pooled_session(self: Arc<Self>) -> Option<PooledSession> {
        Arc::into_inner(self)?.pooled.take()
    }

    pub(crate) fn session(&self) -> &Session {
        self.pooled().session()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.pooled().pool()
    }

    fn pooled(&self) -> &PooledSession {
        self.pooled.as_ref().expect("only the drop takes the pooled")
    }

    /// Becomes a user of the session. Refused while a row stream or a copy is open.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<SessionUse> {
        let mut state = self.state();
        if state.streaming {
            return Err(Error::Busy);
        }
        state.users += 1;
        drop(state);
        Ok(SessionUse::new(Arc::clone(self)))
    }

    /// Whether a statement, row stream, copy, transaction or client guard is alive.
    pub(crate) fn in_use(&self) -> bool {
        self.state().users > 0
    }

    /// Whether it is kept for those who have it: by a transaction, a row stream, a copy or a client guard.
    pub(crate) fn is_kept(&self) -> bool {
        let state = self.state();
        state.in_transaction() || state.streaming || (state.untracked && state.users > 0)
    }

    pub(crate) fn settings(&self) -> Option<&Arc<RequestSettings>> {
        self.settings.get()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets those look again who wait for the session to be open to them.
    pub(crate) fn opened(&self) {
        self.opened.notify_waiters();
    }

    /// Waits until `look` says something else than `None`; it is asked whenever the session has been opened again.
    pub(crate) async fn wait_for<T>(&self, mut look: impl FnMut(&mut LeaseState) -> Option<T>) -> T {
        loop {
            let opened = self.opened.notified();
            if let Some(seen) = look(&mut self.state()) {
                return seen;
            }
            opened.await;
        }
    }

    /// Waits until nothing is owed to the server any more.
    pub(crate) async fn quiescent(&self) -> Result<()> {
        let quiescent = |state: &mut LeaseState| match state.health {
            Health::Broken => Some(Err(Error::SessionLost)),
            Health::Sound if !state.transactions.has_pending_rollback() => Some(Ok(())),
            Health::Sound | Health::Held => None,
        };
        self.wait_for(quiescent).await
    }

    /// Starts a repair at home, if one is due now.
    pub(crate) fn repair_if_due(self: &Arc<Self>, mut state: MutexGuard<'_, LeaseState>) {
        let due = state.repair_due();
        drop(state);
        if due {
            // Made here: a home that has stopped drops the task without polling it.
            let cut_off = CutOff(Some(Arc::clone(self)));
            self.pool().home().spawn(Arc::clone(self).repaired(cut_off));
        }
    }

    async fn repaired(self: Arc<Self>, mut cut_off: CutOff) {
        self.repair().await;
        // Others may be let in already, and the next repair be due.
        cut_off.0 = None;
        self.opened();
    }

    /// Cancels what was abandoned and sends the rollback that is owed; each within `reset_timeout`.
    async fn repair(&self) {
        let bound = self.pool().session_settings().reset_timeout;
        loop {
            let Some(repair) = self.state().next_repair() else {
                return;
            };
            if timeout(bound, self.carry_out(repair)).await != Ok(true) {
                telemetry::repair_failed(bound);
                self.state().health = Health::Broken;
                return;
            }
        }
    }

    async fn carry_out(&self, repair: Repair) -> bool {
        self.session().driver().go_home();
        if let Some(abandoned) = repair.abandoned
            && !cancel_until_quiet(self.session(), self.pool().connector(), abandoned).await
        {
            return false;
        }
        match repair.rollback {
            Some(rollback) => self.session().client().batch_execute(&rollback).await.is_ok(),
            None => true,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pooled) = self.pooled.take() else {
            return;
        };
        let state = mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        #[cfg(feature = "testing")]
        if let Some(turn) = self.turn.take() {
            return turn.end(pooled, &state);
        }
        reset::give_back(pooled, &state);
    }
}

/// Ends a repair whose runtime stops under it, so that nobody waits for it.
struct CutOff(Option<Arc<Lease>>);

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.state().health = Health::Broken;
            lease.opened();
        }
    }
}
