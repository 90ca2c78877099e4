//! Logs the notices of the server, such as those of `RAISE NOTICE`, and passes its notifications on.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;

use crate::stats::Stats;
use crate::telemetry;
use crate::tokio_postgres::{AsyncMessage, Connection, Error, Notification};

/// Who hears the notifications of a connection. Called while it is polled.
pub(crate) type Heard = Arc<dyn Fn(Notification) + Send + Sync>;

/// The most notifications that are passed on in one go. Then their readers have a turn, before their buffers are full.
const AT_ONCE: u64 = 128;

/// Drives a connection to its end, and logs the server's notices as we log.
///
/// The driver's own future logs them as they are, on as many lines as they have.
pub(super) async fn driven<S, T>(
    mut connection: Connection<S, T>,
    stats: &Stats,
    heard: Option<Heard>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut passed_on = 0_u64;
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await.transpose()? {
        match (message, &heard) {
            (AsyncMessage::Notice(said), _) => telemetry::notice(stats.name(), &said),
            (AsyncMessage::Notification(notification), Some(heard)) => {
                heard(notification);
                passed_on += 1;
                if passed_on.is_multiple_of(AT_ONCE) {
                    yield_now().await;
                }
            }
            // On a session of the pool, which somebody made listen.
            _ => {}
        }
    }
    Ok(())
}
