//! One transaction around everything that a test does, rolled back at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::acquire_error::AcquireError;
use super::activity::{Abandoned, Activity, Answer, Health};
use super::lease::Lease;
use super::place::Place;
use super::pool::Pool;
use super::recorded::Recorded;
use super::reset::{self, RESET};
use super::session::Session;
use super::sql::Traces;
use crate::{Database, Error, Result};

/// What a turn did is kept, and the next one has a savepoint to return to.
const KEEP: &str = "RELEASE SAVEPOINT actix_pg_turn; SAVEPOINT actix_pg_turn";

/// What a turn did is undone: something in it failed.
const UNDO: &str = "ROLLBACK TO SAVEPOINT actix_pg_turn";

impl Database {
    /// A database for a test: everything that is done with it happens in one transaction, which is rolled back when its last
    /// handle is dropped or [closed](Self::close). Feature `testing`.
    ///
    /// Make the application of it under test, with its middleware; keep a handle to look at what the application did:
    ///
    /// ```
    /// # use actix_pg::{Connection, Database, Result, testing::Postgres};
    /// # use actix_web::{App, HttpResponse, test, web};
    /// # async fn create(conn: Connection) -> Result<HttpResponse> {
    /// #     conn.execute("INSERT INTO users VALUES (1)", &[]).await?;
    /// #     Ok(HttpResponse::Created().finish())
    /// # }
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let postgres = Postgres::shared()?;
    /// # let database = postgres.database_with("CREATE TABLE users (id bigint)").await?;
    /// let db = Database::connect(database.config()).await?;
    /// let sandbox = db.sandbox().await?;
    /// let app = App::new().wrap(sandbox.middleware()).route("/users", web::post().to(create));
    /// let app = test::init_service(app).await;
    ///
    /// let res = test::call_service(&app, test::TestRequest::post().uri("/users").to_request()).await;
    /// assert_eq!(res.status(), 201);
    /// let users = "SELECT count(*) FROM users";
    /// assert_eq!(sandbox.connection().query_one_scalar::<i64>(users, &[]).await?, 1);
    /// sandbox.close().await;
    /// assert_eq!(db.connection().query_one_scalar::<i64>(users, &[]).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// There is one session. Requests, concurrent ones too, take turns on it: a statement, a transaction, a row stream or a copy
    /// has it for itself, behind a savepoint, so that an error in one does not spoil the others. A transaction is a savepoint
    /// here, without an isolation level or other options of its own; a deferred constraint is not checked, and the time
    /// of `now()` stands still. SQL that begins or ends a transaction is [`Error::Sandboxed`].
    ///
    /// # Errors
    ///
    /// [`Error::Acquire`] if no session can be had, [`Error::Begin`] if it refuses to begin.
    pub async fn sandbox(&self) -> Result<Self> {
        let pool = Arc::clone(self.lender().pool());
        let sandbox = Sandbox::begin(pool).await?;
        Ok(self.within(sandbox))
    }
}

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
    place: Place,
    /// Whose settings, temporary tables and the like are on it.
    marked_by: Option<Weak<Recorded>>,
}

/// One turn in a sandbox.
#[derive(Debug)]
pub(super) struct Turn {
    sandbox: Arc<Sandbox>,
    whose: Weak<Recorded>,
    _permit: OwnedSemaphorePermit,
}

impl Sandbox {
    async fn begin(pool: Arc<Pool>) -> Result<Arc<Self>> {
        let lease = pool.acquire().await?;
        let mut usage = lease.enter()?;
        usage.send(Traces::UNKNOWN, Answer::Whole).await?;
        let begun = usage.session().client().batch_execute("BEGIN").await;
        let begun = match begun {
            Ok(()) => usage.session().client().batch_execute("SAVEPOINT actix_pg_turn").await,
            refused => refused,
        };
        usage.answered(begun.map_err(|err| Error::Begin(err.into())))?;
        drop(usage);
        let place = lease.into_place().ok_or(Error::SessionLost)?;
        let resting = Mutex::new(Some(Resting { place, marked_by: None }));
        Ok(Arc::new(Self { pool, turns: Arc::new(Semaphore::new(1)), resting }))
    }

    /// Waits for a turn, for `acquire_timeout` at most.
    pub(super) async fn turn(self: &Arc<Self>, whose: &Arc<Recorded>) -> Result<Arc<Lease>, AcquireError> {
        let permit = self.pool.within_acquire_timeout(Arc::clone(&self.turns).acquire_owned()).await?;
        let permit = permit.map_err(|_| AcquireError::Closed)?;
        let resting = self.resting().take();
        let Resting { place, marked_by } = resting.ok_or(AcquireError::SandboxLost)?;
        let turn = Turn { sandbox: Arc::clone(self), whose: Arc::downgrade(whose), _permit: permit };
        let strange = marked_by.is_some_and(|owner| !owner.ptr_eq(&turn.whose));
        let lease = Lease::in_turn(place, turn);
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
    pub(super) async fn close(&self) {
        let _ = self.pool.within_acquire_timeout(self.turns.acquire()).await;
        self.turns.close();
        self.roll_back();
    }

    fn roll_back(&self) {
        if let Some(Resting { place, .. }) = self.resting().take() {
            reset::give_back(place, &Activity::unknown());
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
    pub(super) fn end(self, place: Place, activity: &Activity) {
        let pool = Arc::clone(&self.sandbox.pool);
        let (sound, unseen) = (activity.health == Health::Sound, activity.unseen);
        let marked_by = activity.traces.session.then(|| self.whose.clone());
        let home = Arc::clone(&pool);
        home.home().spawn(async move {
            // All of it: the permit too is for the end.
            let turn = self;
            let bound = pool.session_settings().reset_timeout;
            if sound && timeout(bound, ended(place.session(), &pool, unseen)).await == Ok(true) {
                *turn.sandbox.resting() = Some(Resting { place, marked_by });
            } else {
                place.discard("the sandbox has been left");
            }
        });
    }
}

async fn ended(session: &Session, pool: &Pool, unseen: bool) -> bool {
    session.driver().go_home();
    if unseen && !reset::quieten(session, pool.connector(), Abandoned::Ending).await {
        return false;
    }
    let kept = match reset::ask(session, KEEP).await {
        Err(err) if err.as_db_error().is_some() => reset::ask(session, UNDO).await,
        kept => kept,
    };
    matches!(kept, Ok(true))
}
