//! Options that are one word out of a few: their types, and one table of the words for each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::value::{FromValue, Value};
use super::{ConfigError, OptionSource};
use crate::tokio_postgres;
use crate::tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

/// How the connection to the server is encrypted, and how much of the server's certificate is
/// checked.
///
/// The words are [libpq's](https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION). All but
/// `Disable`, and `Prefer`, which then is plain, need a feature of TLS, such as `rustls`. A Unix-domain socket is
/// never encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt if the server can, and trust any certificate; plain otherwise.
    #[default]
    Prefer,
    /// Encrypt or fail. Any certificate is trusted, unless `sslrootcert` is given: then as
    /// `VerifyCa`, as in libpq.
    Require,
    /// Encrypt, and trust only a certificate that `sslrootcert` vouches for, whatever name it
    /// bears.
    VerifyCa,
    /// Encrypt, and trust only a certificate that the roots vouch for and that bears the host's
    /// name.
    VerifyFull,
}

/// When a session is reset at its return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// Unless every statement it ran is known to leave nothing behind.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never, but where settings of the request were applied or a `COPY` may have been started. An open transaction is
    /// rolled back all the same.
    Never,
}

/// What is logged of each statement, whether it ends well or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Echo {
    /// Nothing. Written `false`.
    #[default]
    Off,
    /// The SQL, its duration and its rows, without the parameters. Written `"statements"`.
    Statements,
    /// The SQL, its duration, its rows and its parameters. Errors show the values that they are about. Written
    /// `true`.
    Full,
}

/// The isolation level of transactions that do not name their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// PostgreSQL treats it as `ReadCommitted`.
    ReadUncommitted,
    /// Each statement sees what was committed before it began.
    ReadCommitted,
    /// Each transaction sees what was committed before its first statement.
    RepeatableRead,
    /// As if transactions ran one after the other; some fail with 40001 and are to be repeated.
    Serializable,
}

impl From<tokio_postgres::IsolationLevel> for IsolationLevel {
    fn from(level: tokio_postgres::IsolationLevel) -> Self {
        match level {
            tokio_postgres::IsolationLevel::ReadUncommitted => Self::ReadUncommitted,
            tokio_postgres::IsolationLevel::ReadCommitted => Self::ReadCommitted,
            tokio_postgres::IsolationLevel::RepeatableRead => Self::RepeatableRead,
            // The driver's enum may grow; never less than what was asked for.
            _ => Self::Serializable,
        }
    }
}

/// A type whose values are words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// In the order in which an error lists them.
    const WORDS: &'static [(&'static str, Self)];

    /// What else is read, and never written.
    const ALIASES: &'static [(&'static str, Self)] = &[];

    /// Upper case, spaces and underscores are as good as lower case and hyphens.
    fn from_word(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        let mut words = Self::WORDS.iter().chain(Self::ALIASES);
        words.find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    fn expected() -> String {
        let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }
}

impl<T: Choice> FromValue for T {
    fn from_value(value: Value) -> Result<Self, String> {
        let choice = match &value {
            Value::Text(word) => T::from_word(word),
            // `echo = true`, and `echo = 1`.
            Value::Bool(_) | Value::Integer(_) => T::from_word(&value.to_string()),
            _ => None,
        };
        choice.map_or_else(|| value.refused(T::expected()), Ok)
    }
}

/// Writes and reads the public type of an option by the words of its [`Choice`].
macro_rules! written_as_words {
    ($($type:ident of $option:literal)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $type {
            type Err = ConfigError;

            fn from_str(word: &str) -> Result<Self, ConfigError> {
                Self::from_value(Value::Text(word.to_owned()))
                    .map_err(|problem| ConfigError::invalid(OptionSource::option($option), problem))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = Value::deserialize(deserializer)?;
                Self::from_value(value).map_err(|problem| {
                    de::Error::custom(ConfigError::invalid(OptionSource::option($option), problem))
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    )*};
}

written_as_words! {
    SslMode of "ssl"
    Reset of "reset"
    Echo of "echo"
    IsolationLevel of "isolation_level"
}

impl Choice for SslMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

impl Choice for Reset {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

impl Choice for Echo {
    const WORDS: &'static [(&'static str, Self)] =
        &[("true", Self::Full), ("false", Self::Off), ("statements", Self::Statements)];

    /// As of every boolean.
    const ALIASES: &'static [(&'static str, Self)] = &[
        ("on", Self::Full),
        ("yes", Self::Full),
        ("1", Self::Full),
        ("off", Self::Off),
        ("no", Self::Off),
        ("0", Self::Off),
    ];

    fn expected() -> String {
        r#"true, false or "statements""#.into()
    }
}

impl Choice for IsolationLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("read-uncommitted", Self::ReadUncommitted),
        ("read-committed", Self::ReadCommitted),
        ("repeatable-read", Self::RepeatableRead),
        ("serializable", Self::Serializable),
    ];
}

impl Choice for ChannelBinding {
    const WORDS: &'static [(&'static str, Self)] =
        &[("disable", Self::Disable), ("prefer", Self::Prefer), ("require", Self::Require)];
}

impl Choice for LoadBalanceHosts {
    const WORDS: &'static [(&'static str, Self)] = &[("disable", Self::Disable), ("random", Self::Random)];
}

impl Choice for SslNegotiation {
    const WORDS: &'static [(&'static str, Self)] = &[("postgres", Self::Postgres), ("direct", Self::Direct)];
}

/// libpq's other words need a question that this driver does not ask.
impl Choice for TargetSessionAttrs {
    const WORDS: &'static [(&'static str, Self)] =
        &[("any", Self::Any), ("read-write", Self::ReadWrite), ("read-only", Self::ReadOnly)];
}
