//! The pauses between attempts to open a session, while none can be opened.

use std::time::Duration;

use crate::session::ConnectError;

/// The pause after the first failure. It doubles with each.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause, so that a server that is back is noticed in time, by all pools before one of them has taken all it has.
const LONGEST: Duration = Duration::from_millis(500);

/// The longest pause after sessions that cannot be used.
const LONGEST_AFTER_UNUSED: Duration = Duration::from_secs(1);

/// The pause after the first refused login.
const FIRST_AFTER_REFUSAL: Duration = Duration::from_millis(600);

/// The longest pause after a refused login, because servers lock accounts that fail too often.
const LONGEST_AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// The pause before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The pause, up to a fifth longer or shorter.
    pub(crate) fn pause(self) -> Duration {
        jittered(self.0)
    }

    /// The pause after the first failure of an outage.
    pub(crate) fn first(cause: &ConnectError) -> Self {
        if cause.is_login_refused() { Self(FIRST_AFTER_REFUSAL) } else { Self::default() }
    }

    /// The one after it, when another attempt has been made.
    pub(crate) fn after(self, cause: &ConnectError) -> Self {
        if cause.is_login_refused() {
            Self((self.0 * 2).clamp(FIRST_AFTER_REFUSAL, LONGEST_AFTER_REFUSAL))
        } else {
            Self((self.0 * 2).min(LONGEST))
        }
    }

    /// The one after it, when a session that was opened could not be used.
    pub(crate) fn longer(self) -> Self {
        Self((self.0 * 2).min(LONGEST_AFTER_UNUSED))
    }
}

/// A pause that is up to a fifth longer or shorter, so that pools that failed together do not try together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.8..=1.2))
}
