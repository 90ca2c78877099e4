//! Every event this crate logs, by its level.
//!
//! `error` is a misconfiguration or a failed request, `warn` what an operator should look at, `info` the life of the
//! application's sessions, `debug` that of a single borrow. None of them shows a password; SQL and parameters are
//! shown by `echo` alone.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::database::{Address, ConnectError, Params};
use crate::tokio_postgres;

/// An error with all its causes, as one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}

pub(crate) fn request_failed(err: &crate::Error) {
    error!(error = %Chain(err), "request failed");
}

pub(crate) fn outage_began(err: &ConnectError) {
    warn!(error = %Chain(err), "cannot open a session; trying again until that works");
}

pub(crate) fn outage_ended(lasted: Duration) {
    info!(?lasted, "sessions can be opened again");
}

pub(crate) fn start_retried(err: &ConnectError, attempt: u32, limit: u32, interval: Duration) {
    warn!(error = %Chain(err), attempt, limit, ?interval, "the database is not reachable yet");
}

pub(crate) fn start_failed(err: &ConnectError, attempt: u32) {
    error!(error = %Chain(err), attempt, "giving up on the database");
}

pub(crate) fn database_connected(sessions: u32) {
    info!(sessions, "connected to the database");
}

pub(crate) fn database_closed(left: u32) {
    match left {
        0 => info!("the database is closed"),
        _ => warn!(left, "the database is closed, with sessions still lent"),
    }
}

pub(crate) fn session_opened(address: &Address) {
    info!(server = %address, "session opened");
}

pub(crate) fn session_closed() {
    debug!("session closed");
}

pub(crate) fn session_lost(err: &tokio_postgres::Error) {
    warn!(error = %Chain(err), "session lost");
}

pub(crate) fn session_abandoned() {
    warn!("the server did not hang up on a session that was told to end; closed from this side");
}

pub(crate) fn session_discarded(reason: &str) {
    debug!(reason, "session discarded");
}

pub(crate) fn cancel_failed(err: &ConnectError) {
    warn!(error = %Chain(err), "an abandoned statement could not be cancelled");
}

pub(crate) fn repair_failed(bound: Duration) {
    warn!(?bound, "an abandoned statement did not end in time; its session is discarded");
}

pub(crate) fn reset_failed(err: &(dyn Error + 'static)) {
    warn!(error = %Chain(err), "a session could not be reset and is discarded");
}

pub(crate) fn check_failed(err: &(dyn Error + 'static)) {
    info!(error = %Chain(err), "an idle session turned out to be dead");
}

/// `echo`: what ran, with what, for how long.
pub(crate) fn echo(sql: &str, params: Option<Params<'_>>, rows: Option<u64>, elapsed: Duration) {
    match params {
        Some(params) => info!(sql, ?params, rows, ?elapsed, "statement"),
        None => info!(sql, rows, ?elapsed, "statement"),
    }
}
