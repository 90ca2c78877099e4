//! Asks a session that has idled whether it is alive, before it is lent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::pooled_session::PooledSession;
use super::{AcquireError, Pool};
use crate::session::Session;
use crate::stats::EndReason;
use crate::telemetry;

/// The longest wait for the answer of a session that has idled.
const CHECK: Duration = Duration::from_secs(2);

/// The longest wait for the end of a session after another one did not answer. A server that is there ends one in milliseconds.
const SILENT_END: Duration = Duration::from_secs(1);

impl Pool {
    /// Asks a session that has idled whether it is alive. `None` if it is not. Happens at home, because the waiter may give up.
    pub(super) async fn checked(
        self: &Arc<Self>,
        pooled: PooledSession,
    ) -> Result<Option<PooledSession>, AcquireError> {
        let (ready, checked) = oneshot::channel();
        let pool = Arc::clone(self);
        self.home.spawn(async move {
            let begun = Instant::now();
            pooled.session().driver().go_home();
            if is_alive(pooled.session()).await {
                let _ = ready.send(Checked::new(pooled));
            } else {
                pool.discard_silent(pooled, begun);
            }
        });
        match checked.await {
            Ok(checked) => Ok(checked.take()),
            Err(_) if self.gate.is_closed() => Err(self.stopped()),
            Err(_) => Ok(None),
        }
    }

    /// Discards a session that did not answer, and those that would have to be checked too and have been silent since.
    fn discard_silent(self: &Arc<Self>, pooled: PooledSession, since: Instant) {
        let suspects = self.gate.take_resting(u32::MAX, |lent| {
            lent.session().idle_for() >= self.settings.test_after_idle.max(since.elapsed())
        });
        for grant in suspects {
            self.home.spawn(self.pooled(grant).end_within(SILENT_END, EndReason::CheckFailed));
        }
        // Its place is free at once, because the check has waited long enough.
        self.home.spawn(pooled.end_within(Duration::ZERO, EndReason::CheckFailed));
    }
}

/// A session that has answered, on its way to the waiter. If the waiter has given up, its drop gives the session to the next.
pub(crate) struct Checked(Option<PooledSession>);

impl Checked {
    pub(crate) fn new(pooled: PooledSession) -> Self {
        Self(Some(pooled))
    }

    /// Hands it to the waiter.
    pub(crate) fn take(mut self) -> Option<PooledSession> {
        self.0.take()
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        if let Some(pooled) = self.0.take() {
            pooled.rest();
        }
    }
}

async fn is_alive(session: &Session) -> bool {
    match timeout(CHECK, session.client().check_connection()).await {
        Ok(Ok(())) => return true,
        Ok(Err(err)) => telemetry::check_failed(session.stats().name(), &err),
        Err(late) => telemetry::check_failed(session.stats().name(), &late),
    }
    false
}
