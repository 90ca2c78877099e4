//! The extractor, and its query verbs.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::middleware::RequestScopes;
use super::{ClientGuard, RowStream, Scope};
use crate::database::{self, Params};
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
/// [`Error::Acquire`] if it has to borrow, with [`Error::Busy`] while a [`RowStream`] is open, [`Error::Closed`] after
/// [`close`](Self::close), [`Error::CommandTimeout`], and [`Error::Postgres`].
#[derive(Debug, Clone)]
pub struct Connection {
    scope: Arc<Scope>,
}

impl Connection {
    pub(crate) fn new(scope: Arc<Scope>) -> Self {
        Self { scope }
    }

    pub(crate) fn of(req: &HttpRequest, database: &Database) -> Self {
        Self::new(RequestScopes::of(req, database))
    }

    /// Runs a query and collects its rows.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        database::query(self.scope.enter().await?, sql, params).await
    }

    /// Runs a query for exactly one row.
    ///
    /// # Errors
    ///
    /// [`Error::NoRows`] and [`Error::TooManyRows`].
    pub async fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row> {
        self.query_opt(sql, params).await?.ok_or(Error::NoRows)
    }

    /// Runs a query for one row or none.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyRows`].
    pub async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
        let mut rows = self.query(sql, params).await?.into_iter();
        match (rows.next(), rows.next()) {
            (row, None) => Ok(row),
            (_, Some(_)) => Err(Error::TooManyRows),
        }
    }

    /// Runs a query and collects the first column of its rows.
    pub async fn query_scalar<T: FromSqlOwned>(&self, sql: &str, params: Params<'_>) -> Result<Vec<T>> {
        self.query(sql, params).await?.iter().map(scalar).collect()
    }

    /// Runs a query for exactly one row, and takes its first column.
    ///
    /// # Errors
    ///
    /// [`Error::NoRows`] and [`Error::TooManyRows`].
    pub async fn query_one_scalar<T: FromSqlOwned>(&self, sql: &str, params: Params<'_>) -> Result<T> {
        scalar(&self.query_one(sql, params).await?)
    }

    /// Runs a query for one row or none, and takes its first column.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyRows`].
    pub async fn query_opt_scalar<T: FromSqlOwned>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Option<T>> {
        self.query_opt(sql, params).await?.as_ref().map(scalar).transpose()
    }

    /// Runs a query whose rows are read one by one, so that a large result needs little memory.
    ///
    /// Until the [`RowStream`] has been read to its end or dropped, other statements of the request are refused with
    /// [`Error::Busy`]. Dropped early, the query is cancelled on the server. `command_timeout` bounds the wait for the
    /// first answer, not the reading.
    pub async fn query_raw(&self, sql: &str, params: Params<'_>) -> Result<RowStream> {
        let (usage, rows) = database::query_raw(self.scope.enter().await?, sql, params).await?;
        Ok(RowStream::new(usage, rows))
    }

    /// Runs a statement and returns the number of rows it affected.
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        database::execute(self.scope.enter().await?, sql, params).await
    }

    /// Runs one or more statements, separated by semicolons, without parameters or results.
    ///
    /// They are neither prepared nor cached. PostgreSQL runs them in
    /// [one implicit transaction](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT).
    pub async fn batch_execute(&self, sql: &str) -> Result<()> {
        database::batch_execute(self.scope.enter().await?, sql).await
    }

    /// Lends the [`tokio_postgres::Client`](crate::tokio_postgres::Client) of the request's session, for all that has no
    /// verb here: `COPY`, typed queries, type look-ups.
    ///
    /// Nothing is known of what is done with it, so the session is reset when it goes back.
    pub async fn client(&self) -> Result<ClientGuard> {
        let mut usage = self.scope.enter().await?;
        usage.ready().await?;
        Ok(ClientGuard::new(usage))
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

    /// Gives the session back for good: later statements of the request fail with [`Error::Closed`]. May be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], as [`release`](Self::release).
    pub fn close(&self) -> Result<()> {
        self.scope.close()
    }
}

impl Database {
    /// A connection outside of any request: lazy and shared among its clones, returned by
    /// [`release`](Connection::release) or with the last of them.
    pub fn connection(&self) -> Connection {
        Connection::new(Scope::new(Arc::clone(self.pool())))
    }

    /// The request's connection to this database, for requests that talk to several.
    ///
    /// The extractor [`Connection`] is that of the innermost middleware.
    pub fn connection_of(&self, req: &HttpRequest) -> Connection {
        Connection::of(req, self)
    }
}

fn scalar<T: FromSqlOwned>(row: &Row) -> Result<T> {
    Ok(row.try_get(0)?)
}

impl FromRequest for Connection {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match req.app_data::<Database>() {
            None => Err(Error::MissingMiddleware),
            Some(database) if !database.uses_connection_for_request() => Err(Error::NoRequestConnection),
            Some(database) => Ok(Self::of(req, database)),
        })
    }
}
