//! Which of several servers will do.

use super::enums::Choice;

/// What a server has to be, by libpq's words for `target_session_attrs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TargetSessionAttrs {
    #[default]
    Any,
    /// It takes writes: it is no standby, and transactions there are not read-only by default.
    ReadWrite,
    /// The opposite.
    ReadOnly,
    /// It is no standby.
    Primary,
    Standby,
    /// A standby if there is one, else any.
    PreferStandby,
}

impl Choice for TargetSessionAttrs {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];
}
