//! What can be wrong with an option.

/// An option that cannot be applied: which one, where it came from, and what it should be.
#[derive(Debug, Clone)]
pub struct ConfigError {
    pub(crate) message: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}
