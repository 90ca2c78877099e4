//! One transaction around everything that a test does, rolled back at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::Lease;
use super::request_settings::RequestSettings;
use super::reset::{self, RESET};
use super::state::{Health, LeaseState, Reply};
use crate::pool::{AcquireError, Pool, PooledSession};
use crate::session::{Abandoned, Session, ask, cancel_until_quiet};
use crate::sql::SideEffects;
use crate::{Error, Result};

/// What a turn did is kept, and the next one has a savepoint to return to.
const KEEP: &str = "RELEASE SAVEPOINT actix_pg_turn; SAVEPOINT actix_pg_turn";

/// What a turn did is undone: something in it failed.
const UNDO: &str = "ROLLBACK TO SAVEPOINT actix_pg_turn";

/// A session in its transaction, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
    /// `None` during a turn, and when it is over.
    resting: Mutex<Option<Resting>>,
}

#[derive(Debug)]
struct Resting {
    pooled: PooledSession,
    /// Whose settings, temporary tables and the like are on it.
    marked_by: Option<Weak<RequestSettings>>,
}

/// One turn in a sandbox.
#[derive(Debug)]
pub(crate) struct Turn {
    sandbox: Arc<Sandbox>,
    whose: Weak<RequestSettings>,
    _permit: OwnedSemaphorePermit,
}

impl Sandbox {
    pub(crate) async fn begin(pool: Arc<Pool>) -> Result<Arc<Self>> {
        let lease = Lease::new(pool.acquire().await?);
        let mut session_use = lease.enter()?;
        session_use.send(SideEffects::UNKNOWN, Reply::Whole).await?;
        let begun = session_use.session().client().batch_execute("BEGIN").await;
        let begun = match begun {
            Ok(()) => session_use.session().client().batch_execute("SAVEPOINT actix_pg_turn").await,
            refused => refused,
        };
        session_use.answered(begun.map_err(|err| Error::Begin(err.into())))?;
        drop(session_use);
        let pooled = lease.into_pooled_session().ok_or(Error::SessionLost)?;
        let resting = Mutex::new(Some(Resting { pooled, marked_by: None }));
        Ok(Arc::new(Self { pool, turns: Arc::new(Semaphore::new(1)), resting }))
    }

    /// Waits for a turn, for `acquire_timeout` at most.
    pub(crate) async fn turn(
        self: &Arc<Self>,
        whose: &Arc<RequestSettings>,
    ) -> Result<Arc<Lease>, AcquireError> {
        let permit = self.pool.within_acquire_timeout(Arc::clone(&self.turns).acquire_owned()).await?;
        let permit = permit.map_err(|_| AcquireError::DatabaseClosed)?;
        let resting = self.resting().take();
        let Resting { pooled, marked_by } = resting.ok_or(AcquireError::SandboxLost)?;
        let turn = Turn { sandbox: Arc::clone(self), whose: Arc::downgrade(whose), _permit: permit };
        let strange = marked_by.is_some_and(|owner| !owner.ptr_eq(&turn.whose));
        let lease = Lease::in_turn(pooled, turn);
        if strange { self.cleaned(lease).await } else { Ok(lease) }
    }

    /// Cleans the session, at home: who waits for it may give up.
    async fn cleaned(&self, lease: Arc<Lease>) -> Result<Arc<Lease>, AcquireError> {
        let (ready, cleaned) = oneshot::channel();
        self.pool.home().spawn(async move {
            lease.session().driver().go_home();
            let clean = format!("{RESET}; {KEEP}");
            if matches!(reset::reset(lease.session(), &clean).await, Ok(true)) {
                let _ = ready.send(lease);
            }
        });
        cleaned.await.map_err(|_| AcquireError::SandboxLost)
    }

    /// Waits for the turn that is being taken, and rolls back.
    pub(crate) async fn close(&self) {
        let _ = self.pool.within_acquire_timeout(self.turns.acquire()).await;
        self.turns.close();
        self.roll_back();
    }

    fn roll_back(&self) {
        if let Some(Resting { pooled, .. }) = self.resting().take() {
            reset::give_back(pooled, &LeaseState::unknown());
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

impl Turn {
    /// Keeps what was done, or undoes it if something failed, and lets the next one have its turn.
    pub(crate) fn end(self, pooled: PooledSession, state: &LeaseState) {
        let pool = Arc::clone(&self.sandbox.pool);
        let (sound, untracked) = (state.health == Health::Sound, state.untracked);
        let marked_by = state.side_effects.session.then(|| self.whose.clone());
        let home = Arc::clone(&pool);
        home.home().spawn(async move {
            // All of it: the permit too is for the end.
            let turn = self;
            let bound = pool.session_settings().reset_timeout;
            if sound && timeout(bound, ended(pooled.session(), &pool, untracked)).await == Ok(true) {
                *turn.sandbox.resting() = Some(Resting { pooled, marked_by });
            } else {
                pooled.discard("the sandbox has been left");
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
