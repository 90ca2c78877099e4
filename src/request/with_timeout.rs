//! A client whose calls are bounded, with the borrow that they need.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::generic::GenericClient;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::verbs::verbs;
use super::{CopyIn, CopyOut, RowStream, Transaction};
use crate::Result;
use crate::lease::{Deadline, Params};
use crate::row::FromRow;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};

/// A client whose calls each have to be over within a time: [`Connection::with_timeout`](crate::Connection::with_timeout), and that
/// of a [`Transaction`], a [`RequestTransaction`](crate::RequestTransaction) or a [`Database`](crate::Database).
///
/// The time counts from the first poll of a call, and bounds all of it: the wait for a session, the wait for its turn on that session,
/// and the statement. `acquire_timeout` and `command_timeout` hold besides, each for its part. It is no session and no
/// transaction of its own: `C` is what the statements run on.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// use std::time::Duration;
///
/// use actix_pg::Error;
///
/// let hasty = conn.with_timeout(Duration::from_millis(50));
/// assert_eq!(hasty.query_one_scalar::<i32>("SELECT 1", &[]).await?, 1);
/// let late = hasty.query("SELECT pg_sleep(60)", &[]).await.unwrap_err();
/// assert!(matches!(late, Error::TimedOut { sent: true, .. }));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::TimedOut`](crate::Error::TimedOut) past the time; those of the client.
///
/// # Cancel safety
///
/// A statement that takes too long is abandoned as one whose future is dropped: it is cancelled on the server, and fails a
/// transaction that it runs in. See [`Connection`](crate::Connection#cancel-safety).
#[derive(Debug)]
pub struct WithTimeout<'a, C> {
    client: &'a C,
    timeout: Duration,
}

impl<C> Clone for WithTimeout<'_, C> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, C: GenericClient> WithTimeout<'a, C> {
    pub(super) fn new(client: &'a C, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    fn executor(&self) -> &Self {
        self
    }

    /// Begins a transaction within the time. What runs in it later is not bounded by that.
    ///
    /// # Errors
    ///
    /// As [`Connection::transaction`](crate::Connection::transaction), and [`Error::TimedOut`](crate::Error::TimedOut).
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::transaction`](crate::Connection::transaction).
    #[track_caller]
    pub fn transaction(&self) -> impl Future<Output = Result<Transaction>> + Send {
        self.begin(Location::caller())
    }
}

impl<C: GenericClient> Executor for WithTimeout<'_, C> {
    async fn enter(&self, caller: Caller) -> Result<Acquired> {
        let deadline = Deadline::after(self.timeout);
        let Acquired(session_use) = deadline.limit(self.client.enter(caller)).await?;
        Ok(Acquired(session_use.until(deadline)))
    }

    fn shares(&self) -> Option<Shares<'_>> {
        let shares = self.client.shares()?;
        let until = Deadline::earliest(shares.until, Some(Deadline::after(self.timeout)));
        Some(Shares { until, ..shares })
    }

    fn give_back(&self) -> bool {
        // The next session would have the whole time again.
        false
    }

    async fn begin(&self, caller: Caller) -> Result<Transaction> {
        Deadline::after(self.timeout).limit(self.client.begin(caller)).await
    }
}

impl<C: GenericClient> GenericClient for WithTimeout<'_, C> {}

verbs!(
    [C: GenericClient]
    WithTimeout<'_, C>,
    "client",
    "```no_run
# use std::time::Duration;
# async fn example(conn: actix_pg::Connection) -> Result<(), Box<dyn std::error::Error>> {
let client = conn.with_timeout(Duration::from_secs(2));"
);
