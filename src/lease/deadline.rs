//! A point in time by which a call, or the work of a request, has to be over.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::{Error, Result};

/// As good as never. A later point in time could not be represented.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A point in time, and how long it was until then when it was set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    bound: Duration,
}

impl Deadline {
    pub(crate) fn after(bound: Duration) -> Self {
        let now = Instant::now();
        Self { at: now.checked_add(bound).unwrap_or(now + FAR), bound }
    }

    pub(crate) fn at(at: std::time::Instant) -> Self {
        let at = Instant::from_std(at);
        Self { at, bound: at.saturating_duration_since(Instant::now()) }
    }

    /// The earlier one of two, if there is any.
    pub(crate) fn earliest(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other.at < one.at { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    /// How long it is until then.
    pub(crate) fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// The error of what was not over in time. `sent` says whether a statement may have been sent.
    pub(crate) fn error(self, sent: bool) -> Error {
        Error::TimedOut { bound: self.bound, sent }
    }

    /// Bounds what comes before a statement is sent. Past the deadline nothing is begun.
    pub(crate) async fn limit<T>(self, running: impl Future<Output = Result<T>>) -> Result<T> {
        if self.remaining().is_zero() {
            return Err(self.error(false));
        }
        timeout_at(self.at, running).await.unwrap_or_else(|_| Err(self.error(false)))
    }
}

/// The bound of a statement, and the error of one that takes longer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// The option `command_timeout`.
    Command(Duration),
    Deadline(Deadline),
}

impl Bound {
    /// The one that comes first, if there is any.
    pub(crate) fn of(command_timeout: Option<Duration>, deadline: Option<Deadline>) -> Option<Self> {
        match (command_timeout, deadline) {
            (Some(bound), Some(deadline)) if bound < deadline.remaining() => Some(Self::Command(bound)),
            (_, Some(deadline)) => Some(Self::Deadline(deadline)),
            (Some(bound), None) => Some(Self::Command(bound)),
            (None, None) => None,
        }
    }

    pub(crate) fn remaining(self) -> Duration {
        match self {
            Self::Command(bound) => bound,
            Self::Deadline(deadline) => deadline.remaining(),
        }
    }

    pub(crate) fn error(self, sent: bool) -> Error {
        match self {
            Self::Command(bound) => Error::CommandTimeout(bound),
            Self::Deadline(deadline) => deadline.error(sent),
        }
    }
}

/// Bounds the wait for an answer. Past a deadline nothing is begun.
pub(crate) async fn bounded<T>(bound: Option<Bound>, run: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let Some(bound) = bound else {
        return run().await;
    };
    let remaining = bound.remaining();
    if remaining.is_zero() {
        return Err(bound.error(false));
    }
    // Boxed, because most statements have no bound and the futures of all have room for this.
    Box::pin(timeout(remaining, run())).await.unwrap_or_else(|_| Err(bound.error(true)))
}
