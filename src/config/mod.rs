//! What the application asks for: options, DSN, ssl.

mod sources;
mod redacted;
mod check;
mod server;
mod settings;
mod dsn;
mod options;
pub mod defaults;
mod enums;
mod value;
mod names;
mod error;

#[cfg(test)]
mod tests;

pub use enums::{Echo, IsolationLevel, Reset, SslMode};
pub use error::{ConfigError, ConfigErrorKind, OptionSource};
pub use options::Config;
pub(crate) use settings::*;
