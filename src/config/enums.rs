//! Options that are one word out of a few: their types, and one table of the words for each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::value::{FromValue, Value};
use super::{ConfigError, OptionSource};
use crate::tokio_postgres;
use crate::tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation};

/// The encryption of the connection to the server, and how the server proves who it is.
///
/// The words are those of [libpq](https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION): `disable`,
/// `prefer`, `require`, `verify-ca`, `verify-full`. `Require` and stricter modes need a feature for TLS, such as `rustls`; without
/// one, `Prefer` does not encrypt. A Unix-domain socket is never encrypted.
///
/// ```
/// use actix_pg::SslMode;
///
/// assert_eq!("verify-full".parse::<SslMode>()?, SslMode::VerifyFull);
/// assert_eq!(SslMode::VerifyFull.to_string(), "verify-full");
/// # Ok::<(), actix_pg::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SslMode {
    /// Does not encrypt.
    Disable,
    /// Encrypts if the server can, and trusts any certificate, unless `sslrootcert` is given: then like `VerifyCa`. Does not
    /// encrypt otherwise.
    #[default]
    Prefer,
    /// Encrypts or fails. Trusts any certificate, unless `sslrootcert` is given: then like `VerifyCa`, as in libpq.
    Require,
    /// Encrypts or fails, and trusts a certificate only if one in `sslrootcert` vouches for it, whatever name it bears.
    VerifyCa,
    /// Encrypts or fails, and trusts a certificate only if the roots vouch for it and it bears the name of the host.
    VerifyFull,
}

/// The rule by which a session is reset when it comes back to the pool.
///
/// The words are `auto`, `always` and `never`. An open transaction is rolled back under each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// Resets a session, unless every statement that ran on it is known to leave nothing behind.
    #[default]
    Auto,
    /// Resets every session that was used.
    Always,
    /// Resets a session only after `COPY`, [`client`](crate::Connection::client), SQL that cannot be read and shared reads, and where settings of the
    /// request were applied that the next borrower cannot reset with its own.
    Never,
}

/// What is between the application and its server, and for how long one session has the same backend.
///
/// The words are `none`, `session` and `transaction`: the modes of [PgBouncer](https://www.pgbouncer.org/features.html). The page
/// [`pooler`](crate::guide::pooler) says what each takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooler {
    /// Nothing, or a pooler that passes start-up parameters on and gives a session a backend until its end.
    #[default]
    None,
    /// A pooler that gives a session a backend until its end, and may drop start-up parameters.
    Session,
    /// A pooler that may give each transaction of a session another backend.
    Transaction,
}

/// What is logged of each statement, whether it succeeds or fails.
///
/// The words are `false`, `statements` and `true`; booleans are read as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Echo {
    /// Logs nothing. Its word is `false`.
    #[default]
    Off,
    /// Logs the SQL, the number of rows and the duration. Its word is `statements`.
    Statements,
    /// Logs the parameters too, and shows in errors the values that they are about. Its word is `true`.
    Full,
}

/// The isolation level of a transaction.
///
/// The words are `read-uncommitted`, `read-committed`, `repeatable-read` and `serializable`; SQL's spelling, as in
/// `REPEATABLE READ`, is read as well. There is no default: without one, the server's `default_transaction_isolation` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// Is `ReadCommitted` in PostgreSQL.
    ReadUncommitted,
    /// Lets each statement see what was committed before it began.
    ReadCommitted,
    /// Lets the whole transaction see what was committed before its first statement.
    RepeatableRead,
    /// Behaves as if transactions ran one after the other. Some fail with SQLSTATE 40001 and have to be repeated.
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

/// An option whose value is one word of a table. This table is all that reading and writing it needs.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Each value with the word that it is written as, in the order in which an error lists them.
    const WORDS: &'static [(&'static str, Self)];

    /// Further words that are read, and never written.
    const ALIASES: &'static [(&'static str, Self)] = &[];

    /// Finds the value of a word. Upper case, spaces and underscores are as good as lower case and hyphens.
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
            // For `echo = true` and `echo = 1`.
            Value::Bool(_) | Value::Integer(_) => T::from_word(&value.to_string()),
            _ => None,
        };
        choice.map_or_else(|| value.refused(T::expected()), Ok)
    }
}

/// Gives public option types their `FromStr`, `Display`, `Deserialize` and `Serialize` by the words of [`Choice`].
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
    Pooler of "pooler"
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

impl Choice for Pooler {
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("session", Self::Session), ("transaction", Self::Transaction)];
}

impl Choice for Echo {
    const WORDS: &'static [(&'static str, Self)] =
        &[("true", Self::Full), ("false", Self::Off), ("statements", Self::Statements)];

    /// The words of every boolean.
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
