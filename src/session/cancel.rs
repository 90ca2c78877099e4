//! A cancel request, sent as [PQcancel](https://www.postgresql.org/docs/current/libpq-cancel.html) sends it.
//!
//! The server closes the connection of a cancel request only after it has signalled the backend. So a client that waits for
//! that end knows that no later statement can be hit. The server has to close first: a pooler that sees the client close
//! first, by TCP or by TLS's `close_notify`, takes it for a client that left, and PgBouncer 1.18 crashes. But the driver
//! shuts its stream down once the request is sent. [`ServerCloses`] turns that shutdown into a wait.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect_error::Cause;
use super::stream::{Address, Stream};
use super::tls::Tls;
use crate::config::ServerSettings;
use crate::tokio_postgres::CancelToken;
use crate::tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// Asks the server to cancel what a backend is running, and returns when the server has closed the connection.
///
/// Waits for that without a bound. Fails where the server cannot be reached and where the connection breaks: then the request
/// may still be on its way.
pub(crate) async fn cancel(
    token: &CancelToken,
    address: &Address,
    server: &ServerSettings,
    tls: &Tls,
) -> Result<(), Cause> {
    let stream = Stream::connect(address, server).await.map_err(Cause::from)?;
    let handshake = tls.handshake(address.host()).map_err(Cause::from)?;
    token.cancel_query_raw(ServerCloses(stream), ServerCloses(handshake)).await.map_err(Cause::from)
}

/// A stream, or its TLS handshake, that lets the server close first.
struct ServerCloses<T>(T);

impl<S, T: TlsConnect<S>> TlsConnect<S> for ServerCloses<T> {
    type Stream = ServerCloses<T::Stream>;
    type Error = T::Error;
    type Future = MapOk<T::Future, fn(T::Stream) -> ServerCloses<T::Stream>>;

    fn connect(self, stream: S) -> Self::Future {
        self.0.connect(stream).map_ok(ServerCloses)
    }
}

impl<T: TlsStream + Unpin> TlsStream for ServerCloses<T> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ServerCloses<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerCloses<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 64];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(self.as_mut().poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                Ok(()) => {}
                // PostgreSQL ends a TLS connection by closing the socket.
                Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(err) => return Poll::Ready(Err(err)),
            }
        }
    }
}
