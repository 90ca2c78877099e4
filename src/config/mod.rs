//! What the application asks for: options, DSN, ssl.

mod options;

pub use options::Config;
