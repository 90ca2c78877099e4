//! The Parse of a text that is to be shared.
//!
//! It is no message of the [`queue`](super::queue): where the driver does not know a type, it asks for it behind all that has been sent
//! by then. So a task of its own waits for it, and the queue knows only what was sent before it. Nobody waits for it, but those who are
//! sent after it wait behind it.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::shared_session::{SharedSession, is_lost};
use crate::stats::StatementInfo;
use crate::tokio_postgres::Error;
use crate::tokio_postgres::error::SqlState;

/// One that has been the oldest message for longer waits for a lock, and is cancelled.
const PATIENCE: Duration = Duration::from_millis(100);

/// Prepares a statement for later reads, if nothing else is being prepared.
pub(super) fn prepare(session: &Arc<SharedSession>, info: Arc<StatementInfo>, now: Instant) {
    let mut queue = session.queue();
    if queue.parse.is_some() || !session.takes(&mut queue, now) {
        return;
    }
    let (there, text) = (Arc::clone(session), Arc::clone(&info));
    let mut parse = async move { there.session().prepare(text.sql(), false).await.map(drop) }.boxed();
    // Polled once, it has been sent.
    if parse.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
        return;
    }
    queue.parses(now);
    drop(queue);
    let parsing = Parsing(Arc::clone(session));
    tokio::spawn(async move {
        let session = &parsing.0;
        let mut patience = PATIENCE;
        loop {
            match timeout(patience, parse.as_mut()).await {
                Ok(Ok(())) => return,
                Ok(Err(err)) if is_anothers(session, &err) => return,
                Ok(Err(_)) => return too_long(session, &info),
                Err(_) => {}
            }
            patience = match left(session) {
                Some(left) if left.is_zero() => {
                    too_long(session, &info);
                    return session.cancel();
                }
                Some(left) => left,
                None => return,
            };
        }
    });
}

/// How long the Parse may still take. `None` if nobody reads the answers any more.
fn left(session: &SharedSession) -> Option<Duration> {
    let queue = session.queue();
    let oldest = queue.parse_is_oldest_since();
    // Others were sent before it, or it asks for a type behind others.
    let left = oldest.map_or(PATIENCE, |since| (since + PATIENCE).saturating_duration_since(Instant::now()));
    (!queue.broken).then_some(left)
}

/// Whether a Parse failed because the session is gone, or because a cancel request hit it that was meant for another statement.
fn is_anothers(session: &SharedSession, err: &Error) -> bool {
    is_lost(err) || (err.code() == Some(&SqlState::QUERY_CANCELED) && session.was_cancelled())
}

fn too_long(session: &SharedSession, info: &StatementInfo) {
    info.sharing().ran_too_long(session.limits.slow);
}

/// A Parse that was sent, until the drop.
struct Parsing(Arc<SharedSession>);

impl Drop for Parsing {
    fn drop(&mut self) {
        self.0.queue().parse = None;
    }
}
