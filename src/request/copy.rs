//! `COPY`, in both directions.
//!
//! For tokio-postgres a copy has ended when its data has. The server's last messages come after that, and say whether the copy was
//! committed. They are read here by asking the driver for more: it calls each of them unexpected.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::web::Bytes;
use futures_core::Stream;
use futures_util::Sink;

use super::driver_stream::DriverStream;
use crate::error::is_unexpected;
use crate::lease::SessionUse;
use crate::tokio_postgres::{CopyInSink, CopyOutStream};
use crate::{Error, Result};

/// The sink for the data of a [`copy_in`](crate::Connection::copy_in).
///
/// It has the session for itself. Nothing is copied unless [`finish`](Self::finish) returns `Ok`. The pieces need not end where
/// lines do.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE users (id bigint, name text)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// use futures_util::SinkExt as _;
///
/// let mut copy = conn.copy_in("COPY users (id, name) FROM STDIN (FORMAT csv)").await?;
/// copy.send("1,ada\n2,grace\n".into()).await?;
/// assert_eq!(copy.finish().await?, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropped before `finish`, it copies nothing. It fails a transaction that it runs in.
#[must_use = "a copy that is not finished is undone"]
#[derive(Debug)]
pub struct CopyIn {
    data: DriverStream<CopyInSink<Bytes>>,
    /// The number of rows that the server has taken. Its next message says whether it keeps them.
    rows: Option<u64>,
}

impl CopyIn {
    pub(crate) fn new(started: (SessionUse, CopyInSink<Bytes>)) -> Self {
        Self { data: DriverStream::new(started), rows: None }
    }

    /// Ends the data, and returns the number of rows that were copied: committed, or part of the open transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Postgres`] with what the server reports about the data: a value that does not fit its column (SQLSTATE class 22), a
    /// constraint that does not hold (class 23), also one that is checked at the commit, a serialization failure. No row is kept
    /// then. If the connection is lost before the server's last answer, it is not known. [`Error::CopyFailed`] if the copy has
    /// failed before.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the answer, it has copied all or nothing.
    pub async fn finish(mut self) -> Result<u64> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        if !self.data.is_open() {
            return Poll::Ready(self.rows.ok_or(Error::CopyFailed));
        }
        loop {
            match (ready!(self.data.driven_mut().poll_finish(cx)), self.rows) {
                (Ok(rows), _) => self.rows = Some(rows),
                (Err(end), Some(rows)) if is_unexpected(&end) => {
                    return Poll::Ready(self.data.ended_with(Ok(rows), Some(rows)));
                }
                (Err(err), _) => {
                    self.rows = None;
                    return Poll::Ready(Err(self.data.failed(err)));
                }
            }
        }
    }
}

impl Sink<Bytes> for CopyIn {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.data.driven_mut().poll_ready(cx).map_err(Error::from)
    }

    fn start_send(mut self: Pin<&mut Self>, data: Bytes) -> Result<()> {
        Ok(self.data.driven_mut().start_send(data)?)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.data.driven_mut().poll_flush(cx).map_err(Error::from)
    }

    /// Does what [`finish`](Self::finish) does, without the number of rows.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_finish(cx).map_ok(drop)
    }
}

/// The data of a [`copy_out`](crate::Connection::copy_out), read from the server as it is asked for.
///
/// It has the session for itself, and may outlive the handler, as a response body. Read it to its end, or drop it.
///
/// ```
/// use actix_pg::{Connection, Result};
/// use actix_web::{HttpResponse, get};
/// use futures_util::TryStreamExt as _;
///
/// #[get("/users.csv")]
/// async fn export(conn: Connection) -> Result<HttpResponse> {
///     let csv = conn.copy_out("COPY users TO STDOUT (FORMAT csv, HEADER)").await?;
///     Ok(HttpResponse::Ok().content_type("text/csv").streaming(csv.map_err(actix_web::Error::from)))
/// }
/// ```
///
/// # Errors
///
/// An item is an [`Error::Postgres`] if the copy fails, or the transaction that a copy outside of any is. It is the last one. A copy is
/// complete when the stream has ended without one.
///
/// # Cancel safety
///
/// Dropped before its end, it cancels the copy on the server, and fails a transaction that the copy runs in.
#[must_use = "a copy that is dropped is cancelled"]
#[derive(Debug)]
pub struct CopyOut {
    data: DriverStream<CopyOutStream>,
    /// How many messages have come after the data. The first is the end of the data.
    end: u8,
}

/// CopyDone, CommandComplete, ReadyForQuery.
const END: u8 = 3;

impl CopyOut {
    pub(crate) fn new(started: (SessionUse, CopyOutStream)) -> Self {
        Self { data: DriverStream::new(started), end: 0 }
    }
}

impl Stream for CopyOut {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.data.is_open() {
            return Poll::Ready(None);
        }
        while self.end < END {
            match ready!(self.data.driven_mut().poll_next(cx)) {
                Some(Ok(piece)) => return Poll::Ready(Some(Ok(piece))),
                None => self.end = 1,
                Some(Err(end)) if self.end > 0 && is_unexpected(&end) => self.end += 1,
                Some(Err(err)) => return Poll::Ready(Some(Err(self.data.failed(err)))),
            }
        }
        Poll::Ready(self.data.ended_with(Ok(None), None).transpose())
    }
}
