//! A statement that has started on a leased session.

use super::Params;
use super::echoed::Echoed;
use super::session_use::SessionUse;
use crate::Error;

/// A statement that has started. Its end is told to whoever observes it, and echoed if `echo` is on.
pub(super) struct Started<'a>(Echoed<'a>);

impl<'a> Started<'a> {
    pub(super) fn new(session_use: &mut SessionUse, sql: &'a str, params: Params<'a>) -> Self {
        Self::begin(session_use, sql, false, Some(params))
    }

    /// One that runs with many rows of parameters, which are not shown.
    pub(super) fn with_rows(session_use: &mut SessionUse, sql: &'a str) -> Self {
        Self::begin(session_use, sql, false, None)
    }

    /// One that is not prepared.
    pub(super) fn batch(session_use: &mut SessionUse, sql: &'a str) -> Self {
        Self::begin(session_use, sql, true, Some(&[]))
    }

    /// Several that are prepared.
    pub(super) fn several(session_use: &mut SessionUse, sql: &'a str) -> Self {
        Self::begin(session_use, sql, true, None)
    }

    fn begin(session_use: &mut SessionUse, sql: &'a str, batch: bool, params: Option<Params<'a>>) -> Self {
        session_use.observe(sql, batch);
        Self(Echoed::begin(session_use.echo(), sql, params))
    }

    pub(super) fn finished(self, session_use: &mut SessionUse, rows: Option<u64>) {
        session_use.succeeded(rows);
        self.0.succeeded(session_use.database(), rows);
    }

    /// The first answer has come. Whoever reads the others records the end.
    pub(super) fn streams(self, session_use: &SessionUse) {
        self.0.succeeded(session_use.database(), None);
    }

    pub(super) fn failed(&self, session_use: &mut SessionUse, err: Error) -> Error {
        session_use.observe_error(&err);
        self.0.failed(session_use.database(), err)
    }
}
