//! What an error says, with all its causes.

use std::error::Error;

/// An error and its causes, separated by colons.
pub fn causes(err: &dyn Error) -> String {
    match err.source() {
        Some(source) => format!("{err}: {}", causes(source)),
        None => err.to_string(),
    }
}
