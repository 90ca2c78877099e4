//! What is worth a look: a threshold of the configuration was passed.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::text::Escaped;

/// A threshold of [`Config`](crate::Config) that was passed: `slow_statement`, `slow_acquire`, `long_hold` or
/// `repeated_statement`.
///
/// It is one line of the log at WARN, and comes out of [`Watch::warnings`](crate::Watch::warnings). `Display` is that line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// Which threshold was passed.
    pub kind: WarningKind,
    /// How long it has lasted.
    pub duration: Option<Duration>,
    /// How often it has happened in the request.
    pub times: Option<u32>,
    /// What the holder of the session does: a few words.
    pub doing: Option<&'static str>,
    /// The statement in a few words, such as `SELECT users`.
    pub statement: Option<String>,
    /// The line of the application, as `file:line`.
    pub caller: Option<String>,
    /// The route of the request, such as `/users/{id}`.
    pub route: Option<String>,
    /// The type that [names](crate::Database::named) the database, such as `shop::Reports`.
    pub database: Option<&'static str>,
}

/// Which threshold was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningKind {
    /// A statement took longer than `slow_statement`.
    SlowStatement,
    /// A request has waited for a session for `slow_acquire`, and still waits.
    SlowAcquire,
    /// A session has been held for `long_hold`, and still is.
    LongHold,
    /// One request has run the same statement `repeated_statement` times.
    RepeatedStatement,
}

/// Where in the application something happens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) caller: Option<&'static Location<'static>>,
    pub(crate) route: Option<Arc<str>>,
}

impl Warning {
    pub(crate) fn new(kind: WarningKind, place: &Place) -> Self {
        Self {
            kind,
            duration: None,
            times: None,
            doing: None,
            statement: None,
            caller: place.caller.map(line),
            route: place.route.as_deref().map(str::to_owned),
            database: None,
        }
    }
}

/// A line of the application.
pub(crate) fn line(caller: &Location<'_>) -> String {
    format!("{}:{}", caller.file(), caller.line())
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            WarningKind::SlowStatement => "a statement was slow",
            WarningKind::SlowAcquire => "a request still waits for a session",
            WarningKind::LongHold => "a session is held for long",
            WarningKind::RepeatedStatement => "a request runs the same statement over and over",
        })?;
        if let Some(duration) = self.duration {
            write!(f, " duration={duration:?}")?;
        }
        if let Some(times) = self.times {
            write!(f, " times={times}")?;
        }
        if let Some(doing) = self.doing {
            write!(f, " doing={doing:?}")?;
        }
        let named = [
            ("statement", self.statement.as_deref()),
            ("caller", self.caller.as_deref()),
            ("route", self.route.as_deref()),
            ("database", self.database),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                write!(f, " {name}=\"{}\"", Escaped(value))?;
            }
        }
        Ok(())
    }
}
