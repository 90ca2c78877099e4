//! Rows, one by one.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::driver_stream::DriverStream;
use crate::Result;
use crate::lease::SessionUse;
use crate::tokio_postgres::{self, Row};

/// The rows of a [`query_raw`](crate::Connection::query_raw), read from the server as they are asked for.
///
/// It pins the session. Read it to its end, or drop it: then the query is cancelled on the server, and the session is
/// made usable again in the background.
///
/// ```no_run
/// # async fn sum(conn: actix_pg::Connection) -> actix_pg::Result<i64> {
/// use futures_util::TryStreamExt as _;
///
/// let mut rows = conn.query_raw("SELECT amount FROM payments", &[]).await?;
/// let mut total = 0;
/// while let Some(row) = rows.try_next().await? {
///     total += row.get::<_, i64>(0);
/// }
/// # Ok(total)
/// # }
/// ```
#[must_use = "a row stream that is dropped cancels its query"]
#[derive(Debug)]
pub struct RowStream(DriverStream<tokio_postgres::RowStream>);

impl RowStream {
    pub(crate) fn new(started: (SessionUse, tokio_postgres::RowStream)) -> Self {
        Self(DriverStream::new(started))
    }

    /// The number of rows that the query affected; `None` before the stream has ended.
    pub fn rows_affected(&self) -> Option<u64> {
        self.0.driven().rows_affected()
    }
}

impl Stream for RowStream {
    type Item = Result<Row>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}
