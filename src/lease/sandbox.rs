//! One transaction around everything that a test does. It is rolled back at the end.
//!
//! ```text
//!   BEGIN; SAVEPOINT ──> a turn ──ended well──> RELEASE; SAVEPOINT ──> the next turn
//!                          │ failed ──> ROLLBACK TO SAVEPOINT ──────────^
//! ```

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::callbacks::{Callback, run};
use super::health::Health;
use super::request_info::RequestInfo;
use super::request_settings::RequestSettings;
use super::reset;
use super::state::LeaseState;
use crate::pool::{AcquireError, Pool, PooledSession};
use crate::session::{Abandoned, Session, ask, cancel_until_quiet};
use crate::stats::EndReason;
use crate::{Error, Result};

/// Keeps what a turn did, and gives the next turn a savepoint to return to.
const KEEP: &str = "RELEASE SAVEPOINT actix_pg_turn; SAVEPOINT actix_pg_turn";

/// Undoes a turn in which something failed.
const UNDO: &str = "ROLLBACK TO SAVEPOINT actix_pg_turn";

/// A session in a transaction that its users take turns in.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
    /// `None` during a turn, and when it is over.
    resting: Mutex<Option<Resting>>,
    /// What would run after a commit, if there were one.
    kept: Mutex<Vec<Callback>>,
    /// The statements that have run.
    statements: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Resting {
    pooled: PooledSession,
    /// The request whose settings, temporary tables and the like are on the session.
    marked_by: Option<Weak<RequestInfo>>,
}

/// One turn in a sandbox, with its session.
#[derive(Debug)]
pub(crate) struct Turn {
    pooled: PooledSession,
    sandbox: Arc<Sandbox>,
    whose: Weak<RequestInfo>,
    /// An earlier turn of the same request has left something on the session.
    is_marked: bool,
    _permit: OwnedSemaphorePermit,
}

impl Sandbox {
    /// Begins the transaction. Cancel safety: a session that did not get there is discarded.
    pub(super) async fn begin(pool: &Arc<Pool>) -> Result<Arc<Self>> {
        let pooled = reset::without_settings(pool.acquire().await?).await?;
        let client = pooled.session().client();
        for sql in ["BEGIN", "SAVEPOINT actix_pg_turn"] {
            client.batch_execute(sql).await.map_err(|err| Error::Begin(err.into()))?;
        }
        let resting = Mutex::new(Some(Resting { pooled, marked_by: None }));
        let turns = Arc::new(Semaphore::new(1));
        Ok(Arc::new(Self {
            pool: Arc::clone(pool),
            turns,
            resting,
            kept: Mutex::default(),
            statements: Mutex::default(),
        }))
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Waits for a turn, for `acquire_timeout` at most.
    pub(super) async fn turn(self: &Arc<Self>, whose: &Arc<RequestInfo>) -> Result<Turn, AcquireError> {
        let permit = self.pool.within_acquire_timeout(Arc::clone(&self.turns).acquire_owned()).await?;
        let permit = permit.map_err(|_| AcquireError::DatabaseClosed)?;
        let resting = self.resting().take();
        let Resting { pooled, marked_by } = resting.ok_or(AcquireError::SandboxLost)?;
        let turn = Turn {
            pooled,
            sandbox: Arc::clone(self),
            whose: Arc::downgrade(whose),
            is_marked: false,
            _permit: permit,
        };
        match marked_by {
            None => Ok(turn),
            Some(owner) if owner.ptr_eq(&turn.whose) => Ok(Turn { is_marked: true, ..turn }),
            Some(_) => self.cleaned(turn).await,
        }
    }

    /// Cleans the session at home, because the waiter may give up.
    async fn cleaned(&self, turn: Turn) -> Result<Turn, AcquireError> {
        let (ready, cleaned) = oneshot::channel();
        self.pool.home().spawn(async move {
            let session = turn.pooled.session();
            session.driver().go_home();
            let pool = Arc::clone(turn.pooled.pool());
            let clean = format!("{}; {KEEP}", reset::everything(&pool, session));
            let cleaned = timeout(pool.session_settings().reset_timeout, async {
                matches!(reset::reset(session, &clean).await, Ok(true))
                    && reset::set_up(&pool, session).await
                    // What was set up stays when the turn is undone.
                    && matches!(ask(session, KEEP).await, Ok(true))
            });
            if cleaned.await == Ok(true) {
                let _ = ready.send(Cleaned(Some(turn)));
            }
        });
        let turn = cleaned.await.ok().and_then(|mut cleaned| cleaned.0.take());
        turn.ok_or(AcquireError::SandboxLost)
    }

    pub(super) fn runs(&self, sql: &str) {
        self.noted().push(sql.to_owned());
    }

    pub(super) fn statements(&self) -> Vec<String> {
        self.noted().clone()
    }

    fn noted(&self) -> MutexGuard<'_, Vec<String>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what runs after a commit.
    pub(super) fn keep(&self, callbacks: Vec<Callback>) {
        self.kept().extend(callbacks);
    }

    /// Runs what was kept, and what that has registered, and says how many callbacks there were.
    pub(super) async fn run_kept(&self) -> usize {
        let mut count = 0;
        loop {
            let kept = mem::take(&mut *self.kept());
            if kept.is_empty() {
                return count;
            }
            count += kept.len();
            run(kept).await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Callback>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the current turn, and rolls back.
    pub(super) async fn close(&self) {
        let _ = self.pool.within_acquire_timeout(self.turns.acquire()).await;
        self.turns.close();
        self.roll_back();
    }

    fn roll_back(&self) {
        if let Some(Resting { pooled, .. }) = self.resting().take() {
            reset::give_back(pooled, &LeaseState::unknown(), &RequestSettings::default());
        }
    }

    fn resting(&self) -> MutexGuard<'_, Option<Resting>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.roll_back();
    }
}

/// A turn on its way to the waiter. If the waiter has given up, its drop ends the turn.
struct Cleaned(Option<Turn>);

impl Drop for Cleaned {
    fn drop(&mut self) {
        if let Some(turn) = self.0.take() {
            turn.end(&LeaseState::nested());
        }
    }
}

impl Turn {
    pub(super) fn pooled(&self) -> &PooledSession {
        &self.pooled
    }

    pub(super) fn pooled_mut(&mut self) -> &mut PooledSession {
        &mut self.pooled
    }

    pub(super) fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// Keeps what was done, or undoes it if something failed, and gives the turn to the next.
    pub(super) fn end(self, state: &LeaseState) {
        let pool = Arc::clone(&self.sandbox.pool);
        let (sound, untracked) = (state.health == Health::Sound, state.untracked);
        let marks = self.is_marked || state.side_effects.session || state.configured;
        let marked_by = marks.then(|| self.whose.clone());
        let home = Arc::clone(&pool);
        home.home().spawn(async move {
            // The permit too is for the end.
            let Self { pooled, sandbox, _permit, .. } = self;
            let bound = pool.session_settings().reset_timeout;
            if sound && timeout(bound, ended(pooled.session(), &pool, untracked)).await == Ok(true) {
                *sandbox.resting() = Some(Resting { pooled, marked_by });
            } else {
                pooled.discard(EndReason::Sandbox);
            }
        });
    }
}

async fn ended(session: &Session, pool: &Pool, untracked: bool) -> bool {
    session.driver().go_home();
    if untracked && !cancel_until_quiet(session, pool.connector(), Abandoned::Ending).await {
        return false;
    }
    let kept = match ask(session, KEEP).await {
        Err(err) if err.as_db_error().is_some() => ask(session, UNDO).await,
        kept => kept,
    };
    matches!(kept, Ok(true))
}
