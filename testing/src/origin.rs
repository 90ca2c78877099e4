//! Whose server it is.

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Everything on it goes with it: nobody need wait for a drop.
    Ours,
    /// Nothing may stay behind on it.
    Given,
}
