//! Rows, one by one.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::driver_stream::DriverStream;
use crate::Result;
use crate::lease::SessionUse;
use crate::row::{FromRow, Plan};
use crate::tokio_postgres::{self, Row};

/// The rows of a [`query_raw`](crate::Connection::query_raw), read from the server as they are asked for. Those of a
/// [`query_raw_as`](crate::Connection::query_raw_as) are read into `T`.
///
/// It has the session for itself: other statements of the request are refused with [`Error::Busy`](crate::Error::Busy), and it may
/// outlive the handler, as a response body. Read it to its end, or drop it.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE payments (amount bigint); INSERT INTO payments SELECT generate_series(1, 100)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// use futures_util::TryStreamExt as _;
///
/// let mut rows = conn.query_raw("SELECT amount FROM payments", &[]).await?;
/// let mut total = 0;
/// while let Some(row) = rows.try_next().await? {
///     total += row.get::<_, i64>(0);
/// }
/// assert_eq!(total, 5050);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// An item is an [`Error::Postgres`](crate::Error::Postgres) if the query fails while its rows are read. It is the last one.
///
/// It is an [`Error::Row`](crate::Error::Row) if a row does not fit `T`. The stream goes on after that.
///
/// # Cancel safety
///
/// Dropped before its end, it cancels the query on the server, and fails a transaction that the query runs in. The session is
/// made usable again in the background; the next statement on it waits for that.
#[must_use = "a row stream that is dropped cancels its query"]
pub struct RowStream<T = Row> {
    rows: DriverStream<tokio_postgres::RowStream>,
    plan: Plan,
    /// Its first row may have other columns than were known.
    is_doubtful: bool,
    values: PhantomData<fn() -> T>,
}

impl RowStream {
    pub(crate) fn of_rows(started: (SessionUse, tokio_postgres::RowStream)) -> Self {
        Self::new(started, Plan::of::<Row>())
    }
}

impl<T> RowStream<T> {
    pub(crate) fn new(started: (SessionUse, tokio_postgres::RowStream), plan: Plan) -> Self {
        let is_doubtful = started.0.is_nameless();
        Self { rows: DriverStream::new(started), plan, is_doubtful, values: PhantomData }
    }

    /// Returns the number of rows that the query affected, or `None` before the stream has ended.
    pub fn rows_affected(&self) -> Option<u64> {
        self.rows.driven().rows_affected()
    }
}

impl<T: FromRow> Stream for RowStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(row) = ready!(self.rows.poll_next(cx)?) else {
            return Poll::Ready(None);
        };
        if self.is_doubtful {
            self.rows.see_columns(row.columns());
            if let Err(err) = self.plan.find(row.columns()) {
                // Nor do the others fit.
                return Poll::Ready(Some(Err(self.rows.of_statement(err.into()))));
            }
            self.is_doubtful = false;
        }
        Poll::Ready(Some(T::take(row, &self.plan).map_err(|err| self.rows.of_statement(err.into()))))
    }
}

impl<T> fmt::Debug for RowStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowStream").field(&self.rows).finish()
    }
}
