//! The query verbs as a trait, for functions that run on a connection or in a transaction.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use futures_util::FutureExt;

use super::collected::{Reading, all_rows, one_row};
use super::elsewhere::{Run, repeated};
use super::sealed::Executor;
use super::{CopyIn, CopyOut, RowStream, Transaction, WithTimeout};
use crate::lease::{self, Params};
use crate::row::{FromRow, Plan};
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};
use crate::{Error, Result};

/// What a [`Connection`](crate::Connection), a [`ReadConnection`](crate::ReadConnection), a [`Transaction`], a
/// [`RequestTransaction`](crate::RequestTransaction), a [`Database`](crate::Database) and a [`WithTimeout`] of any of them have in common, so that a
/// function can take any of them. It cannot be implemented elsewhere.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// use actix_pg::{GenericClient, Result};
///
/// async fn pay(client: &impl GenericClient, account: i32, amount: i32) -> Result<u64> {
///     client.execute("UPDATE accounts SET balance = balance - $2 WHERE id = $1", &[&account, &amount]).await
/// }
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE accounts (id int, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
///
/// pay(&conn, 1, 10).await?; // alone
/// let tx = conn.transaction().await?;
/// pay(&tx, 1, 10).await?; // together
/// pay(&tx, 2, -10).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// **It is not the trait of this name of tokio-postgres**, nor that of deadpool-postgres. Code that is generic over
/// tokio-postgres' trait takes the driver's client, which [`Connection::client`](crate::Connection::client) lends:
///
/// ```
/// use actix_pg::{Connection, Result, tokio_postgres};
///
/// async fn theirs(client: &impl tokio_postgres::GenericClient) -> Result<i32, tokio_postgres::Error> {
///     Ok(client.query_one("SELECT 1", &[]).await?.get(0))
/// }
///
/// async fn ours(conn: &Connection) -> Result<i32> {
///     let client = conn.client().await?;
///     Ok(theirs(&*client).await?)
/// }
/// ```
pub trait GenericClient: Executor {
    /// As [`Connection::query`](crate::Connection::query).
    #[track_caller]
    fn query(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Vec<Row>>> + Send {
        all_rows(self, Location::caller(), sql, params, [])
    }

    /// As [`Connection::query_one`](crate::Connection::query_one).
    #[track_caller]
    fn query_one(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Row>> + Send {
        GenericClient::query_opt(self, sql, params).map(|row| row?.ok_or(Error::NoRows))
    }

    /// As [`Connection::query_opt`](crate::Connection::query_opt).
    #[track_caller]
    fn query_opt(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Option<Row>>> + Send {
        one_row(self, Location::caller(), sql, params, [])
    }

    /// As [`Connection::query_as`](crate::Connection::query_as).
    #[track_caller]
    fn query_as<T: FromRow>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Vec<T>>> + Send {
        let caller = Location::caller();
        async move {
            let mut reading = Reading::of::<T>();
            let rows = all_rows(self, caller, sql, params, [&mut reading]).await?;
            // The session has gone back: a conversion is the application's code, and may take long, or panic.
            rows.iter().map(|row| reading.value(row, sql)).collect()
        }
    }

    /// As [`Connection::query_one_as`](crate::Connection::query_one_as).
    #[track_caller]
    fn query_one_as<T: FromRow>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<T>> + Send {
        GenericClient::query_opt_as(self, sql, params).map(|row| row?.ok_or(Error::NoRows))
    }

    /// As [`Connection::query_opt_as`](crate::Connection::query_opt_as).
    #[track_caller]
    fn query_opt_as<T: FromRow>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Option<T>>> + Send {
        let caller = Location::caller();
        async move {
            let mut reading = Reading::of::<T>();
            let row = one_row(self, caller, sql, params, [&mut reading]).await?;
            row.map(|row| reading.value(&row, sql)).transpose()
        }
    }

    /// As [`Connection::query_scalar`](crate::Connection::query_scalar).
    #[track_caller]
    fn query_scalar<T: FromSqlOwned>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Vec<T>>> + Send {
        GenericClient::query(self, sql, params).map(|rows| rows?.iter().map(scalar).collect())
    }

    /// As [`Connection::query_one_scalar`](crate::Connection::query_one_scalar).
    #[track_caller]
    fn query_one_scalar<T: FromSqlOwned>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<T>> + Send {
        GenericClient::query_one(self, sql, params).map(|row| scalar(&row?))
    }

    /// As [`Connection::query_opt_scalar`](crate::Connection::query_opt_scalar).
    #[track_caller]
    fn query_opt_scalar<T: FromSqlOwned>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Option<T>>> + Send {
        GenericClient::query_opt(self, sql, params).map(|row| row?.as_ref().map(scalar).transpose())
    }

    /// As [`Connection::query_raw`](crate::Connection::query_raw).
    #[track_caller]
    fn query_raw(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<RowStream>> + Send {
        let caller = Location::caller();
        async move {
            let started = lease::query_raw(self.enter(caller).await?.0, sql, params, None).await?;
            Ok(RowStream::of_rows(started))
        }
    }

    /// As [`Connection::query_raw_as`](crate::Connection::query_raw_as).
    #[track_caller]
    fn query_raw_as<T: FromRow>(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<RowStream<T>>> + Send {
        let caller = Location::caller();
        async move {
            let session_use = self.enter(caller).await?.0;
            let mut plan = Plan::of::<T>();
            let started = lease::query_raw(session_use, sql, params, Some(&mut plan)).await?;
            Ok(RowStream::new(started, plan))
        }
    }

    /// As [`Connection::execute`](crate::Connection::execute).
    #[track_caller]
    fn execute(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<u64>> + Send {
        let caller = Location::caller();
        async move {
            let session_use = self.enter(caller).await?.0;
            if session_use.is_unpinned() {
                let run: Run<_> =
                    |session_use, sql, params, _| lease::execute(session_use, sql, params).boxed();
                return repeated(self, caller, session_use, sql, params, None, run).boxed().await;
            }
            lease::execute(session_use, sql, params).await
        }
    }

    /// As [`Connection::execute_many`](crate::Connection::execute_many).
    #[track_caller]
    fn execute_many<P, R>(
        &self,
        sql: &str,
        rows: impl IntoIterator<Item = R, IntoIter: Send>,
    ) -> impl Future<Output = Result<u64>> + Send
    where
        P: BorrowToSql + Sync,
        R: AsRef<[P]> + Send + Sync,
    {
        let caller = Location::caller();
        let mut rows = rows.into_iter().peekable();
        async move {
            if rows.peek().is_none() {
                return Ok(0);
            }
            lease::execute_many(self.enter(caller).await?.0, sql, rows).await
        }
    }

    /// As [`Connection::batch`](crate::Connection::batch).
    #[track_caller]
    fn batch(&self, statements: &[(&str, Params<'_>)]) -> impl Future<Output = Result<Vec<u64>>> + Send {
        let caller = Location::caller();
        async move {
            if statements.is_empty() {
                return Ok(Vec::new());
            }
            lease::execute_batch(self.enter(caller).await?.0, statements).await
        }
    }

    /// As [`Connection::batch_execute`](crate::Connection::batch_execute).
    #[track_caller]
    fn batch_execute(&self, sql: &str) -> impl Future<Output = Result<()>> + Send {
        let caller = Location::caller();
        async move { lease::batch_execute(self.enter(caller).await?.0, sql).await }
    }

    /// As [`Connection::copy_in`](crate::Connection::copy_in).
    #[track_caller]
    fn copy_in(&self, sql: &str) -> impl Future<Output = Result<CopyIn>> + Send {
        let caller = Location::caller();
        async move { Ok(CopyIn::new(lease::copy_in(self.enter(caller).await?.0, sql).await?)) }
    }

    /// As [`Connection::copy_out`](crate::Connection::copy_out).
    #[track_caller]
    fn copy_out(&self, sql: &str) -> impl Future<Output = Result<CopyOut>> + Send {
        let caller = Location::caller();
        async move { Ok(CopyOut::new(lease::copy_out(self.enter(caller).await?.0, sql).await?)) }
    }

    /// As [`Connection::with_timeout`](crate::Connection::with_timeout).
    fn with_timeout(&self, timeout: Duration) -> WithTimeout<'_, Self>
    where
        Self: Sized,
    {
        WithTimeout::new(self, timeout)
    }

    /// As [`Connection::transaction`](crate::Connection::transaction): a savepoint, where there is a transaction.
    #[track_caller]
    fn transaction(&self) -> impl Future<Output = Result<Transaction>> + Send {
        self.begin(Location::caller())
    }
}

fn scalar<T: FromSqlOwned>(row: &Row) -> Result<T> {
    Ok(row.try_get(0)?)
}
