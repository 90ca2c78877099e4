//! A shared read, as those see it who observe statements.

use std::sync::Arc;
use std::time::Instant;

use super::worker::Sent;
use crate::Error;
use crate::config::Echo;
use crate::lease::{Borrower, Observed, Params, warn_when_repeated};
use crate::pool::Pool;
use crate::stats::StatementInfo;
use crate::telemetry;

/// A read that was sent, until it is over. Its asker holds it.
pub(super) struct Watched<'a> {
    pool: &'a Pool,
    borrower: Borrower<'a>,
    sql: &'a str,
    params: Params<'a>,
    /// `Some` if somebody wants to know which statements are repeated.
    info: Option<Arc<StatementInfo>>,
    observed: Option<Box<Observed>>,
    echo: Echo,
    since: Option<Instant>,
}

impl<'a> Watched<'a> {
    /// Has the read observed, if somebody wants to know.
    pub(super) fn new(
        pool: &'a Pool,
        borrower: Borrower<'a>,
        sql: &'a str,
        params: Params<'a>,
        sent: &Sent,
    ) -> Self {
        let echo = pool.session_settings().echo;
        let observed = (pool.is_observed() || borrower.request.sums().is_some()).then(|| {
            let slow = pool.warnings().slow_statement;
            Observed::begin(sent.session.session(), sql, false, slow, borrower.place(), borrower.request)
        });
        let info = pool.warnings().repeated_statement.map(|_| Arc::clone(&sent.info));
        let since = (echo != Echo::Off).then(Instant::now);
        Self { pool, borrower, sql, params, info, observed, echo, since }
    }

    pub(super) fn succeeded(&mut self, rows: u64) {
        self.count();
        if let Some(observed) = self.observed.take() {
            observed.succeeded(Some(rows));
        }
        if let Some(since) = self.since {
            telemetry::echo(self.pool.stats().name(), self.sql, self.params(), Some(rows), since.elapsed());
        }
    }

    pub(super) fn failed(&mut self, err: Error) -> Error {
        self.count();
        if let Some(observed) = self.observed.take() {
            observed.failed(&err);
        }
        let err = err.of_statement(Some(self.sql), self.echo);
        if let Some(since) = self.since {
            let (name, took) = (self.pool.stats().name(), since.elapsed());
            telemetry::echo_failed(name, self.sql, self.params(), &err, err.code(), Some(took));
        }
        err
    }

    /// Counts the statement, once it is over: one that is run elsewhere is counted there.
    fn count(&mut self) {
        if let Some(info) = self.info.take() {
            warn_when_repeated(self.pool, self.borrower.request, &info, || self.borrower.place());
        }
    }

    /// Says nothing, because the statement is run, and observed, elsewhere.
    pub(super) fn dismiss(&mut self) {
        if let Some(observed) = self.observed.take() {
            observed.dismiss();
        }
    }

    fn params(&self) -> Option<Params<'_>> {
        (self.echo == Echo::Full).then_some(self.params)
    }
}
