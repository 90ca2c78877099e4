//! Logs the notices of the server, such as those of `RAISE NOTICE`.

use std::future::{Future, poll_fn};
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::telemetry;
use crate::tokio_postgres::{AsyncMessage, Connection, Error};

/// Drives a connection to its end, and logs the server's notices as we log.
///
/// The driver's own future logs them as they are, on as many lines as they have.
pub(crate) fn driven<S, T>(
    mut connection: Connection<S, T>,
) -> impl Future<Output = Result<(), Error>> + Unpin
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(move |cx| {
        while let Some(message) = ready!(connection.poll_message(cx)?) {
            if let AsyncMessage::Notice(said) = message {
                telemetry::notice(&said);
            }
        }
        Poll::Ready(Ok(()))
    })
}
