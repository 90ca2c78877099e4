//! How far a client, or a request, has written.

use crate::session::Position;

/// What a client, or a request, has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nobody knows where, so only the primary has it for certain.
    Somewhere,
    /// All before this position.
    UpTo(Position),
}

impl Written {
    /// What is written where both hold.
    pub(super) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Somewhere }
    }
}
