//! Every event this crate logs, by its level.
//!
//! `error` is a misconfiguration or a failed request, `warn` what an operator should look at, `info` the life of the
//! application's sessions and what the server notices, `debug` that of a single borrow. Each event is one line, whatever a
//! client or the server has put into it. None shows a password. Parameters, and values in the server's messages, are shown
//! by `echo` alone.
//!
//! A subscriber that panics is the application's own, and must not take a session or one of our tasks with it: each call to it is
//! guarded.
//!
//! That is what this crate logs. The driver logs statements with their parameters itself, at DEBUG, to
//! `tokio_postgres::query` and the other modules of `tokio_postgres`.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::time::Duration;

use tracing::field::display;

use crate::postgres_error::{self, PostgresError};
use crate::row::FromRowError;
use crate::text::{Chain, Escaped};
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, Severity, SqlState};
use crate::tokio_postgres::types::ToSql;

/// Calls code of others, which may panic, so that nothing of ours is lost by it.
pub(crate) fn guarded(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

macro_rules! error {
    ($($event:tt)*) => { guarded(|| tracing::error!($($event)*)) };
}

macro_rules! warn {
    ($($event:tt)*) => { guarded(|| tracing::warn!($($event)*)) };
}

macro_rules! info {
    ($($event:tt)*) => { guarded(|| tracing::info!($($event)*)) };
}

macro_rules! debug {
    ($($event:tt)*) => { guarded(|| tracing::debug!($($event)*)) };
}

mod span;

pub(crate) use span::{Peer, Span, is_traced};

/// The target of the line that stands for a failed request.
const REQUEST: &str = "actix_pg::request";

/// The target of what the server has to say besides its answers.
const NOTICE: &str = "actix_pg::notice";

pub(crate) fn request_failed(
    err: &(dyn Error + 'static),
    said: Option<&PostgresError>,
    row: Option<&FromRowError>,
) {
    let column = said.and_then(PostgresError::column).or(row.and_then(FromRowError::column));
    let sql = said.and_then(PostgresError::sql).or(row.and_then(FromRowError::sql));
    error!(
        target: REQUEST,
        error = %Chain(err),
        severity = said.and_then(PostgresError::severity).map(display),
        code = said.and_then(PostgresError::code).map(|code| display(Escaped(code.code()))),
        constraint = said.and_then(PostgresError::constraint).map(|name| display(Escaped(name))),
        table = said.and_then(PostgresError::table).map(|name| display(Escaped(name))),
        column = column.map(|name| display(Escaped(name))),
        sql = sql.map(display),
        "request failed"
    );
}

/// What the server says besides its answers: a RAISE NOTICE, a warning.
pub(crate) fn notice(said: &DbError) {
    let (severity, code) = (Escaped(said.severity()), Escaped(said.code().code()));
    let message = Escaped(said.message());
    match said.parsed_severity() {
        Some(Severity::Log | Severity::Debug) => debug!(target: NOTICE, %severity, %code, "{message}"),
        _ => info!(target: NOTICE, %severity, %code, "{message}"),
    }
}

#[cfg(not(feature = "rustls-no-provider"))]
pub(crate) fn not_encrypted() {
    warn!(
        "connections are not encrypted: `ssl = prefer` needs the feature `rustls` or `rustls-ring` of actix-pg"
    );
}

pub(crate) fn outage_began(err: &(dyn Error + 'static)) {
    warn!(error = %Chain(err), "cannot open a session; trying again until that works");
}

pub(crate) fn outage_ended(lasted: Duration) {
    info!(?lasted, "sessions can be opened again");
}

pub(crate) fn listening_failed(err: &(dyn Error + 'static)) {
    warn!(error = %Chain(err), "cannot listen; trying again for as long as somebody does");
}

pub(crate) fn listening_again(lasted: Duration) {
    info!(?lasted, "listening again");
}

pub(crate) fn start_retried(err: &(dyn Error + 'static), attempt: u32, limit: u32, interval: Duration) {
    warn!(error = %Chain(err), attempt, limit, ?interval, "the database is not reachable yet");
}

pub(crate) fn start_failed(err: &(dyn Error + 'static), attempt: u32) {
    error!(error = %Chain(err), attempt, "giving up on the database");
}

pub(crate) fn database_connected(sessions: u32) {
    info!(sessions, "connected to the database");
}

pub(crate) fn pool_resized(min: u32, max: u32) {
    info!(min, max, "the pool has another size");
}

pub(crate) fn database_closed(left: u32) {
    match left {
        0 => info!("the database is closed"),
        _ => warn!(left, "the database is closed, with sessions still lent"),
    }
}

pub(crate) fn passfile_not_used(err: &(dyn Error + 'static)) {
    warn!(error = %Chain(err), "the password file is not used");
}

pub(crate) fn session_opened(address: &dyn fmt::Display) {
    info!(server = %Escaped(address), "session opened");
}

pub(crate) fn session_closed() {
    debug!("session closed");
}

pub(crate) fn session_lost(err: &tokio_postgres::Error) {
    warn!(error = %postgres_error::shown(err), "session lost");
}

pub(crate) fn session_abandoned() {
    warn!("the server did not hang up on a session that was told to end; closed from this side");
}

pub(crate) fn session_discarded(reason: &dyn fmt::Display) {
    debug!(%reason, "session discarded");
}

pub(crate) fn warning(warning: &dyn fmt::Display) {
    warn!("{warning}");
}

pub(crate) fn held_session_returned(held: Duration, caller: &str) {
    info!(?held, caller, "the session that was held for long has been returned");
}

pub(crate) fn no_room_to_share(most: u32) {
    warn!(
        most,
        "`pool_max_size` has no room for another shared session: at most half of the sessions are shared. \
         The reads of some workers need sessions of their own"
    );
}

pub(crate) fn cancel_failed(err: &(dyn Error + 'static)) {
    warn!(error = %Chain(err), "an abandoned statement could not be cancelled");
}

pub(crate) fn repair_failed(bound: Duration) {
    warn!(?bound, "an abandoned statement did not end in time; its session is discarded");
}

pub(crate) fn reset_failed(err: &(dyn Error + 'static)) {
    warn!(error = %cause(err), "a session could not be reset and is discarded");
}

pub(crate) fn hook_interrupted() {
    warn!("the hook that sets a session up panicked or was late; the session is discarded");
}

pub(crate) fn callback_panicked(after: &str, caller: &Location<'_>) {
    error!(%caller, "what was to run after the {after} panicked");
}

pub(crate) fn check_failed(err: &(dyn Error + 'static)) {
    info!(error = %cause(err), "an idle session turned out to be dead");
}

/// The driver's own text has row data in it.
fn cause(err: &(dyn Error + 'static)) -> String {
    match err.downcast_ref::<tokio_postgres::Error>() {
        Some(driver) => postgres_error::shown(driver),
        None => Chain(err).to_string(),
    }
}

/// `echo`: what ran, with what, for how long.
pub(crate) fn echo(sql: &str, params: Option<&[&(dyn ToSql + Sync)]>, rows: Option<u64>, elapsed: Duration) {
    let params = params.map(|params| display(Escaped(format!("{params:?}"))));
    info!(sql, params, rows, ?elapsed, "statement");
}

/// `echo`: what failed, with what, why, after how long.
pub(crate) fn echo_failed(
    sql: &str,
    params: Option<&[&(dyn ToSql + Sync)]>,
    err: &(dyn Error + 'static),
    code: Option<&SqlState>,
    elapsed: Option<Duration>,
) {
    let params = params.map(|params| display(Escaped(format!("{params:?}"))));
    let code = code.map(|code| display(Escaped(code.code())));
    let elapsed = elapsed.map(tracing::field::debug);
    info!(sql, params, error = %Chain(err), code, elapsed, "statement failed");
}
