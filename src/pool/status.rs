//! What the pool holds and what has happened in it, in numbers.

use serde::Serialize;

use crate::stats::{Counts, EndReason, Event};

/// Counts of a pool's sessions and of the requests that wait for one: [`Database::status`](crate::Database::status).
///
/// The words are those of OpenTelemetry's
/// [`db.client.connection.*`](https://opentelemetry.io/docs/specs/semconv/database/database-metrics/) metrics. Serializes, for a
/// status page.
///
/// **It is no consistent snapshot.** The numbers are read one after the other while other threads borrow and return. So they may
/// not add up exactly, and may be out of date at once: use them to look at, not to decide whether a borrow will succeed.
///
/// The session of [`Database::listen`](crate::Database::listen) is no session of the pool, and counts nowhere here.
///
/// A session that died while it idled counts as `open` and `idle` until that is noticed: about a second after its connection was
/// closed; where nothing was closed, by keepalive or by the check before it is lent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The most sessions that there can be: `pool_max_size`, or what [`Database::resize`](crate::Database::resize) has set since. While
    /// the pool shrinks, `open` may still be more.
    pub max: u32,
    /// The sessions that are open: `idle` and `used` together.
    pub open: u32,
    /// The sessions that are free to be borrowed.
    pub idle: u32,
    /// The sessions that are borrowed, being reset, or about to end.
    pub used: u32,
    /// The borrowers that wait for a session, because all are in use or none can be opened.
    pub pending_requests: u32,
    /// What has happened since the start.
    pub counters: Counters,
}

/// What has happened in a pool since the start. The numbers only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Sessions that were lent.
    pub borrows: u64,
    /// Borrowers that had to wait.
    pub waits: u64,
    /// Borrowers that waited for `acquire_timeout` in vain.
    pub timeouts: u64,
    /// Borrowers that were refused, because the queue was full, the pool overloaded (`queue_target`), or no session could be opened.
    pub refusals: u64,
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions that were ended, by their reason.
    pub ended: Ended,
    /// Resets of a session before it was lent again.
    pub resets: u64,
    /// Cancel requests that were sent to the server.
    pub cancels: u64,
    /// Transactions that were run again after a serialization failure or a deadlock.
    pub retries: u64,
    /// Cached statements that were prepared again because the schema had changed.
    pub renewals: u64,
    /// Statements that were sent on a shared session.
    pub shared_reads: u64,
    /// Statements of a shared session that were asked again elsewhere, because one before them took too long.
    pub asked_again: u64,
}

/// Sessions that were ended, by their reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ended {
    /// The connection was lost.
    pub connection_lost: u64,
    /// The server had dropped prepared statements, after `DISCARD ALL` or `DEALLOCATE ALL`.
    pub statements_dropped: u64,
    /// The server takes no writes any more, and one that does is wanted.
    pub read_only: u64,
    /// The session idled for `idle_timeout`.
    pub idle_timeout: u64,
    /// The session reached `max_lifetime`.
    pub max_lifetime: u64,
    /// The session did not answer the check after `test_after_idle`, or its server was found silent by a cancel request.
    pub check_failed: u64,
    /// The session could not be reset within `reset_timeout`.
    pub reset_failed: u64,
    /// An abandoned statement did not end, or an answer was out of step.
    pub unusable: u64,
    /// The task that had the session panicked or was cut off.
    pub dropped: u64,
    /// A hook of the application refused the session.
    pub refused: u64,
    /// The server was a standby further behind the primary than [`reader_max_lag`](crate::Config::reader_max_lag) allows.
    pub too_far_behind: u64,
    /// A sandbox was over.
    pub sandbox: u64,
    /// The pool was made smaller by [`Database::resize`](crate::Database::resize).
    pub resized: u64,
    /// The session was replaced because of [`Database::renew`](crate::Database::renew).
    pub renewed: u64,
    /// The application owned the session, by [`Database::session`](crate::Database::session), and has dropped it.
    pub owned: u64,
    /// The session was idle at [`Database::close`](crate::Database::close), or came back after it.
    pub closed: u64,
}

impl Counters {
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            borrows: counts.get(Event::Borrow),
            waits: counts.get(Event::Wait),
            timeouts: counts.get(Event::Timeout),
            refusals: counts.get(Event::Refusal),
            opened: counts.get(Event::Open),
            ended: Ended {
                connection_lost: counts.ended(EndReason::ConnectionLost),
                statements_dropped: counts.ended(EndReason::StatementsDropped),
                read_only: counts.ended(EndReason::ReadOnly),
                idle_timeout: counts.ended(EndReason::Idle),
                max_lifetime: counts.ended(EndReason::Lifetime),
                check_failed: counts.ended(EndReason::CheckFailed),
                reset_failed: counts.ended(EndReason::ResetFailed),
                unusable: counts.ended(EndReason::Unusable),
                dropped: counts.ended(EndReason::Dropped),
                refused: counts.ended(EndReason::Refused),
                too_far_behind: counts.ended(EndReason::TooFarBehind),
                sandbox: counts.ended(EndReason::Sandbox),
                resized: counts.ended(EndReason::Resized),
                renewed: counts.ended(EndReason::Renewed),
                owned: counts.ended(EndReason::Owned),
                closed: counts.ended(EndReason::Closed),
            },
            resets: counts.get(Event::Reset),
            cancels: counts.get(Event::Cancel),
            retries: counts.get(Event::Retry),
            renewals: counts.get(Event::Renewal),
            shared_reads: counts.get(Event::SharedRead),
            asked_again: counts.get(Event::AskedAgain),
        }
    }
}
