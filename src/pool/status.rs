//! A snapshot of the pool.

use serde::Serialize;

/// The pool at one moment, in numbers of sessions and requests.
///
/// The words are those of OpenTelemetry's
/// [`db.client.connection.*`](https://opentelemetry.io/docs/specs/semconv/database/database-metrics/) metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The most sessions there can be: `pool_max_size`.
    pub max: u32,
    /// Sessions that are open.
    pub open: u32,
    /// Those of them that wait to be borrowed.
    pub idle: u32,
    /// Those of them that are borrowed, being reset or about to end.
    pub used: u32,
    /// Borrowers that wait because all `max` are in use.
    pub pending_requests: u32,
}
