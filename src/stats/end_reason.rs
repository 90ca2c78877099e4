//! Why a session of the pool was ended.

use std::fmt;

/// Why a session of the pool was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// Its connection was lost.
    ConnectionLost,
    /// The server has dropped prepared statements that its cache refers to.
    StatementsDropped,
    /// Its server takes no writes any more, and one that does is wanted.
    ReadOnly,
    /// It idled for `idle_timeout`.
    Idle,
    /// It reached `max_lifetime`.
    Lifetime,
    /// It did not answer the check after `test_after_idle`, or its server was found silent.
    CheckFailed,
    /// It could not be reset.
    ResetFailed,
    /// A statement on it did not end, or its answers were out of step.
    Unusable,
    /// The task that had it panicked or was cut off.
    Dropped,
    /// A hook of the application refused it.
    Refused,
    /// Its server is a standby that is too far behind.
    TooFarBehind,
    /// A sandbox was left in a state that cannot be kept.
    Sandbox,
    /// The pool was made smaller.
    Resized,
    /// The application has asked for other sessions.
    Renewed,
    /// The application owned it, and has dropped it.
    Owned,
    /// The pool was closed.
    Closed,
}

impl EndReason {
    pub(super) const COUNT: usize = Self::Closed as usize + 1;

    /// All of them, in the order of their numbers.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::ConnectionLost,
        Self::StatementsDropped,
        Self::ReadOnly,
        Self::Idle,
        Self::Lifetime,
        Self::CheckFailed,
        Self::ResetFailed,
        Self::Unusable,
        Self::Dropped,
        Self::Refused,
        Self::TooFarBehind,
        Self::Sandbox,
        Self::Resized,
        Self::Renewed,
        Self::Owned,
        Self::Closed,
    ];

    /// A word for metrics.
    #[cfg(feature = "metrics")]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::StatementsDropped => "statements_dropped",
            Self::ReadOnly => "read_only",
            Self::Idle => "idle_timeout",
            Self::Lifetime => "max_lifetime",
            Self::CheckFailed => "check_failed",
            Self::ResetFailed => "reset_failed",
            Self::Unusable => "unusable",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::TooFarBehind => "too_far_behind",
            Self::Sandbox => "sandbox",
            Self::Resized => "resized",
            Self::Renewed => "renewed",
            Self::Owned => "owned",
            Self::Closed => "closed",
        }
    }
}

/// The sentence for the log.
impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionLost => "the connection is closed",
            Self::StatementsDropped => "its prepared statements were thrown away",
            Self::ReadOnly => "its server takes no writes any more",
            Self::Idle => "it has idled for its idle_timeout",
            Self::Lifetime => "it has reached its max_lifetime",
            Self::CheckFailed => "it, or its server, did not answer",
            Self::ResetFailed => "it could not be reset",
            Self::Unusable => "a statement did not end",
            Self::Dropped => "whoever had it did not get to an end",
            Self::Refused => "a hook of the application refused it",
            Self::TooFarBehind => "its server is too far behind the primary",
            Self::Sandbox => "the sandbox has been left",
            Self::Resized => "the pool has been made smaller",
            Self::Renewed => "the application has asked for another one",
            Self::Owned => "its owner has dropped it",
            Self::Closed => "the database has been closed",
        })
    }
}
