//! The extractor, and its query verbs.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::generic::GenericClient;
use super::generic::sealed::{Acquired, Executor};
use super::request_connections::RequestConnections;
use super::verbs::verbs;
use super::{ClientGuard, CopyIn, CopyOut, RowStream, Scope, Transaction, TransactionBuilder};
use crate::lease::Params;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::FromSqlOwned;
use crate::{Database, Error, Result};

/// The lazy PostgreSQL connection of a request.
///
/// As a handler's argument it borrows nothing. The first statement borrows a session from the pool; everything in the
/// request that extracts a `Connection` shares it, clones included; it goes back when the response is ready, or when the
/// handler calls [`release`](Self::release). Statements may run concurrently and are pipelined.
///
/// A handle that outlives its request (a streaming body, a spawned task, a WebSocket) still works, but keeps nothing: each
/// statement borrows and returns by itself.
///
/// SQL is prepared once per session and cached. Parameters are those of
/// [tokio-postgres](crate::tokio_postgres::types::ToSql).
///
/// # Errors
///
/// Extraction fails with [`Error::MissingMiddleware`] or [`Error::NoRequestConnection`]. Every statement may fail with
/// [`Error::Acquire`] if it has to borrow, with [`Error::Busy`] while a [`RowStream`] is open, [`Error::ConnectionClosed`] after
/// [`close`](Self::close), [`Error::CommandTimeout`], and [`Error::Postgres`].
#[derive(Clone)]
pub struct Connection {
    scope: Arc<Scope>,
}

impl Connection {
    pub(crate) fn new(scope: Arc<Scope>) -> Self {
        Self { scope }
    }

    pub(crate) fn of(req: &HttpRequest, database: &Database) -> Self {
        Self::new(RequestConnections::of(req, database))
    }

    /// Begins a transaction.
    ///
    /// Until it has ended, everything that runs through the request's connection runs in it. There can be one at a time; the
    /// [`Transaction`] can have others in it. [`transact`](Self::transact) ends it by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while another is open; [`Error::Begin`] if the server refuses.
    pub async fn transaction(&self) -> Result<Transaction> {
        self.begin().await
    }

    /// A transaction with options: isolation level, read only, deferrable, retries.
    pub fn build_transaction(&self) -> TransactionBuilder {
        TransactionBuilder::new(self.clone())
    }

    /// Runs a function in a transaction: commits on `Ok`, rolls back on `Err`, and runs it again, up to 3 times, if it lost
    /// against another transaction. More in [`TransactionBuilder::run`].
    ///
    /// ```no_run
    /// # use actix_pg::{Connection, Result, Transaction};
    /// # async fn transfer(conn: Connection) -> Result<()> {
    /// conn.transact(async |tx: Transaction| {
    ///     tx.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1", &[]).await?;
    ///     tx.execute("UPDATE accounts SET balance = balance + 10 WHERE id = 2", &[]).await?;
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the function, of [`transaction`](Self::transaction) and of [`Transaction::commit`].
    pub async fn transact<T, E, F, Fut>(&self, transaction: F) -> Result<T, E>
    where
        E: From<Error>,
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.build_transaction().run(transaction).await
    }

    /// Sets a [configuration parameter](https://www.postgresql.org/docs/current/config-setting.html), such as `app.tenant`
    /// or `statement_timeout`, for the rest of the request.
    ///
    /// Borrows nothing: it is recorded, and applied to the session before the request's next statement, in one more round
    /// trip for all that was set; again to every session that is borrowed later on (after [`release`](Self::release), or by
    /// a handle that outlives the request), and after a rollback. It is gone when the session goes back, whatever the
    /// option `reset` says.
    ///
    /// What PostgreSQL leaves of a custom setting (one with a dot in its name) is the empty string and not NULL: on a session
    /// that nobody has set it on `current_setting('app.tenant', true)` is NULL, later it is `''`, which no cast to a number
    /// takes. A policy has to be written for both:
    ///
    /// ```sql
    /// CREATE POLICY own ON notes USING (tenant = nullif(current_setting('app.tenant', true), '')::bigint)
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::SettingName`], [`Error::SettingValue`], and [`Error::SettingReserved`] for `client_encoding`. What the server does not take is an [`Error::Setting`] of every
    /// following statement, none of which runs, until the setting is set to something else.
    pub fn set_config(&self, name: &str, value: &str) -> Result<()> {
        self.scope.settings().set(name, value)
    }

    /// Lends the [`tokio_postgres::Client`](crate::tokio_postgres::Client) of the request's session, for all that has no
    /// verb here: typed queries, type look-ups.
    ///
    /// Nothing is known of what is done with it, so the session is reset when it goes back.
    pub async fn client(&self) -> Result<ClientGuard> {
        ClientGuard::of(self.scope.enter().await?).await
    }

    /// Gives the session back now, before something slow; the next statement borrows again, maybe another one.
    ///
    /// Never waits; does nothing if nothing is borrowed.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while a statement, [`RowStream`], transaction or [`ClientGuard`] of the request is alive: it would
    /// be cut in two.
    pub fn release(&self) -> Result<()> {
        self.scope.release()
    }

    /// Gives the session back for good: later statements of the request fail with [`Error::ConnectionClosed`]. May be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], as [`release`](Self::release).
    pub fn close(&self) -> Result<()> {
        self.scope.close()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&format_args!("{}", self.scope.describe())).finish()
    }
}

impl Executor for Connection {
    async fn enter(&self) -> Result<Acquired> {
        Ok(Acquired(self.scope.enter().await?))
    }

    async fn begin(&self) -> Result<Transaction> {
        self.build_transaction().begin().await
    }
}

impl Database {
    /// A connection outside of any request: lazy and shared among its clones, returned by
    /// [`release`](Connection::release) or with the last of them.
    pub fn connection(&self) -> Connection {
        Connection::new(Scope::new(self.lender().clone()))
    }

    /// The request's connection to this database, for requests that talk to several.
    ///
    /// The extractor [`Connection`] is that of the innermost middleware.
    pub fn connection_for(&self, req: &HttpRequest) -> Connection {
        Connection::of(req, self)
    }
}

impl GenericClient for Connection {}

verbs!(Connection);

impl FromRequest for Connection {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(RequestConnections::database(req).map(|database| Self::of(req, database)))
    }
}
