//! What can be wrong with an option.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::text::{Chain, Escaped};

/// An option that cannot be applied: which one, where it was given, and what it should be.
///
/// The text is one sentence for a log or a terminal; `{err:#}` and `{err:?}` have its cause too. It
/// shows no password, no DSN and nothing of unknown meaning.
#[derive(Clone)]
pub struct ConfigError {
    option: OptionSource,
    kind: ConfigErrorKind,
    problem: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kind of mistake a [`ConfigError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// No option or driver parameter has this name.
    Unknown,
    /// The value has the wrong type, or is none that the option can take.
    Invalid,
    /// The value is fine by itself, and contradicts another one.
    Conflict,
    /// The option needs a Cargo feature that this build of `actix-pg` lacks.
    MissingFeature,
    /// A file that the option names is missing, unreadable, or holds something else.
    File,
}

/// Where an option was given, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionSource {
    /// A field of [`Config`](crate::Config), or a key of the file it was read from.
    Option(String),
    /// An environment variable.
    Variable(String),
    /// A parameter within the DSN.
    Dsn(String),
}

impl ConfigError {
    /// What kind of mistake this is.
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }

    /// Which option is wrong, and where it was given.
    pub fn option(&self) -> &OptionSource {
        &self.option
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

    /// `other` is another name of the same.
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

    /// Says that the option was read from somewhere else than the code that checked it believed.
    pub(super) fn at(mut self, option: OptionSource) -> Self {
        self.option = option;
        self
    }
}

impl OptionSource {
    pub(crate) fn option(name: impl Into<String>) -> Self {
        Self::Option(name.into())
    }

    /// Returns the name under which the option was given: `pool_max_size`, `DB_POOL_MAX_SIZE`, or `sslmode`.
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
