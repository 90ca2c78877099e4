//! What the application asks for. Unknown and contradictory options are refused, and the rest of the crate reads only [`Settings`].
//!
//! ```text
//! environment, DSN, file ──> Config ──> Settings
//!              sources.rs  options.rs  check.rs
//! ```
//!
//! What the environment does not say under the names of the options, libpq's variables may (`libpq`).
//!
//! `sources` reads each value by its name (`names`) and by the type of its option (`value`, `enums`). `check` puts the options and
//! the parameters of the DSN (`dsn`) into one list, from which `server` takes what it knows; the rest is refused. No error and
//! no `Debug` (`redacted`) shows a password, or a text that could be a piece of one.
//!
//! The modules below are in reading order. No two of them use each other, directly or through others.

mod options;
pub mod defaults;
mod sources;
mod libpq;
mod check;
mod pooler;
mod reader;
mod read_your_writes;
mod server;
mod settings;
mod files;
mod dsn;
mod enums;
mod target;
mod require_auth;
mod value;
mod names;
mod redacted;
mod error;

#[cfg(test)]
mod tests;

pub(crate) use check::sizes;
pub use enums::{Echo, IsolationLevel, Pooler, Reset, SslMode};
pub use error::{ConfigError, ConfigErrorKind, OptionSource};
pub use options::Config;
pub use read_your_writes::ReadYourWrites;
pub(crate) use read_your_writes::{Key, OwnWrites};
pub(crate) use require_auth::{AuthMethod, RequireAuth};
pub(crate) use settings::*;
pub(crate) use target::TargetSessionAttrs;
