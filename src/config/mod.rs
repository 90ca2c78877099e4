//! What the application asks for: options, DSN, ssl.

mod options;
pub mod defaults;
mod enums;
mod error;
mod env;
mod value;
mod names;
mod dsn;
mod parameters;
mod check;
mod hosts;
mod tcp;
mod startup;
mod ssl;
mod settings;

#[cfg(test)]
mod tests;

pub use enums::{Echo, IsolationLevel, Reset, SslMode};
pub use error::{ConfigError, ConfigErrorKind, OptionSource};
pub use options::Config;
pub(crate) use settings::*;
#[cfg(feature = "rustls-no-provider")]
pub(crate) use ssl::PemFile;
pub(crate) use ssl::Ssl;
