//! Options that are one word out of a few.

use crate::tokio_postgres;
use crate::tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

/// How the connection to the server is encrypted, and how much of the server's certificate is
/// checked.
///
/// The words are [libpq's](https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION). All but
/// `Disable`, and `Prefer`, which then is plain, need a feature of TLS, such as `rustls`. A Unix-domain socket is
/// never encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt if the server can, and trust any certificate; plain otherwise.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// Unless every statement it ran is known to leave nothing behind.
    Auto,
    /// Always.
    Always,
    /// Never, but where settings of the request were applied or a `COPY` may have been started. An open transaction is
    /// rolled back all the same.
    Never,
}

/// What is logged of each statement, whether it ends well or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Echo {
    /// Nothing. Written `false`.
    Off,
    /// The SQL, its duration and its rows, without the parameters. Written `"statements"`.
    Statements,
    /// The SQL, its duration, its rows and its parameters. Errors show the values that they are about. Written
    /// `true`.
    Full,
}

/// The isolation level of transactions that do not name their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// The words of a choice, in the order in which an error lists them.
pub(super) trait Choice: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    /// Upper case, spaces and underscores are as good as lower case and hyphens.
    fn from_word(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    fn expected() -> String {
        let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }
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
