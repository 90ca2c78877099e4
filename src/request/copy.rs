//! `COPY`, in both directions.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::web::Bytes;
use futures_core::Stream;
use futures_util::Sink;

use super::guarded::Guarded;
use crate::database::Usage;
use crate::tokio_postgres::{CopyInSink, CopyOutStream};
use crate::{Error, Result};

/// Takes the data of a [`copy_in`](crate::Connection::copy_in).
///
/// It pins the session. Nothing is copied unless [`finish`](Self::finish) answers well: dropped before, the copy is undone.
///
/// ```no_run
/// # async fn import(conn: actix_pg::Connection) -> actix_pg::Result<u64> {
/// use futures_util::SinkExt as _;
///
/// let mut copy = conn.copy_in("COPY users (id, name) FROM STDIN (FORMAT csv)").await?;
/// copy.send("1,ada\n2,grace\n".into()).await?;
/// copy.finish().await
/// # }
/// ```
#[must_use = "a copy that is not finished is undone"]
#[derive(Debug)]
pub struct CopyIn(Guarded<CopyInSink<Bytes>>);

impl CopyIn {
    pub(crate) fn new(started: (Usage, CopyInSink<Bytes>)) -> Self {
        Self(Guarded::new(started))
    }

    /// Ends the data, and returns the number of rows that were copied.
    ///
    /// # Errors
    ///
    /// Whatever the server has to say about the data. Then nothing was copied.
    pub async fn finish(mut self) -> Result<u64> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        if !self.0.is_open() {
            return Poll::Ready(Ok(0));
        }
        self.0.driven_mut().poll_finish(cx).map(|finished| self.0.ended(finished))
    }
}

impl Sink<Bytes> for CopyIn {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.driven_mut().poll_ready(cx).map_err(Error::from)
    }

    fn start_send(mut self: Pin<&mut Self>, data: Bytes) -> Result<()> {
        Ok(self.0.driven_mut().start_send(data)?)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.driven_mut().poll_flush(cx).map_err(Error::from)
    }

    /// As [`finish`](Self::finish), without the number of rows.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_finish(cx).map_ok(drop)
    }
}

/// The data of a [`copy_out`](crate::Connection::copy_out), read from the server as it is asked for.
///
/// It pins the session. Read it to its end, or drop it: then the copy is cancelled on the server.
#[must_use = "a copy that is dropped is cancelled"]
#[derive(Debug)]
pub struct CopyOut(Guarded<CopyOutStream>);

impl CopyOut {
    pub(crate) fn new(started: (Usage, CopyOutStream)) -> Self {
        Self(Guarded::new(started))
    }
}

impl Stream for CopyOut {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}
