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

/// The type that names a database, in an application that has several. Where there is none, the line has no such field.
type Name = Option<&'static str>;

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
pub(crate) fn notice(database: Name, said: &DbError) {
    let (severity, code) = (Escaped(said.severity()), Escaped(said.code().code()));
    let message = Escaped(said.message());
    match said.parsed_severity() {
        Some(Severity::Log | Severity::Debug) => {
            debug!(target: NOTICE, database, %severity, %code, "{message}")
        }
        _ => info!(target: NOTICE, database, %severity, %code, "{message}"),
    }
}

#[cfg(not(feature = "rustls-no-provider"))]
pub(crate) fn not_encrypted() {
    warn!(
        "connections are not encrypted: `ssl = prefer` needs the feature `rustls` or `rustls-ring` of actix-pg"
    );
}

pub(crate) fn outage_began(database: Name, err: &(dyn Error + 'static)) {
    warn!(database, error = %Chain(err), "cannot open a session; trying again until that works");
}

pub(crate) fn outage_ended(database: Name, lasted: Duration) {
    info!(database, ?lasted, "sessions can be opened again");
}

pub(crate) fn primary_silent(database: Name, err: &(dyn Error + 'static)) {
    warn!(
        database,
        error = %Chain(err),
        "cannot ask the primary how far it is; until that works its last known position counts, or no standby is used if it has refused"
    );
}

pub(crate) fn primary_answers(database: Name, lasted: Duration) {
    info!(database, ?lasted, "the primary says again how far it is");
}

pub(crate) fn listening_failed(database: Name, err: &(dyn Error + 'static)) {
    warn!(database, error = %Chain(err), "cannot listen; trying again for as long as somebody does");
}

pub(crate) fn listening_again(database: Name, lasted: Duration) {
    info!(database, ?lasted, "listening again");
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

/// Says which of the databases, by what is in the metrics too.
pub(crate) fn database_named(name: &str, servers: &str, namespace: &str) {
    let (servers, namespace) = (Escaped(servers), Escaped(namespace));
    info!(database = name, %servers, %namespace, "the database has a name");
}

pub(crate) fn pool_resized(database: Name, min: u32, max: u32) {
    info!(database, min, max, "the pool has another size");
}

pub(crate) fn sessions_renewed(database: Name, sessions: u32, within: Duration) {
    info!(database, sessions, ?within, "the sessions are being replaced");
}

pub(crate) fn database_closed(database: Name, left: u32) {
    match left {
        0 => info!(database, "the database is closed"),
        _ => warn!(database, left, "the database is closed, with sessions still lent"),
    }
}

pub(crate) fn passfile_not_used(database: Name, err: &(dyn Error + 'static)) {
    warn!(database, error = %Chain(err), "the password file is not used");
}

pub(crate) fn transaction_pooler(database: Name) {
    warn!(
        database,
        "two sessions have the same backend: a pooler in transaction mode is in between, and settings of one request reach others; \
         set the option pooler = \"transaction\""
    );
}

pub(crate) fn session_opened(database: Name, address: &dyn fmt::Display) {
    info!(database, server = %Escaped(address), "session opened");
}

pub(crate) fn session_closed(database: Name) {
    debug!(database, "session closed");
}

pub(crate) fn session_lost(database: Name, err: &tokio_postgres::Error) {
    warn!(database, error = %postgres_error::shown(err), "session lost");
}

pub(crate) fn session_abandoned(database: Name) {
    warn!(database, "the server did not hang up on a session that was told to end; closed from this side");
}

pub(crate) fn session_discarded(database: Name, reason: &dyn fmt::Display) {
    debug!(database, %reason, "session discarded");
}

pub(crate) fn warning(warning: &dyn fmt::Display) {
    warn!("{warning}");
}

pub(crate) fn held_session_returned(database: Name, held: Duration, caller: &str) {
    info!(database, ?held, caller, "the session that was held for long has been returned");
}

pub(crate) fn no_room_to_share(database: Name, most: u32) {
    warn!(
        database,
        most,
        "`pool_max_size` has no room for another shared session: at most half of the sessions are shared. \
         The reads of some workers need sessions of their own"
    );
}

pub(crate) fn cancel_failed(database: Name, err: &(dyn Error + 'static)) {
    warn!(database, error = %Chain(err), "an abandoned statement could not be cancelled");
}

pub(crate) fn repair_failed(database: Name, bound: Duration) {
    warn!(database, ?bound, "an abandoned statement did not end in time; its session is discarded");
}

pub(crate) fn reset_failed(database: Name, err: &(dyn Error + 'static)) {
    warn!(database, error = %cause(err), "a session could not be reset and is discarded");
}

pub(crate) fn hook_interrupted(database: Name) {
    warn!(database, "the hook that sets a session up panicked or was late; the session is discarded");
}

pub(crate) fn callback_panicked(after: &str, caller: &Location<'_>) {
    error!(%caller, "what was to run after the {after} panicked");
}

pub(crate) fn check_failed(database: Name, err: &(dyn Error + 'static)) {
    info!(database, error = %cause(err), "an idle session turned out to be dead");
}

/// The driver's own text has row data in it.
fn cause(err: &(dyn Error + 'static)) -> String {
    match err.downcast_ref::<tokio_postgres::Error>() {
        Some(driver) => postgres_error::shown(driver),
        None => Chain(err).to_string(),
    }
}

/// `echo`: what ran, with what, for how long.
pub(crate) fn echo(
    database: Name,
    sql: &str,
    params: Option<&[&(dyn ToSql + Sync)]>,
    rows: Option<u64>,
    elapsed: Duration,
) {
    let params = params.map(|params| display(Escaped(format!("{params:?}"))));
    info!(database, sql, params, rows, ?elapsed, "statement");
}

/// `echo`: what failed, with what, why, after how long.
pub(crate) fn echo_failed(
    database: Name,
    sql: &str,
    params: Option<&[&(dyn ToSql + Sync)]>,
    err: &(dyn Error + 'static),
    code: Option<&SqlState>,
    elapsed: Option<Duration>,
) {
    let params = params.map(|params| display(Escaped(format!("{params:?}"))));
    let code = code.map(|code| display(Escaped(code.code())));
    let elapsed = elapsed.map(tracing::field::debug);
    info!(database, sql, params, error = %Chain(err), code, elapsed, "statement failed");
}
