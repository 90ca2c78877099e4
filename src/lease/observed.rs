//! A statement as an observer sees it: a span, a duration, the figures of its text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request_info::RequestInfo;
use crate::Error;
use crate::pool::Pool;
use crate::session::Session;
use crate::sql::without_literals;
use crate::stats::{Place, StatementInfo, Stats, Warning, WarningKind};
use crate::telemetry::Span;

/// A statement that runs while somebody observes statements: a [`tracing`] subscriber, a reader of figures, or an option.
///
/// Dropped before its end, the statement counts as cancelled.
#[derive(Debug)]
pub(crate) struct Observed {
    since: Instant,
    info: Arc<StatementInfo>,
    stats: Arc<Stats>,
    span: Span,
    /// The threshold of a warning.
    slow: Option<Duration>,
    place: Place,
    request: Arc<RequestInfo>,
    ended: bool,
}

impl Observed {
    /// Whether somebody wants to know of a request's statements.
    pub(crate) fn is_wanted(pool: &Pool, request: &RequestInfo) -> bool {
        pool.is_observed() || request.sums().is_some()
    }

    /// Begins to observe a statement. Boxed, because most statements are not observed and each has room for one.
    pub(crate) fn begin(
        pool: &Pool,
        session: &Session,
        sql: &str,
        batch: bool,
        place: Place,
        request: &Arc<RequestInfo>,
    ) -> Box<Self> {
        let (slow, request) = (pool.warnings().slow_statement, Arc::clone(request));
        let info = match batch {
            true => session.stats().register.get(&without_literals(sql)),
            false => session.info(sql),
        };
        let span = Span::statement(info.summary(), sql, session.peer());
        let stats = Arc::clone(session.stats());
        Box::new(Self { since: Instant::now(), info, stats, span, slow, place, request, ended: false })
    }

    /// The statement has ended with this number of rows, returned or affected.
    pub(crate) fn succeeded(mut self, rows: Option<u64>) {
        self.end(rows.unwrap_or(0), None);
        self.span.record_rows(rows);
    }

    /// The statement has failed.
    pub(crate) fn failed(mut self, err: &Error) {
        let (code, kind) = (err.code().map(|code| code.code()), error_type(err));
        self.end(0, Some((code, kind)));
        self.span.record_error(code, kind);
    }

    /// Nothing is to be said of it, because the statement is run elsewhere.
    pub(crate) fn dismiss(mut self) {
        self.ended = true;
    }

    fn end(&mut self, rows: u64, error: Option<(Option<&str>, &str)>) {
        self.ended = true;
        let now = Instant::now();
        let elapsed = now - self.since;
        self.stats.ran(&self.info, elapsed, error);
        if let Some(sums) = self.request.sums() {
            sums.ran(elapsed, rows);
        }
        if self.slow.is_some_and(|slow| elapsed >= slow) {
            let mut warning = Warning::new(WarningKind::SlowStatement, &self.place);
            warning.duration = Some(elapsed);
            warning.statement = Some(self.info.summary().to_owned());
            self.stats.warn(warning);
        }
        if !self.stats.register.is_watched() {
            return;
        }
        let figures = self.info.figures();
        self.stats.statements.record(elapsed);
        figures.record(elapsed, rows, self.stats.register.age_at(now));
        if let Some((_, kind)) = error {
            figures.record_error(kind);
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.ended {
            self.end(0, Some((None, CANCELLED)));
            self.span.record_error(None, CANCELLED);
        }
    }
}

/// The error of a statement whose future was dropped.
const CANCELLED: &str = "cancelled";

/// OpenTelemetry's `error.type`: the SQLSTATE, or a word that stands for the class of the error.
fn error_type(err: &Error) -> &str {
    match err {
        Error::CommandTimeout(_) | Error::TimedOut { .. } => "timeout",
        Error::Batch { source, .. } => error_type(source),
        _ => err.code().map_or("_OTHER", |code| code.code()),
    }
}
