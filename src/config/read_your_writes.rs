//! How a client reads what it has written in an earlier request.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::value::{FromValue, Value};
use super::{ConfigError, OptionSource};

const OPTION: &str = "read_your_writes";

/// As long as the hash that the key is for.
const LEAST_KEY: usize = 32;

/// How a client reads what it has written in an earlier request, where its reads go to standbys.
///
/// The words are `off` and `position`; a duration is a window. The page [`reader`](crate::guide::reader) says what each
/// promises.
///
/// ```
/// use std::time::Duration;
///
/// use actix_pg::ReadYourWrites;
///
/// assert_eq!("3s".parse::<ReadYourWrites>()?, ReadYourWrites::Window(Duration::from_secs(3)));
/// assert_eq!("position".parse::<ReadYourWrites>()?, ReadYourWrites::Position);
/// # Ok::<(), actix_pg::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadYourWrites {
    /// It may not.
    #[default]
    Off,
    /// Its reads go to the primary for this long after a write. Zero is [`Off`](Self::Off).
    Window(Duration),
    /// Its reads go to standbys that have replayed what it has written, else to the primary.
    Position,
}

impl fmt::Display for ReadYourWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.pad("off"),
            Self::Window(window) => humantime::format_duration(*window).fmt(f),
            Self::Position => f.pad("position"),
        }
    }
}

impl FromStr for ReadYourWrites {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::from_value(Value::Text(text.to_owned()))
            .map_err(|problem| ConfigError::invalid(OptionSource::option(OPTION), problem))
    }
}

impl FromValue for ReadYourWrites {
    fn from_value(value: Value) -> Result<Self, String> {
        let word = match &value {
            Value::Text(word) => word.trim().to_ascii_lowercase(),
            Value::Null | Value::Bool(false) => "off".into(),
            _ => String::new(),
        };
        match &*word {
            "position" => return Ok(Self::Position),
            "off" | "none" | "never" => return Ok(Self::Off),
            _ => {}
        }
        match Duration::from_value(value) {
            Ok(window) if window.is_zero() => Ok(Self::Off),
            Ok(window) => Ok(Self::Window(window)),
            // Not quoted, because it may be the key.
            Err(_) => Err(r#"must be `off`, `position`, or a window such as "3s""#.into()),
        }
    }
}

/// [`ReadYourWrites`] with what it takes.
#[derive(Debug, Clone)]
pub(crate) enum OwnWrites {
    Off,
    Window(Duration),
    Position {
        key: Key,
        /// How long a write of which nobody knows the position keeps its client on the primary, if that is bounded.
        unknown: Option<Duration>,
    },
}

/// The key that positions are signed with. Never shown.
#[derive(Clone)]
pub(crate) struct Key(Arc<[u8]>);

impl Key {
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Refuses what would have no effect, or less than it promises.
pub(super) fn check(
    option: ReadYourWrites,
    key: &str,
    max_lag: Option<Duration>,
    has_reader: bool,
) -> Result<OwnWrites, ConfigError> {
    let refused = |option: &str, problem: &str| ConfigError::conflict(OptionSource::option(option), problem);
    let own_writes = match option {
        ReadYourWrites::Off => OwnWrites::Off,
        ReadYourWrites::Window(window) if window.is_zero() => OwnWrites::Off,
        ReadYourWrites::Window(_) | ReadYourWrites::Position if !has_reader => {
            return Err(refused(OPTION, "has no effect without `reader`"));
        }
        ReadYourWrites::Window(window) if max_lag.is_some_and(|most| window < most) => {
            return Err(refused(OPTION, "must be at least as long as `reader_max_lag`"));
        }
        ReadYourWrites::Window(window) => OwnWrites::Window(window),
        ReadYourWrites::Position if key.is_empty() => {
            return Err(refused(OPTION, "cannot be `position` without a `read_your_writes_key`"));
        }
        ReadYourWrites::Position => OwnWrites::Position { key: Key(key.as_bytes().into()), unknown: max_lag },
    };
    let source = OptionSource::option("read_your_writes_key");
    match own_writes {
        OwnWrites::Position { .. } if key.len() < LEAST_KEY => {
            Err(ConfigError::invalid(source, format!("must have at least {LEAST_KEY} characters")))
        }
        OwnWrites::Off | OwnWrites::Window(_) if !key.is_empty() => {
            Err(ConfigError::conflict(source, "has no effect without `read_your_writes = \"position\"`"))
        }
        own_writes => Ok(own_writes),
    }
}
