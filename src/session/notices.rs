//! Logs the notices of the server, such as those of `RAISE NOTICE`, and passes its notifications on.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::telemetry;
use crate::tokio_postgres::{AsyncMessage, Connection, Error, Notification};

/// Who hears the notifications of a connection. Called while it is polled.
pub(crate) type Heard = Arc<dyn Fn(Notification) + Send + Sync>;

/// The most notifications that are passed on in one go. Then their readers have a turn, before their buffers are full.
const AT_ONCE: usize = 128;

/// Drives a connection to its end, and logs the server's notices as we log.
///
/// The driver's own future logs them as they are, on as many lines as they have.
pub(super) fn driven<S, T>(
    mut connection: Connection<S, T>,
    heard: Option<Heard>,
) -> impl Future<Output = Result<(), Error>> + Unpin
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(move |cx| {
        let mut passed_on = 0;
        while let Some(message) = ready!(connection.poll_message(cx)?) {
            match (message, &heard) {
                (AsyncMessage::Notice(said), _) => telemetry::notice(&said),
                (AsyncMessage::Notification(notification), Some(heard)) => {
                    heard(notification);
                    passed_on += 1;
                }
                // On a session of the pool, which somebody made listen.
                _ => {}
            }
            if passed_on == AT_ONCE {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    })
}
