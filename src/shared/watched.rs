//! A shared read, as those see it who observe statements.

use std::sync::Arc;

use super::worker::Sent;
use crate::Error;
use crate::lease::{Borrower, Echoed, Observed, Params, warn_when_repeated};
use crate::pool::Pool;
use crate::stats::StatementInfo;

/// A read that was sent, until it is over. Its asker holds it.
pub(super) struct Watched<'a> {
    pool: &'a Pool,
    borrower: Borrower<'a>,
    echoed: Echoed<'a>,
    /// `Some` if somebody wants to know which statements are repeated.
    info: Option<Arc<StatementInfo>>,
    observed: Option<Box<Observed>>,
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
        let request = borrower.request;
        let observed = Observed::is_wanted(pool, request)
            .then(|| Observed::begin(pool, sent.session.session(), sql, false, borrower.place(), request));
        let info = pool.warnings().repeated_statement.map(|_| Arc::clone(&sent.info));
        let echoed = Echoed::begin(pool.session_settings().echo, sql, Some(params));
        Self { pool, borrower, echoed, info, observed }
    }

    pub(super) fn succeeded(&mut self, rows: u64) {
        self.count();
        if let Some(observed) = self.observed.take() {
            observed.succeeded(Some(rows));
        }
        self.echoed.succeeded(self.pool.stats().name(), Some(rows));
    }

    pub(super) fn failed(&mut self, err: Error) -> Error {
        self.count();
        if let Some(observed) = self.observed.take() {
            observed.failed(&err);
        }
        self.echoed.failed(self.pool.stats().name(), err)
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
}
