//! Spans, with OpenTelemetry's names.

use std::borrow::Cow;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::field::Empty;
use tracing::{Level, dispatcher, info_span, span_enabled};

use crate::sql::{has_parameters, without_literals};
use crate::text::Escaped;

/// The target of spans.
const TARGET: &str = "actix_pg::span";

/// The port that spans leave out.
const DEFAULT_PORT: u16 = 5432;

/// A span, as far as anybody listens. It ends with its drop.
///
/// A subscriber that panics is the application's own, and must not take a session or, in a drop during another panic, the process
/// with it. So each call to it is guarded.
#[derive(Debug)]
pub(crate) struct Span(tracing::Span);

/// The server of a session, as OpenTelemetry names it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) namespace: String,
    pub(crate) address: String,
    pub(crate) port: Option<u16>,
}

/// Whether anybody listens to spans. tracing caches the answer of the subscriber.
///
/// Without a subscriber there are none: the feature `log` of tracing would make lines of the log of them.
#[inline]
pub(crate) fn is_traced() -> bool {
    dispatcher::has_been_set() && is_enabled()
}

fn is_enabled() -> bool {
    catch_unwind(|| span_enabled!(target: TARGET, Level::INFO)).unwrap_or(false)
}

impl Span {
    pub(crate) fn none() -> Self {
        Self(tracing::Span::none())
    }

    /// The span of one statement, a child of the current one. A text without parameters is shown without its literals.
    pub(crate) fn statement(summary: &str, sql: &str, peer: &Peer) -> Self {
        Self::guarded(|| {
            let name = if summary.is_empty() { "postgresql" } else { summary };
            let span = info_span!(
                target: TARGET,
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
        })
    }

    /// The span of something else that happens to a session, a child of the current one.
    #[inline]
    pub(crate) fn session(name: &'static str, peer: Option<&Peer>) -> Self {
        Self::guarded(|| {
            info_span!(
                target: TARGET,
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
        })
    }

    /// The current span, if it has a field for what a request costs.
    #[inline]
    pub(crate) fn of_request() -> Option<Self> {
        if !is_traced() {
            return None;
        }
        let span = Self::guarded(tracing::Span::current);
        REQUEST_FIELDS.iter().any(|field| span.0.has_field(*field)).then_some(span)
    }

    /// Records the rows that a statement has returned.
    pub(crate) fn record_rows(&self, rows: Option<u64>) {
        self.record(|span| _ = span.record("db.response.returned_rows", rows));
    }

    /// Records the error that it has ended with.
    pub(crate) fn record_error(&self, code: Option<&str>, kind: &str) {
        self.record(|span| {
            span.record("db.response.status_code", code);
            span.record("error.type", kind);
            span.record("otel.status_code", "ERROR");
        });
    }

    /// Records what a request has cost; times in seconds.
    pub(crate) fn record_request(&self, statements: u64, rows: u64, waited: f64, held: f64) {
        let [of_statements, of_rows, of_waits, of_holds] = REQUEST_FIELDS;
        self.record(|span| {
            span.record(of_statements, statements);
            span.record(of_rows, rows);
            span.record(of_waits, waited);
            span.record(of_holds, held);
        });
    }

    #[inline]
    fn guarded(make: impl FnOnce() -> tracing::Span) -> Self {
        if is_traced() { Self::made(make) } else { Self::none() }
    }

    fn made(make: impl FnOnce() -> tracing::Span) -> Self {
        catch_unwind(AssertUnwindSafe(make)).map_or_else(|_| Self::none(), Self)
    }

    fn record(&self, record: impl FnOnce(&tracing::Span)) {
        if !self.0.is_none() {
            let _ = catch_unwind(AssertUnwindSafe(|| record(&self.0)));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.0.is_none() {
            let span = mem::replace(&mut self.0, tracing::Span::none());
            let _ = catch_unwind(AssertUnwindSafe(|| drop(span)));
        }
    }
}

/// The fields of a request's span that are filled in, if it declares them.
const REQUEST_FIELDS: [&str; 4] = ["db.statements", "db.rows", "db.wait_time", "db.hold_time"];

/// The text of a statement as a span shows it.
fn shown(sql: &str) -> Cow<'_, str> {
    if has_parameters(sql) { Cow::Borrowed(sql) } else { Cow::Owned(without_literals(sql)) }
}
