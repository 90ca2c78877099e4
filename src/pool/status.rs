//! A snapshot of the pool.

use serde::Serialize;

/// Counts of a pool's sessions and of those who wait for one: [`Database::status`](crate::Database::status).
///
/// The words are those of OpenTelemetry's
/// [`db.client.connection.*`](https://opentelemetry.io/docs/specs/semconv/database/database-metrics/) metrics. Serializes, for a
/// status page.
///
/// **It is no consistent snapshot.** The numbers are read one after the other while other threads borrow and return. So they may
/// not add up exactly, and may be out of date at once: use them to look at, not to decide whether a borrow will succeed.
///
/// A session that died while it idled counts as `open` and `idle` until that is noticed: about a second after its connection was
/// closed; where nothing was closed, by keepalive or by the check before it is lent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The most sessions that there can be: `pool_max_size`.
    pub max: u32,
    /// The sessions that are open: `idle` and `used` together.
    pub open: u32,
    /// The sessions that are free to be borrowed.
    pub idle: u32,
    /// The sessions that are borrowed, being reset, or about to end.
    pub used: u32,
    /// The borrowers that wait for a session, because all are in use or none can be opened.
    pub pending_requests: u32,
}
