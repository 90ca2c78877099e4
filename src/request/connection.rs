//! The connection of a request: handle and extractor.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpRequest;

use super::generic::GenericClient;
use super::request_connections::RequestConnections;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::verbs::verbs;
use super::{ClientGuard, CopyIn, CopyOut, RowStream, Scope, Transaction, TransactionBuilder};
use crate::database::{Main, Untyped};
use crate::lease::{Deadline, Params};
use crate::row::FromRow;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};
use crate::{Error, Result};

/// The lazy PostgreSQL connection of a request.
///
/// As a handler's argument it borrows nothing. The first statement borrows a session from the pool. Everything in the request
/// that extracts a `Connection` shares that session, clones included. It goes back when the response is ready, or when the
/// handler calls [`release`](Self::release). Statements may run concurrently and are pipelined.
///
/// A handle that outlives its request (a streaming body, a spawned task, a WebSocket) still works, but keeps nothing: each
/// statement borrows and returns by itself. [`Database::connection`](crate::Database::connection) makes one outside of any request.
///
/// `D` names the database, in an application that has [several](crate::guide::several_databases); there is nothing to write for one.
///
/// SQL is prepared once per session and cached. Parameters are those of
/// [tokio-postgres](crate::tokio_postgres::types::ToSql).
///
/// # Extraction
///
/// ```
/// use actix_pg::{Connection, OrNotFound, Result};
/// use actix_web::{Responder, get, web};
///
/// #[get("/users/{id}")]
/// async fn user(id: web::Path<i64>, conn: Connection) -> Result<impl Responder> {
///     conn.query_opt_scalar::<String>("SELECT name FROM users WHERE id = $1", &[&*id]).await?.or_not_found()
/// }
/// ```
///
/// It fails with [`Error::MissingMiddleware`] where no middleware wraps the route, and with [`Error::NoRequestConnection`] where
/// `use_connection_for_request` is off. Other extractors and middleware get it with
/// [`req.connection()`](crate::ConnectionExt::connection).
///
/// # Errors
///
/// Every statement may fail with:
///
/// | error | when |
/// |---|---|
/// | [`Acquire`](Error::Acquire) | it has to borrow, and no session could be had |
/// | [`Busy`](Error::Busy) | a [`RowStream`] or a copy is open |
/// | [`ConnectionClosed`](Error::ConnectionClosed) | [`close`](Self::close) has been called |
/// | [`SessionLost`](Error::SessionLost) | the session broke under an earlier statement; [`release`](Self::release) it |
/// | [`CommandTimeout`](Error::CommandTimeout) | it took longer than `command_timeout` |
/// | [`TimedOut`](Error::TimedOut) | it took longer than [`with_timeout`](Self::with_timeout) or [`set_deadline`](Self::set_deadline) allow |
/// | [`NeedsSession`](Error::NeedsSession) | with `pooler = "transaction"`, it needs what outlives a transaction |
/// | [`Setting`](Error::Setting) | the server refuses what [`set_config`](Self::set_config) has recorded |
/// | [`TransactionFailed`](Error::TransactionFailed) | an earlier statement of the open transaction was abandoned |
/// | [`Begin`](Error::Begin) | it is the first of a transaction, and the server refuses to begin that |
/// | [`Row`](Error::Row) | its rows do not fit the struct that they are read into |
/// | [`Sandboxed`](Error::Sandboxed) | in a sandbox, it begins or ends a transaction |
/// | [`Postgres`](Error::Postgres) | the server or the driver refuses it |
///
/// The page [`errors`](crate::guide::errors) says what each means, and what helps.
///
/// # Cancel safety
///
/// The future of a statement may be dropped at any moment: by a time-out, by `select!`, or because the client hung up.
///
/// - While it waits for a session, or for its turn on it, nothing has been sent. It leaves the queue, and nobody loses
///   anything by that.
/// - Once it has been sent, it is abandoned: it is **cancelled on the server**. It is not known whether it took effect. The next
///   statement on the session waits until the server has confirmed the end. If that takes longer than `reset_timeout`, the
///   session is discarded.
/// - **A transaction that it was sent in fails.** Later statements of it, and its commit, are
///   [`Error::TransactionFailed`]; it can only be rolled back. A savepoint limits that to itself.
/// - While another statement of the same request is running, nothing is cancelled until that one has ended. A cancel request
///   names a session, not a statement.
///
/// A statement that takes longer than `command_timeout` is abandoned in the same way.
pub struct Connection<D = Main> {
    scope: Arc<Scope>,
    marker: PhantomData<fn() -> D>,
}

impl<D> Connection<D> {
    pub(super) fn new(scope: Arc<Scope>) -> Self {
        Self { scope, marker: PhantomData }
    }

    /// The request's connection to a database, whatever its name.
    pub(super) fn to(database: &Untyped, req: &HttpRequest) -> Self {
        Self::new(RequestConnections::of(req, database))
    }

    /// The request's connection to the database of this name.
    pub(super) fn of(req: &HttpRequest) -> Result<Self>
    where
        D: 'static,
    {
        RequestConnections::database::<D>(req).map(|database| Self::to(database, req))
    }

    /// Whether a session has been borrowed.
    pub(super) fn is_used(&self) -> bool {
        self.scope.is_used()
    }

    /// What statements run on.
    fn executor(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// Begins a transaction. Borrows a session if there is none, and keeps it until the end.
    ///
    /// Until it has ended, everything that runs through the request's connection runs in it. There can be one at a time; the
    /// [`Transaction`] can have others in it. [`transact`](Self::transact) ends it by itself.
    ///
    /// `BEGIN` is sent with the first statement: [when a transaction begins](Transaction#when-it-begins). Only where SQL or a
    /// [`ClientGuard`] may have begun one on the session before, and after a refused setting, this waits for the server.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while another is open, also one that SQL has begun; [`Error::Begin`] if the server is asked here and refuses; those of
    /// [every statement](Self#errors).
    ///
    /// # Cancel safety
    ///
    /// A transaction whose `BEGIN` was sent when the future is dropped is rolled back before anything else is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let schema = "CREATE TABLE accounts (id int, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// let tx = conn.transaction().await?;
    /// tx.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1", &[]).await?;
    /// tx.execute("UPDATE accounts SET balance = balance + 10 WHERE id = 2", &[]).await?;
    /// tx.commit().await?;
    ///
    /// drop(conn.transaction().await?); // rolled back
    /// # let balances: Vec<i32> = conn.query_scalar("SELECT balance FROM accounts ORDER BY id", &[]).await?;
    /// # assert_eq!(balances, [90, 110]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn transaction(&self) -> impl Future<Output = Result<Transaction>> + Send {
        self.begin(Location::caller())
    }

    /// Prepares a transaction with options: isolation level, read only, deferrable, retries.
    ///
    /// Sends nothing. [`begin`](TransactionBuilder::begin) begins it; [`run`](TransactionBuilder::run) runs a function in it.
    pub fn build_transaction(&self) -> TransactionBuilder {
        TransactionBuilder::of_scope(Arc::clone(&self.scope))
    }

    /// Runs a function in a transaction: commits on `Ok`, rolls back on `Err`, and runs it again, up to 3 times, if it lost
    /// against another transaction. [`TransactionBuilder::run`] says when exactly.
    ///
    /// # Errors
    ///
    /// Those of the function, of [`transaction`](Self::transaction) and of [`Transaction::commit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls back, unless COMMIT had been sent: then all of it was committed or none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let schema = "CREATE TABLE accounts (id int, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// use actix_pg::{Error, Transaction};
    ///
    /// let left = conn
    ///     .transact(async |tx: Transaction| {
    ///         tx.execute("UPDATE accounts SET balance = balance + 10 WHERE id = 2", &[]).await?;
    ///         let sql = "UPDATE accounts SET balance = balance - 10 WHERE id = 1 RETURNING balance";
    ///         Ok::<_, Error>(tx.query_one_scalar::<i32>(sql, &[]).await?)
    ///     })
    ///     .await?;
    /// assert_eq!(left, 90);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn transact<T, E, F, Fut>(&self, transaction: F) -> impl Future<Output = Result<T, E>>
    where
        E: From<Error>,
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.build_transaction().run(transaction)
    }

    /// Sets a [configuration parameter](https://www.postgresql.org/docs/current/config-setting.html), such as `app.tenant`
    /// or `statement_timeout`, for the rest of the request.
    ///
    /// Borrows nothing and never waits. The setting is recorded, and applied before the request's next statement: everything that was
    /// set at once, in the same round trip as a query that changes nothing or a statement in a transaction, else, and with `reset =
    /// "always"`, in one of its own. It is applied again to every session that is borrowed later on (after
    /// [`release`](Self::release), or by a handle that outlives the request), and after a rollback. No other
    /// request meets it, whatever the option `reset` says. The last value of a name counts.
    ///
    /// A custom setting, one with a dot in its name, is NULL in `current_setting('app.tenant', true)` on a new session. Once a
    /// session has had it, PostgreSQL leaves the empty string, which is no number. A policy has to take both:
    ///
    /// ```sql
    /// CREATE POLICY own ON notes USING (tenant = nullif(current_setting('app.tenant', true), '')::bigint)
    /// ```
    ///
    /// The page [`settings`](crate::guide::settings) has a whole application with tenants.
    ///
    /// # Errors
    ///
    /// [`Error::SettingName`] and [`Error::SettingValue`]; [`Error::SettingReserved`] for `client_encoding`. A value that the
    /// server refuses is an [`Error::Setting`] of every following statement. None of them has an effect, and no answer of theirs is
    /// given out, until the setting is set to something else.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// conn.set_config("app.tenant", "42")?;
    /// let tenant: String = conn.query_one_scalar("SELECT current_setting('app.tenant')", &[]).await?;
    /// assert_eq!(tenant, "42");
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_config(&self, name: &str, value: &str) -> Result<()> {
        self.scope.settings().set(name, value)
    }

    /// Sets when all database work of the request has to be over. `None` takes that back.
    ///
    /// Borrows nothing and never waits. It bounds every later call of the request, with the borrow that it needs: on this connection
    /// and its clones, in its transactions and in the [`RequestTransaction`](crate::RequestTransaction), the commit too. What runs when
    /// the time has come is abandoned, as under `command_timeout`; later calls fail at once, with
    /// [`Error::TimedOut`]. Row streams, copies and a [`ClientGuard`] that have been handed out are not cut off.
    /// [`with_timeout`](Self::with_timeout) bounds a single call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// use std::time::{Duration, Instant};
    ///
    /// use actix_pg::Error;
    ///
    /// conn.set_deadline(Instant::now() + Duration::from_millis(100));
    /// let late = conn.query("SELECT pg_sleep(60)", &[]).await.unwrap_err();
    /// assert!(matches!(late, Error::TimedOut { sent: true, .. }));
    /// let later = conn.query("SELECT 1", &[]).await.unwrap_err();
    /// assert!(matches!(later, Error::TimedOut { sent: false, .. }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_deadline(&self, deadline: impl Into<Option<Instant>>) {
        self.scope.set_deadline(deadline.into().map(Deadline::at));
    }

    /// Lends the [`tokio_postgres::Client`](crate::tokio_postgres::Client) of the request's session, for what has no verb here:
    /// typed queries, type look-ups, code that is generic over tokio-postgres' own `GenericClient`.
    ///
    /// Nothing is known of what is done with it, so the session is reset when it goes back, whatever the option `reset` says.
    /// [`ClientGuard`] says what must not outlive it.
    ///
    /// # Errors
    ///
    /// Those of [every statement](Self#errors), but [`Error::CommandTimeout`]: what is done with the client is not bounded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lends nothing. A statement of the client's that is abandoned is not cancelled at once, but when the
    /// session goes back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// use actix_pg::tokio_postgres::types::Type;
    ///
    /// let client = conn.client().await?;
    /// let rows = client.query_typed("SELECT $1", &[(&"text", Type::TEXT)]).await?;
    /// assert_eq!(rows[0].get::<_, &str>(0), "text");
    /// drop(client); // until here, `release` is refused
    /// conn.release()?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn client(&self) -> impl Future<Output = Result<ClientGuard>> + Send {
        let caller = Location::caller();
        async move { ClientGuard::of(self.scope.enter(caller).await?).await }
    }

    /// Gives the session back now, before something slow. The next statement borrows again, maybe another session.
    ///
    /// Never waits, and does nothing if nothing is borrowed.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while a statement, [`RowStream`], copy, transaction or [`ClientGuard`] of the request is alive: it would
    /// be cut in two.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// conn.query("SELECT 1", &[]).await?;
    /// assert_eq!(db.status().used, 1);
    /// conn.release()?;
    /// assert_eq!(db.status().used, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn release(&self) -> Result<()> {
        self.scope.release()
    }

    /// Gives the session back for good: later statements of the request fail with [`Error::ConnectionClosed`].
    ///
    /// Never waits, and may be called again.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], as [`release`](Self::release).
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// use actix_pg::Error;
    ///
    /// conn.close()?;
    /// assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::ConnectionClosed)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) -> Result<()> {
        self.scope.close()
    }
}

impl<D> Clone for Connection<D> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.scope))
    }
}

impl<D> fmt::Debug for Connection<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&format_args!("{}", self.scope.describe())).finish()
    }
}

impl<D> Executor for Connection<D> {
    fn enter(&self, caller: Caller) -> impl Future<Output = Result<Acquired>> + Send {
        Executor::enter(self.executor(), caller)
    }

    fn shares(&self) -> Option<Shares<'_>> {
        Executor::shares(self.executor())
    }

    fn give_back(&self) -> bool {
        Executor::give_back(self.executor())
    }

    fn begin(&self, caller: Caller) -> impl Future<Output = Result<Transaction>> + Send {
        Executor::begin(self.executor(), caller)
    }
}

impl<D> GenericClient for Connection<D> {}

verbs!(
    [D]
    Connection<D>,
    "conn",
    "```
# use actix_pg::{Database, testing::Postgres};
# #[actix_web::main]
# async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let schema = \"CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
#     INSERT INTO users VALUES (1, 'ada'), (2, 'grace')\";
# let database = Postgres::shared()?.database_with(schema).await?;
# let db = Database::connect(database.config()).await?;
# let conn = db.connection();"
);
