//! Every event this crate logs, by its level.
//!
//! `error` is a misconfiguration or a failed request, `warn` what an operator should look at, `info` the life of the
//! application's sessions and what the server notices, `debug` that of a single borrow. Each event is one line, whatever a
//! client or the server has put into it. None shows a password. Parameters, and values in the server's messages, are shown
//! by `echo` alone.
//!
//! That is what this crate logs. The driver logs statements with their parameters itself, at DEBUG, to
//! `tokio_postgres::query` and the other modules of `tokio_postgres`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use tracing::field::{Empty, display};
use tracing::{Span, debug, dispatcher, error, info, info_span, warn};

use crate::postgres_error::{self, PostgresError};
use crate::sql::{has_parameters, without_literals};
use crate::text::{Chain, Escaped};
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, Severity, SqlState};
use crate::tokio_postgres::types::ToSql;

/// The target of the line that stands for a failed request.
const REQUEST: &str = "actix_pg::request";

/// The target of what the server has to say besides its answers.
const NOTICE: &str = "actix_pg::notice";

/// The target of spans.
const SPAN: &str = "actix_pg::span";

/// The port that spans leave out.
const DEFAULT_PORT: u16 = 5432;

pub(crate) fn request_failed(err: &(dyn Error + 'static), said: Option<&PostgresError>) {
    error!(
        target: REQUEST,
        error = %Chain(err),
        severity = said.and_then(PostgresError::severity).map(display),
        code = said.and_then(PostgresError::code).map(|code| display(Escaped(code.code()))),
        constraint = said.and_then(PostgresError::constraint).map(|name| display(Escaped(name))),
        table = said.and_then(PostgresError::table).map(|name| display(Escaped(name))),
        column = said.and_then(PostgresError::column).map(|name| display(Escaped(name))),
        sql = said.and_then(PostgresError::sql).map(display),
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

/// The server of a session, as OpenTelemetry names it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) namespace: String,
    pub(crate) address: String,
    pub(crate) port: Option<u16>,
}

/// Whether anybody may listen to spans.
///
/// Without a subscriber there are none: the feature `log` of tracing would make lines of the log of them.
pub(crate) fn is_traced() -> bool {
    dispatcher::has_been_set()
}

/// The span of one statement, a child of the current one. A text without parameters is shown without its literals.
pub(crate) fn statement_span(summary: &str, sql: &str, peer: &Peer) -> Span {
    if !is_traced() {
        return Span::none();
    }
    let name = if summary.is_empty() { "postgresql" } else { summary };
    let span = info_span!(
        target: SPAN,
        "statement",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.namespace = %Escaped(&peer.namespace),
        db.query.summary = summary,
        db.query.text = Empty,
        server.address = %Escaped(&peer.address),
        server.port = peer.port.filter(|port| *port != DEFAULT_PORT),
        db.response.returned_rows = Empty,
        db.response.status_code = Empty,
        "error.type" = Empty,
    );
    if !span.is_disabled() {
        span.record("db.query.text", &*shown(sql));
    }
    span
}

/// The span of something else that happens to a session, a child of the current one.
pub(crate) fn session_span(name: &'static str, peer: Option<&Peer>) -> Span {
    if !is_traced() {
        return Span::none();
    }
    info_span!(
        target: SPAN,
        "session",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.namespace = peer.map(|peer| display(Escaped(&peer.namespace))),
        server.address = peer.map(|peer| display(Escaped(&peer.address))),
        server.port = peer.and_then(|peer| peer.port).filter(|port| *port != DEFAULT_PORT),
        db.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The current span, if it has a field for what a request costs.
pub(crate) fn request_span() -> Option<Span> {
    if !is_traced() {
        return None;
    }
    let span = Span::current();
    REQUEST_FIELDS.iter().any(|field| span.has_field(*field)).then_some(span)
}

/// The fields of a request's span that are filled in, if it declares them.
const REQUEST_FIELDS: [&str; 4] = ["db.statements", "db.rows", "db.wait_time", "db.hold_time"];

/// Tells a request's span what it has cost; times in seconds.
pub(crate) fn record_request(span: &Span, statements: u64, rows: u64, waited: f64, held: f64) {
    let [of_statements, of_rows, of_waits, of_holds] = REQUEST_FIELDS;
    span.record(of_statements, statements);
    span.record(of_rows, rows);
    span.record(of_waits, waited);
    span.record(of_holds, held);
}

/// The text of a statement as a span shows it.
fn shown(sql: &str) -> Cow<'_, str> {
    if has_parameters(sql) { Cow::Borrowed(sql) } else { Cow::Owned(without_literals(sql)) }
}

/// Records the rows that a statement has returned.
pub(crate) fn record_rows(span: &Span, rows: Option<u64>) {
    span.record("db.response.returned_rows", rows);
}

/// Records the error that a span has ended with.
pub(crate) fn record_error(span: &Span, code: Option<&str>, kind: &str) {
    span.record("db.response.status_code", code);
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
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

pub(crate) fn start_retried(err: &(dyn Error + 'static), attempt: u32, limit: u32, interval: Duration) {
    warn!(error = %Chain(err), attempt, limit, ?interval, "the database is not reachable yet");
}

pub(crate) fn start_failed(err: &(dyn Error + 'static), attempt: u32) {
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
