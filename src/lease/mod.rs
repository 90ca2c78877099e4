//! One borrow of one session. Its drop returns the session.
//!
//! ```text
//!   Lender ──acquire──> Lease ──enter──> SessionUse ──send──> the server
//!     ^                   │                   │ answered, or dropped: the statement is abandoned
//!     │                   │<──────────────────┘
//!     │                   │ nothing in flight, but something abandoned or a rollback pending: repair
//!     └──give_back────────┘ the last user is gone
//! ```
//!
//! Several users share the session, and their statements are pipelined. [`LeaseState`] knows what is in flight and who may send.
//!
//! A statement comes in at [`statement`]. To follow it, read [`SessionUse`], [`state`] and [`transaction_stack`]; for how a session comes
//! and goes, [`lender`] and [`reset`]. An [`OwnedSession`]
//! is a borrow without a lease: one owner, of whom nothing is known.

mod lender;
mod owned_session;
mod observed;
mod session_use;
mod health;
mod state;
mod callbacks;
mod transaction_stack;
mod stage;
mod own_transaction;
mod probe;
mod deadline;
mod admission;
mod ahead;
mod echoed;
mod started;
mod prepared;
mod statement;
mod nameless;
mod written;
mod leftovers;
mod elsewhere;
mod transaction;
mod ending;
mod pipeline;
mod batch;
mod request_info;
mod request_settings;
mod repair;
mod refused_write;
mod reset;
#[cfg(feature = "testing")]
mod sandbox;

pub(crate) use batch::{execute_batch, execute_many};
pub(crate) use callbacks::{After, Callback};
pub(crate) use deadline::{Bound, Deadline, bounded};
pub(crate) use echoed::Echoed;
pub(crate) use ending::{NotCommitted, commit, finish, run_after_commit, run_after_rollback};
pub(crate) use lender::{Borrower, Lender};
pub(crate) use observed::Observed;
pub use owned_session::OwnedSession;
pub(crate) use request_info::{RequestInfo, Timed};
pub(crate) use request_settings::RequestSettings;
pub(crate) use reset::{READ_ONLY, everything, give_back_shared, reset_at_once};
pub(crate) use session_use::{SessionUse, warn_when_repeated};
pub(crate) use statement::{batch_execute, copy_in, copy_out, execute, query, query_opt, query_raw};
pub(crate) use transaction::TransactionGuard;

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use tokio::sync::Notify;

use crate::error::BusyWith;
use crate::pool::{Pool, PooledSession};
use crate::session::Session;
use crate::stats::{Activity, Doing, Holder};
use crate::tokio_postgres::types::ToSql;
use crate::{Error, Result};
use health::Health;
use lender::Loan;
use state::{LeaseState, Reply};
use transaction_stack::FrameId;

/// The parameters of a statement, as tokio-postgres takes them.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One borrow of one session. Everyone who uses it holds a [`SessionUse`]; the last to let go returns it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `Some` until the drop.
    loan: Option<Loan>,
    state: Mutex<LeaseState>,
    /// The request that borrowed the session.
    request: Arc<RequestInfo>,
    /// Notified when what statements wait for may be over.
    opened: Notify,
}

impl Lease {
    /// Has the settings applied before the first statement, and again whenever they change.
    fn new(loan: Loan, borrower: Borrower<'_>) -> Arc<Self> {
        let state = Mutex::new(loan.begin());
        let request = Arc::clone(borrower.request);
        let lease = Arc::new(Self { loan: Some(loan), state, request, opened: Notify::new() });
        let holder = Holder { place: borrower.place(), lease: Arc::downgrade(&lease) as Weak<dyn Activity> };
        lease.session().cell().lend(holder, lease.pooled().taken());
        lease
    }

    pub(crate) fn session(&self) -> &Session {
        self.pooled().session()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.pooled().pool()
    }

    /// Who has lent the session.
    fn lender(&self) -> Lender {
        self.loan().lender()
    }

    fn pooled(&self) -> &PooledSession {
        self.loan().pooled()
    }

    fn loan(&self) -> &Loan {
        self.loan.as_ref().expect("only the drop takes it")
    }

    /// Becomes a user of the session. Fails while a row stream or a copy is open.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<SessionUse> {
        let mut state = self.state();
        state.check_quiet()?;
        state.users += 1;
        drop(state);
        Ok(SessionUse::new(Arc::clone(self)))
    }

    /// What is alive of statements, row streams, copies, transactions and client guards, if anything is.
    pub(crate) fn busy_with(&self) -> Option<BusyWith> {
        self.state().busy_with()
    }

    /// Whether a transaction, a row stream, a copy or a client guard keeps the session for its owner.
    pub(crate) fn is_kept(&self) -> bool {
        let state = self.state();
        state.in_transaction() || state.streaming.is_some() || (state.untracked && state.users > 0)
    }

    pub(crate) fn settings(&self) -> &RequestSettings {
        &self.request.settings
    }

    pub(crate) fn request(&self) -> &Arc<RequestInfo> {
        &self.request
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every statement that waits for this session.
    pub(crate) fn opened(&self) {
        self.opened.notify_waiters();
    }

    /// Looks at the state once. An answered message of the same statement counts until then, so that no repair begins in between.
    fn look<T>(self: &Arc<Self>, answered: Option<Reply>, look: impl FnOnce(&mut LeaseState) -> T) -> T {
        let mut state = self.state();
        let seen = look(&mut state);
        if let Some(answered) = answered {
            state.complete(answered);
            self.let_others(answered, state);
        }
        seen
    }

    /// Waits until `look` returns `Some`. It is called now, and whenever [`opened`](Self::opened) is.
    pub(crate) async fn wait_for<T>(&self, mut look: impl FnMut(&mut LeaseState) -> Option<T>) -> T {
        loop {
            let opened = self.opened.notified();
            if let Some(seen) = look(&mut self.state()) {
                return seen;
            }
            opened.await;
        }
    }

    /// Waits until no rollback is pending and no repair is going on.
    pub(crate) async fn quiescent(&self) -> Result<()> {
        let quiescent = |state: &mut LeaseState| match state.health {
            Health::Broken => Some(Err(Error::SessionLost)),
            Health::Sound if !state.transactions.has_pending_rollback() => Some(Ok(())),
            Health::Sound | Health::Held => None,
        };
        self.wait_for(quiescent).await
    }

    /// Records the answer to a message, and lets others send who waited for it.
    fn answered<T>(self: &Arc<Self>, sent: Reply, answer: &Result<T>) {
        let mut state = self.state();
        state.transactions.note(answer);
        state.complete(sent);
        let asks = state.refused_write;
        let broken = answer.as_ref().is_err_and(Error::is_out_of_step);
        if broken {
            state.health.break_down();
        }
        self.let_others(sent, state);
        if broken {
            self.opened();
        }
        if asks {
            self.ask_after_refused_write();
        }
    }

    /// Records that the answer to a message, sent in that transaction, will not be waited for.
    fn abandoned(
        self: &Arc<Self>,
        sent: Reply,
        within: Option<FrameId>,
        mut state: MutexGuard<'_, LeaseState>,
    ) {
        if thread::panicking() {
            // A parameter that panicked has left half a message in the driver's buffer.
            state.health.break_down();
        }
        state.abandon(sent, within);
        self.let_others(sent, state);
    }

    fn let_others(self: &Arc<Self>, sent: Reply, state: MutexGuard<'_, LeaseState>) {
        self.repair_if_due(state);
        if matches!(sent, Reply::Control | Reply::Batch | Reply::Alone) {
            self.opened();
        }
    }
}

impl Activity for Lease {
    fn activity(&self) -> Doing {
        Doing { standalone: self.request.is_standalone(), ..self.state().doing() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut loan) = self.loan.take() {
            if let Some(sums) = self.request.sums() {
                sums.held(loan.pooled().taken().elapsed());
            }
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            loan.tell_of_end(mem::take(&mut state.told_of_end));
            loan.give_back(state, &self.request.settings);
        }
    }
}
