//! The error about an option: which one, where it was given, what is wrong with it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::text::{Chain, Escaped};

/// The error about an option that cannot be applied: which one, where it was given, and what it should be.
///
/// It comes from [`Config::from_env`](crate::Config::from_env), [`Config::from_dsn`](crate::Config::from_dsn), the deserialization of a
/// [`Config`](crate::Config), and from [`Database::connect`](crate::Database::connect) as
/// [`Error::Config`](crate::Error::Config), before anything is connected. Its causes, each a [`ConfigErrorKind`]:
///
/// - a name that no option and no driver parameter has, as a rule a spelling mistake;
/// - a value of the wrong type, or one that the option cannot take;
/// - two values that contradict each other, or one thing under two names;
/// - TLS without a feature for it;
/// - a file with a certificate or a key that cannot be used.
///
/// The text is one sentence for a log or a terminal. `{err:#}` and `{err:?}` add the cause, where a file has one. No form shows a
/// password, a value of a DSN or a name that is not publicly known.
///
/// ```
/// use actix_pg::{Config, ConfigErrorKind, OptionSource};
///
/// let err = Config::from_dsn("postgres://db.example.com/shop?connect_timeout=soon").unwrap_err();
/// assert_eq!(err.kind(), ConfigErrorKind::Invalid);
/// assert_eq!(err.option(), &OptionSource::Dsn("connect_timeout".into()));
/// assert_eq!(
///     err.to_string(),
///     r#"DSN parameter `connect_timeout` must be seconds, or a duration such as "500ms" or "5m""#
/// );
/// ```
#[derive(Clone)]
pub struct ConfigError {
    option: OptionSource,
    kind: ConfigErrorKind,
    problem: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of mistake that a [`ConfigError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// No option or driver parameter has this name.
    Unknown,
    /// The value has the wrong type, or the option cannot take it.
    Invalid,
    /// The value is possible by itself, but contradicts another one, or says the same as another name.
    Conflict,
    /// The option needs a Cargo feature of `actix-pg`, such as `rustls`, that this build lacks.
    MissingFeature,
    /// A file that the option names is missing, unreadable, or holds something else.
    File,
}

/// The place where an option was given, with its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionSource {
    /// A field of [`Config`](crate::Config), or the key of a file that it was read from.
    Option(String),
    /// An environment variable.
    Variable(String),
    /// A parameter within the DSN.
    Dsn(String),
}

impl ConfigError {
    /// Returns the kind of the mistake.
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }

    /// Returns the option that is wrong, and where it was given.
    pub fn option(&self) -> &OptionSource {
        &self.option
    }

    /// What is wrong, as the rest of a sentence that begins with the option.
    pub(super) fn problem(&self) -> &str {
        &self.problem
    }

    pub(crate) fn new(option: OptionSource, kind: ConfigErrorKind, problem: impl Into<String>) -> Self {
        Self { option, kind, problem: problem.into(), source: None }
    }

    pub(crate) fn invalid(option: OptionSource, problem: impl Into<String>) -> Self {
        Self::new(option, ConfigErrorKind::Invalid, problem)
    }

    pub(crate) fn conflict(option: OptionSource, problem: impl Into<String>) -> Self {
        Self::new(option, ConfigErrorKind::Conflict, problem)
    }

    /// The same thing was given under two names; `other` is the other one.
    pub(crate) fn twice(option: OptionSource, other: &str) -> Self {
        Self::conflict(option, format!("says the same as `{other}`; give one of them"))
    }

    pub(crate) fn unknown(option: OptionSource, nearest: Option<String>) -> Self {
        let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Self::new(option, ConfigErrorKind::Unknown, format!("is unknown{hint}"))
    }

    #[cfg(feature = "rustls-no-provider")]
    pub(crate) fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Names another place for the option than the code that checked it knew of.
    pub(super) fn at(mut self, option: OptionSource) -> Self {
        self.option = option;
        self
    }
}

impl OptionSource {
    pub(crate) fn option(name: impl Into<String>) -> Self {
        Self::Option(name.into())
    }

    /// Returns the name alone, as it was given: `pool_max_size`, `DB_POOL_MAX_SIZE`, or `sslmode`.
    ///
    /// ```
    /// let err = actix_pg::Config::from_dsn("postgres://db.example.com?port=none").unwrap_err();
    /// assert_eq!((err.option().name(), err.option().to_string().as_str()), ("port", "DSN parameter `port`"));
    /// ```
    pub fn name(&self) -> &str {
        let (Self::Option(name) | Self::Variable(name) | Self::Dsn(name)) = self;
        name
    }
}

impl fmt::Display for OptionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Escaped(self.name());
        match self {
            Self::Option(_) => write!(f, "option `{name}`"),
            Self::Variable(_) => write!(f, "environment variable `{name}`"),
            Self::Dsn(_) => write!(f, "DSN parameter `{name}`"),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self).write(f)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return Chain(self).write(f);
        }
        write!(f, "{} {}", self.option, Escaped(&self.problem))
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
