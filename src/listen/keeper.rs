//! Keeps the session that listens, for as long as somebody does.
//!
//! ```text
//!   open ──LISTEN …──> heard ──a channel more or less──> LISTEN …; UNLISTEN …
//!    ^ │ failed          │ lost                │ nobody listens any more
//!    │ v                 v                     v
//!   pause: 100 ms, 200 ms … 1 s               end
//! ```
//!
//! It is one task at home, so there is one session at most: the next is opened when the one before has ended.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::time::{sleep, timeout};

use super::registry::{Order, Registry};
use crate::pool::{AcquireError, Backoff, Pool};
use crate::session::{ConnectError, Connector, LoggedIn};

/// Starts the task at home.
pub(super) fn start(registry: &Arc<Registry>, pool: &Pool) {
    let connector = Arc::clone(pool.connector());
    // Created before the task: a home that has stopped drops the task without polling it.
    let stopped = Stopped(Some(Arc::clone(registry)));
    pool.home().spawn(async move {
        let mut stopped = stopped;
        if let Some(registry) = &stopped.0 {
            keep(registry, &connector).await;
        }
        stopped.0 = None;
    });
}

async fn keep(registry: &Arc<Registry>, connector: &Arc<Connector>) {
    loop {
        // A login that nobody waits for any more goes on: a backend whose client has gone in the midst of it ends late, and the next
        // stream would have another one beside it.
        let kept = unless(registry.ended(), open(registry, connector)).await;
        let ended = match kept {
            Some(Ok(session)) => serve(registry, connector, session).await,
            Some(Err(cause)) => Err(cause),
            None => Ok(()),
        };
        if registry.is_finished() {
            return;
        }
        let pause = match ended {
            // A server that loses its sessions again and again is not asked all the time.
            Ok(()) => Backoff::default().pause(),
            Err(cause) => registry.failed(cause, connector.stats().name()),
        };
        while_listened(registry, sleep(pause)).await;
        if registry.is_finished() {
            return;
        }
    }
}

async fn open(registry: &Arc<Registry>, connector: &Arc<Connector>) -> Result<LoggedIn, ConnectError> {
    let heard = Arc::clone(registry);
    connector.open_to_listen(Arc::new(move |notification| heard.deliver(notification))).await
}

/// Has the server listen to what is asked for, until the session is lost or nobody listens any more. Fails where the server refuses that,
/// or does not answer within `connect_timeout`.
async fn serve(
    registry: &Registry,
    connector: &Connector,
    mut session: LoggedIn,
) -> Result<(), ConnectError> {
    loop {
        match registry.next() {
            Order::End => {
                session.end().await;
                return Ok(());
            }
            Order::Wait => {
                let is_lost = {
                    let (changed, ended) = (pin!(registry.changed()), pin!(session.ended()));
                    matches!(select(changed, ended).await, Either::Right(_))
                };
                if is_lost {
                    registry.lost();
                    return Ok(());
                }
            }
            Order::Tell { sql, channels } => {
                let telling = timeout(connector.connect_timeout(), session.client().batch_execute(&sql));
                let cause = match while_listened(registry, telling).await {
                    None => continue,
                    Some(Ok(Ok(()))) => {
                        registry.confirm(channels, connector.stats().name());
                        continue;
                    }
                    Some(Ok(Err(err))) => session.refused(err),
                    Some(Err(_)) => session.silent(connector.connect_timeout()),
                };
                registry.lost();
                session.end().await;
                // Until its end it may have passed on notifications, and have told the readers of the loss too early.
                registry.lost();
                return Err(cause);
            }
        }
    }
}

/// Waits for something, or until nobody listens any more.
async fn while_listened<T>(registry: &Registry, wait: impl Future<Output = T>) -> Option<T> {
    unless(registry.abandoned(), wait).await
}

/// Waits for something, or until it need not be waited for.
async fn unless<T>(needless: impl Future<Output = ()>, wait: impl Future<Output = T>) -> Option<T> {
    match select(pin!(wait), pin!(needless)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Ends the streams when the task does not get to its end: its runtime stops.
struct Stopped(Option<Arc<Registry>>);

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(registry) = self.0.take() {
            registry.end(AcquireError::HomeStopped);
        }
    }
}
