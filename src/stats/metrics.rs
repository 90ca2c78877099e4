//! The metrics of the [`metrics`] facade, with OpenTelemetry's names and units.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

use super::pool_name::PoolName;
use super::recorder::{Gauges, Operation, Recorder};
use super::{EndReason, Event};
use crate::telemetry::guarded;

/// The most summaries that have a series of their own. The statements of all others share one.
const MOST_SUMMARIES: usize = 200;

/// The summary of the statements beyond [`MOST_SUMMARIES`], and the kind of the errors beyond [`MOST_KINDS`].
const OTHER: &str = "_OTHER";

/// The most kinds of errors that have a series of their own for one summary: a function may raise whatever SQLSTATE it likes.
const MOST_KINDS: usize = 16;

/// The bounds of the buckets of `db.client.operation.duration`, in seconds, as the semantic conventions advise them.
///
/// The `metrics` facade has no place for them, so they are handed to the exporter:
///
/// ```
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metrics = PrometheusBuilder::new()
///     .set_buckets_for_metric(Matcher::Suffix("duration".into()), &actix_pg::DURATION_BUCKETS)?;
/// # Ok(())
/// # }
/// ```
pub const DURATION_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// The handles of one pool. They are made at the start, so the exporter has to be installed before.
pub(crate) struct Metrics {
    _pool: PoolName,
    server: Vec<Label>,
    operations: Mutex<HashMap<Box<str>, Arc<dyn Operation>>>,
    events: Vec<(Event, Counter)>,
    ended: Vec<(EndReason, Counter)>,
    create_time: Histogram,
    wait_time: Histogram,
    use_time: Histogram,
    idle: Gauge,
    used: Gauge,
    max: Gauge,
    idle_max: Gauge,
    idle_min: Gauge,
    pending: Gauge,
}

impl Metrics {
    /// `pool` names the pool; `server` are the labels of statements.
    pub(crate) fn new(pool: &str, namespace: &str, address: Option<&str>, port: Option<u16>) -> Self {
        describe();
        let pool = PoolName::take(pool);
        let name = || Label::new("db.client.connection.pool.name", pool.as_str().to_owned());
        let mut server = vec![
            Label::from_static_parts("db.system.name", "postgresql"),
            Label::new("db.namespace", namespace.to_owned()),
        ];
        if let Some(address) = address {
            server.push(Label::new("server.address", address.to_owned()));
        }
        if let Some(port) = port {
            server.push(Label::new("server.port", port.to_string()));
        }
        let state =
            |state: &'static str| vec![name(), Label::from_static_parts("db.client.connection.state", state)];
        let events = EVENTS.map(|(event, metric)| (event, counter!(metric, vec![name()])));
        let ended = EndReason::ALL.map(|reason| {
            let labels = vec![name(), Label::from_static_parts("reason", reason.label())];
            (reason, counter!("actix_pg.sessions.ended", labels))
        });
        Self {
            server,
            operations: Mutex::default(),
            events: events.into(),
            ended: ended.into(),
            create_time: histogram!("db.client.connection.create_time", vec![name()]),
            wait_time: histogram!("db.client.connection.wait_time", vec![name()]),
            use_time: histogram!("db.client.connection.use_time", vec![name()]),
            idle: gauge!("db.client.connection.count", state("idle")),
            used: gauge!("db.client.connection.count", state("used")),
            max: gauge!("db.client.connection.max", vec![name()]),
            idle_max: gauge!("db.client.connection.idle.max", vec![name()]),
            idle_min: gauge!("db.client.connection.idle.min", vec![name()]),
            pending: gauge!("db.client.connection.pending_requests", vec![name()]),
            _pool: pool,
        }
    }

    fn operations(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<dyn Operation>>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that have a metric.
const EVENTS: [(Event, &str); 7] = [
    (Event::Timeout, "db.client.connection.timeouts"),
    (Event::Reset, "actix_pg.resets"),
    (Event::Cancel, "actix_pg.cancels"),
    (Event::Retry, "actix_pg.transactions.retries"),
    (Event::Renewal, "actix_pg.plans.renewed"),
    (Event::SharedRead, "actix_pg.reads.shared"),
    (Event::AskedAgain, "actix_pg.reads.asked_again"),
];

fn describe() {
    describe_histogram!("db.client.operation.duration", Unit::Seconds, "The duration of statements.");
    describe_gauge!("db.client.connection.count", Unit::Count, "The sessions that are open, by their state.");
    describe_gauge!("db.client.connection.max", Unit::Count, "The most sessions that may be open.");
    describe_gauge!("db.client.connection.idle.max", Unit::Count, "The most sessions that may be idle.");
    describe_gauge!("db.client.connection.idle.min", Unit::Count, "The sessions that are kept open.");
    describe_gauge!(
        "db.client.connection.pending_requests",
        Unit::Count,
        "The requests that wait for a session."
    );
    describe_counter!(
        "db.client.connection.timeouts",
        Unit::Count,
        "The requests that waited for a session in vain."
    );
    describe_histogram!("db.client.connection.create_time", Unit::Seconds, "The time to open a session.");
    describe_histogram!("db.client.connection.wait_time", Unit::Seconds, "The time to borrow a session.");
    describe_histogram!(
        "db.client.connection.use_time",
        Unit::Seconds,
        "The time between borrow and return."
    );
    describe_counter!("actix_pg.resets", Unit::Count, "The resets of sessions before they are lent again.");
    describe_counter!("actix_pg.cancels", Unit::Count, "The cancel requests.");
    describe_counter!("actix_pg.transactions.retries", Unit::Count, "The transactions that were run again.");
    describe_counter!(
        "actix_pg.plans.renewed",
        Unit::Count,
        "The cached statements that were prepared anew."
    );
    describe_counter!(
        "actix_pg.reads.shared",
        Unit::Count,
        "The statements that were sent on a shared session."
    );
    describe_counter!(
        "actix_pg.reads.asked_again",
        Unit::Count,
        "Those that were asked again elsewhere, because one before them took too long."
    );
    describe_counter!(
        "actix_pg.sessions.ended",
        Unit::Count,
        "The sessions that were ended, by their reason."
    );
}

impl Recorder for Metrics {
    fn operation(&self, summary: &str) -> Arc<dyn Operation> {
        let known = |summary: &str| {
            let operations = self.operations();
            let is_full = operations.len() >= MOST_SUMMARIES;
            (operations.get(summary).map(Arc::clone), is_full)
        };
        let (mut operation, is_full) = known(summary);
        let mut summary = summary;
        if operation.is_none() && is_full {
            summary = OTHER;
            operation = known(summary).0;
        }
        operation.unwrap_or_else(|| {
            // Not under the lock: the application's recorder may be slow, or panic.
            let mut labels = self.server.clone();
            labels.push(Label::new("db.query.summary", summary.to_owned()));
            let made: Arc<dyn Operation> = Arc::new(OperationDuration::new(labels));
            Arc::clone(self.operations().entry(summary.into()).or_insert(made))
        })
    }

    fn count(&self, event: Event) {
        increment(&self.events, event);
    }

    fn ended(&self, reason: EndReason) {
        increment(&self.ended, reason);
    }

    fn created(&self, elapsed: Duration) {
        self.create_time.record(elapsed);
    }

    fn waited(&self, elapsed: Duration) {
        self.wait_time.record(elapsed);
    }

    fn used(&self, elapsed: Duration) {
        self.use_time.record(elapsed);
    }

    fn gauges(&self, Gauges { idle, used, max, min, pending }: Gauges) {
        self.idle.set(idle);
        self.used.set(used);
        self.max.set(max);
        self.idle_max.set(max);
        self.idle_min.set(min);
        self.pending.set(pending);
    }
}

/// A pool that is gone has no sessions. The facade cannot take a series away.
impl Drop for Metrics {
    fn drop(&mut self) {
        guarded(|| self.gauges(Gauges::default()));
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts one more, if it has a metric.
fn increment<T: PartialEq>(counters: &[(T, Counter)], counted: T) {
    if let Some((_, counter)) = counters.iter().find(|(other, _)| *other == counted) {
        counter.increment(1);
    }
}

/// The durations of the statements with one summary.
struct OperationDuration {
    labels: Vec<Label>,
    succeeded: Histogram,
    kinds: Mutex<Vec<Box<str>>>,
}

impl OperationDuration {
    fn new(labels: Vec<Label>) -> Self {
        let succeeded = histogram!("db.client.operation.duration", labels.clone());
        Self { labels, succeeded, kinds: Mutex::default() }
    }

    /// Whether this kind of error has a series of its own.
    fn tells_apart(&self, kind: &str) -> bool {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = kinds.iter().any(|known| **known == *kind);
        let is_told = is_known || kinds.len() < MOST_KINDS;
        if is_told && !is_known {
            kinds.push(kind.into());
        }
        is_told
    }
}

impl Operation for OperationDuration {
    fn succeeded(&self, elapsed: Duration) {
        self.succeeded.record(elapsed);
    }

    fn failed(&self, elapsed: Duration, code: Option<&str>, kind: &str) {
        let (code, kind) = if self.tells_apart(kind) { (code, kind) } else { (None, OTHER) };
        let mut labels = self.labels.clone();
        labels.push(Label::new("error.type", SharedString::from(kind.to_owned())));
        if let Some(code) = code {
            labels.push(Label::new("db.response.status_code", SharedString::from(code.to_owned())));
        }
        histogram!("db.client.operation.duration", labels).record(elapsed);
    }
}

impl std::fmt::Debug for OperationDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperationDuration").finish_non_exhaustive()
    }
}
