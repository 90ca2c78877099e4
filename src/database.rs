//! The application's handle: what is started and ended with it.

use std::fmt;
use std::marker::PhantomData;

use crate::Result;
use crate::config::Config;
use crate::pool::Status;
use crate::session::Hooks;

mod listen;
mod named;
mod ping;
mod renew;
mod reader;
#[cfg(feature = "testing")]
mod sandbox;
mod session;
mod pooler;
mod untyped;

pub use named::Main;
pub(crate) use named::name_of;
pub(crate) use ping::ask;
pub(crate) use untyped::Untyped;

/// The application's database: a pool of sessions, and what makes connections of them.
///
/// A cheap handle; clone it into every worker. [`middleware`](Self::middleware) gives each request its connection. Outside of
/// requests, in jobs, repositories and GraphQL schemas, the handle runs statements itself:
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// let one: i32 = db.query_one_scalar("SELECT 1", &[]).await?; // borrows a session, and returns it
/// assert_eq!((one, db.status().used), (1, 0));
/// # Ok(())
/// # }
/// ```
///
/// Each statement borrows a session and returns it, so two of them may run at the same time, and may run on different sessions. What
/// belongs on one session runs in a [`transaction`](Self::transaction) or on a [`connection`](Self::connection).
///
/// The runtime on which [`connect`](Self::connect) is called is the home of all sessions, and has to outlive the workers: call it in
/// `main`, before `HttpServer::run`.
///
/// ```no_run
/// use actix_pg::{Config, Database};
/// use actix_web::{App, HttpServer};
///
/// #[actix_web::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let db = Database::connect(Config::from_env()?).await?;
///     let app = db.clone();
///     HttpServer::new(move || App::new().wrap(app.middleware())).bind(("127.0.0.1", 8080))?.run().await?;
///     db.close().await;
///     Ok(())
/// }
/// ```
///
/// # Several databases
///
/// `D` tells the databases of an application apart. With one there is nothing to write: it is [`Main`].
/// [`named`](Self::named) makes another, whose requests have a `Connection<Reports>`.
///
/// # Errors
///
/// Every statement may fail with:
///
/// | error | when |
/// |---|---|
/// | [`Acquire`](crate::Error::Acquire) | no session could be had |
/// | [`CommandTimeout`](crate::Error::CommandTimeout) | it took longer than `command_timeout` |
/// | [`TimedOut`](crate::Error::TimedOut) | it took longer than [`with_timeout`](Self::with_timeout) allows |
/// | [`SessionLost`](crate::Error::SessionLost) | the session broke before the statement was sent |
/// | [`NeedsSession`](crate::Error::NeedsSession) | with `pooler = "transaction"`, it needs what outlives a transaction |
/// | [`Row`](crate::Error::Row) | its rows do not fit the struct that they are read into |
/// | [`Sandboxed`](crate::Error::Sandboxed) | in a sandbox, it begins or ends a transaction |
/// | [`Postgres`](crate::Error::Postgres) | the server or the driver refuses it |
///
/// The page [`errors`](crate::guide::errors) says what each means, and what helps.
///
/// It is never [`Busy`](crate::Error::Busy): a [`RowStream`](crate::RowStream) or a copy has a session for itself.
///
/// # Cancel safety
///
/// The future of a statement may be dropped at any moment. Before it was sent, nothing has happened. After that it is cancelled on
/// the server, and it is not known whether it took effect; the session is made clean, or discarded, before it is lent again.
pub struct Database<D = Main> {
    untyped: Untyped,
    marker: PhantomData<fn() -> D>,
}

impl Database {
    /// Checks the configuration, proves the database reachable and opens `pool_min_size` sessions.
    ///
    /// Tries `retry_limit` times in all, `retry_interval` apart. What cannot succeed is
    /// [not retried](crate::ConnectError::is_final). A failed start leaves no server connection behind.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) before anything is connected, else [`Error::Connect`](crate::Error::Connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the start. What had been opened is closed in the background.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio (or Actix) runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// use std::time::Duration;
    ///
    /// use actix_pg::Config;
    ///
    /// let config = Config {
    ///     pool_max_size: 16,
    ///     retry_limit: 5, // a database that is starting up beside the application
    ///     retry_interval: Duration::from_secs(2),
    ///     ..database.config() // in an application: Config::from_env()?
    /// };
    /// let db = Database::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(config: Config) -> Result<Self> {
        Self::start(config, Hooks::default()).await
    }

    pub(crate) async fn start(config: Config, hooks: Hooks) -> Result<Self> {
        Ok(Self::new(Untyped::start(config, hooks).await?))
    }
}

impl<D> Database<D> {
    pub(crate) fn new(untyped: Untyped) -> Self {
        Self { untyped, marker: PhantomData }
    }

    pub(crate) fn untyped(&self) -> &Untyped {
        &self.untyped
    }

    /// Counts the pool's sessions and the requests that wait for one. Costs next to nothing; see [`Status`] for what it is not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let conn = db.connection();
    /// conn.query("SELECT 1", &[]).await?;
    /// let status = db.status();
    /// assert_eq!((status.max, status.open, status.used), (10, 5, 1));
    /// assert_eq!(serde_json::to_value(status)?["idle"], 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> Status {
        self.untyped.lender().pool().status()
    }

    /// Changes `pool_min_size` and `pool_max_size` while the pool is in use. Never waits.
    ///
    /// A larger pool has room at once: requests that wait are served by new sessions. A smaller one lends no more than it may, and shrinks in
    /// the background: sessions that idle are ended now, those in use when they come back. Until then [`Status::open`] may be more than
    /// [`Status::max`], but no session is opened. As ever, a place is given on only when its session has ended on the server.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) if `max` is zero, or less than `min`. Nothing is changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// db.resize(2, 20)?;
    /// assert_eq!(db.status().max, 20);
    /// assert!(db.resize(20, 2).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn resize(&self, min: u32, max: u32) -> Result<()> {
        self.untyped.resize(min, max)
    }

    /// Stops lending, waits for what is lent, and says goodbye to the server.
    ///
    /// Call it when the HTTP server has stopped. It waits for `close_timeout` at most, and may be called again. A statement that needs a
    /// session from now on gets [`AcquireError::DatabaseClosed`](crate::AcquireError::DatabaseClosed). On a sandbox it rolls back. The streams of
    /// [`listen`](Self::listen) end. The [`reader`](Self::reader) is closed too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait. The database is closed from the first poll on, and each session that is lent ends
    /// when it comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// use actix_pg::{AcquireError, Error};
    ///
    /// db.close().await;
    /// let err = db.connection().query("SELECT 1", &[]).await.unwrap_err();
    /// assert!(matches!(err, Error::Acquire(AcquireError::DatabaseClosed)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) {
        self.untyped.close().await;
    }
}

impl<D> Clone for Database<D> {
    fn clone(&self) -> Self {
        Self::new(self.untyped.clone())
    }
}

impl<D> fmt::Debug for Database<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { max, open, idle, used, pending_requests, .. } = self.status();
        f.debug_struct("Database")
            .field("max", &max)
            .field("open", &open)
            .field("idle", &idle)
            .field("used", &used)
            .field("pending_requests", &pending_requests)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "testing")]
impl<D> Database<D> {
    /// Makes a database for a test: everything that is done with it happens in one transaction, which is rolled back when its
    /// last handle is dropped or [closed](Self::close). Feature `testing`.
    ///
    /// Wrap the application under test in its middleware, and keep a handle to look at what the application did:
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
    /// has it for itself, behind a savepoint, so that an error in one does not spoil the others. [`statements`](Self::statements) says which
    /// have run. Other things than in production:
    ///
    /// - A transaction is a savepoint, without an isolation level or other options of its own.
    /// - What runs [after a commit](crate::Transaction::after_commit) waits for [`run_after_commit`](Self::run_after_commit).
    /// - A deferred constraint is not checked, and the time of `now()` stands still.
    /// - SQL that begins or ends a transaction is [`Error::Sandboxed`](crate::Error::Sandboxed).
    ///
    /// # Errors
    ///
    /// [`Error::Acquire`](crate::Error::Acquire) if no session can be had, [`Error::Begin`](crate::Error::Begin) if the server
    /// refuses to begin.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the session back, without a transaction.
    pub async fn sandbox(&self) -> Result<Self> {
        Ok(Self::new(self.untyped.sandbox().await?))
    }
}
