//! What the application asks for: options, DSN, ssl.

mod options;
mod settings;
mod error;

pub use error::ConfigError;
pub use options::{Config, Echo, Reset};
pub(crate) use settings::*;
