//! Rows, one by one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::database::Usage;
use crate::tokio_postgres::{self, Row};
use crate::{Error, Result};

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
pub struct RowStream {
    rows: Pin<Box<tokio_postgres::RowStream>>,
    /// `None` after the last row: the session is free for other statements.
    usage: Option<Usage>,
}

impl RowStream {
    pub(crate) fn new(usage: Usage, rows: tokio_postgres::RowStream) -> Self {
        Self { rows: Box::pin(rows), usage: Some(usage) }
    }

    /// The number of rows that the query affected; `None` before the stream has ended.
    pub fn rows_affected(&self) -> Option<u64> {
        self.rows.rows_affected()
    }
}

impl Stream for RowStream {
    type Item = Result<Row>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.usage.is_none() {
            return Poll::Ready(None);
        }
        let next = ready!(self.rows.as_mut().poll_next(cx));
        if !matches!(next, Some(Ok(_)))
            && let Some(mut usage) = self.usage.take()
        {
            usage.done();
        }
        Poll::Ready(next.map(|row| row.map_err(Error::from)))
    }
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").field("open", &self.usage.is_some()).finish_non_exhaustive()
    }
}
