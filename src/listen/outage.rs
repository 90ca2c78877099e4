//! A time in which there is no session to listen on.

use std::time::{Duration, Instant};

use crate::pool::Backoff;
use crate::session::ConnectError;

/// An outage is over when nobody has asked for a session for that long after the next attempt was due. As long as the longest pause, so
/// that who listens again and again has one outage, and one line of the log.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// A time in which there is no session. The registry holds it.
#[derive(Debug)]
pub(super) struct Outage {
    cause: ConnectError,
    since: Instant,
    backoff: Backoff,
    next_attempt: Instant,
}

impl Outage {
    /// The outage after a failed attempt, and the pause before the next one.
    pub(super) fn after(former: Option<&Self>, cause: ConnectError) -> (Self, Duration) {
        let now = Instant::now();
        let (since, backoff) = match former {
            None => (now, Backoff::default()),
            Some(former) => (former.since, former.backoff.after(&cause)),
        };
        let pause = backoff.pause();
        (Self { cause, since, backoff, next_attempt: now + pause }, pause)
    }

    /// Why the latest attempt failed, if the next one is not due.
    pub(super) fn refusal(&self) -> Option<&ConnectError> {
        (Instant::now() < self.next_attempt).then_some(&self.cause)
    }

    /// Whether nobody has asked for a session for long. There is no task that tries to open one.
    pub(super) fn is_forgotten(&self) -> bool {
        self.next_attempt.elapsed() >= FORGOTTEN
    }

    pub(super) fn lasted(&self) -> Duration {
        self.since.elapsed()
    }
}
