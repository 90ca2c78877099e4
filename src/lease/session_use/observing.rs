//! What a user of a session tells of its statement.

use std::sync::Arc;

use super::SessionUse;
use crate::config::Echo;
use crate::lease::observed::Observed;
use crate::lease::request_info::RequestInfo;
use crate::pool::Pool;
use crate::stats::{Place, StatementInfo, Warning, WarningKind};
use crate::{Error, telemetry};

impl SessionUse {
    /// The name of the database, for the log.
    pub(in crate::lease) fn database(&self) -> Option<&'static str> {
        self.session().stats().name()
    }

    /// Observes a statement, if somebody wants to know.
    ///
    /// `batch` says that it is not prepared: such a text may have values in it, and is known by what is left without them.
    pub(crate) fn observe(&mut self, sql: &str, batch: bool) {
        #[cfg(feature = "testing")]
        self.lease.loan().runs(sql);
        let (pool, request) = (self.lease.pool(), self.lease.request());
        if self.is_observed() {
            self.observed = Some(Observed::begin(pool, self.session(), sql, batch, self.place(), request));
        }
    }

    /// Whether somebody wants to know of the statement.
    pub(crate) fn is_observed(&self) -> bool {
        Observed::is_wanted(self.lease.pool(), self.lease.request())
    }

    /// Tells those who observe the statement that it has ended well.
    pub(crate) fn succeeded(&mut self, rows: Option<u64>) {
        if let Some(observed) = self.observed.take() {
            observed.succeeded(rows);
        }
    }

    /// Tells those who observe the statement that it has failed.
    pub(crate) fn observe_error(&mut self, err: &Error) {
        if let Some(observed) = self.observed.take() {
            observed.failed(err);
        }
    }

    /// Names the statement that is sent next. Warns if the request has run it too often.
    pub(crate) fn runs(&mut self, info: Arc<StatementInfo>) {
        warn_when_repeated(self.lease.pool(), self.lease.request(), &info, || self.place());
        self.info = Some(info);
    }

    fn place(&self) -> Place {
        Place { caller: self.caller, route: self.lease.request().route() }
    }

    /// The text of the statement.
    pub(crate) fn statement(&self) -> Option<&str> {
        self.info.as_ref().map(|info| info.sql())
    }

    /// Adds the statement to an error.
    pub(crate) fn of_statement(&self, err: Error) -> Error {
        err.of_statement(self.statement(), self.echo())
    }

    /// Adds the statement to an error, tells those who observe it, and echoes it.
    pub(crate) fn failed(&mut self, err: Error) -> Error {
        self.observe_error(&err);
        let err = self.of_statement(err);
        if let Some(sql) = self.statement().filter(|_| self.echo() != Echo::Off) {
            telemetry::echo_failed(self.database(), sql, None, &err, err.code(), None);
        }
        err
    }
}

/// Counts a run of a statement. Warns if its request has run it too often.
pub(crate) fn warn_when_repeated(
    pool: &Pool,
    request: &RequestInfo,
    info: &Arc<StatementInfo>,
    place: impl FnOnce() -> Place,
) {
    if let Some(most) = pool.warnings().repeated_statement
        && request.count_statement(info) == most
    {
        let mut warning = Warning::new(WarningKind::RepeatedStatement, &place());
        warning.times = Some(most);
        warning.statement = Some(info.summary().to_owned());
        pool.stats().warn(warning);
    }
}
