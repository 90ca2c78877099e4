//! What a request brings to its leases: its settings, and what is said and summed up of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use super::request_settings::RequestSettings;
use crate::stats::StatementInfo;
use crate::telemetry::Span;

/// The most statements of a request whose runs are counted.
const MOST_STATEMENTS: usize = 100;

/// What a request brings to its leases. Its scope and its leases share it.
#[derive(Debug, Default)]
pub(crate) struct RequestInfo {
    pub(crate) settings: RequestSettings,
    /// There is no request: `Database::connection` made it.
    standalone: bool,
    route: OnceLock<Arc<str>>,
    /// Read only if `is_bounded`.
    deadline: Mutex<Option<Deadline>>,
    is_bounded: AtomicBool,
    /// How often each statement has run, by its fingerprint. Kept only for a warning.
    repeats: Mutex<Vec<(u64, u32)>>,
    sums: OnceLock<Box<Sums>>,
}

/// What a request has cost so far. Kept only for one who asks.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// The span of the request, if it has fields for the sums.
    span: Mutex<Option<Span>>,
    statements: AtomicU64,
    rows: AtomicU64,
    /// Nanoseconds.
    running: AtomicU64,
    waited: AtomicU64,
    held: AtomicU64,
}

impl RequestInfo {
    /// What a connection of no request brings.
    pub(crate) fn standalone() -> Self {
        Self { standalone: true, ..Self::default() }
    }

    pub(crate) fn is_standalone(&self) -> bool {
        self.standalone
    }

    /// When the work of the request has to be over, if that was set.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        if !self.is_bounded.load(Ordering::Acquire) {
            return None;
        }
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Deadline>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        self.is_bounded.store(deadline.is_some(), Ordering::Release);
    }

    /// The route of the request, if it was asked for.
    pub(crate) fn route(&self) -> Option<Arc<str>> {
        self.route.get().cloned()
    }

    pub(crate) fn set_route(&self, route: &str) {
        self.route.get_or_init(|| route.into());
    }

    /// Has the cost of the request summed up, for its span if that has fields for it, or for another who asks.
    pub(crate) fn sum_up(&self, anyway: bool) {
        let span = Span::of_request();
        if anyway || span.is_some() {
            self.sums.get_or_init(|| Box::new(Sums { span: Mutex::new(span), ..Sums::default() }));
        }
    }

    /// What the request has cost so far, if it is summed up.
    pub(crate) fn sums(&self) -> Option<&Sums> {
        self.sums.get().map(|sums| &**sums)
    }

    /// Counts a run of a statement, and says how often the request has run it.
    pub(crate) fn count_statement(&self, info: &StatementInfo) -> u32 {
        let fingerprint = info.fingerprint();
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, times)) = repeats.iter_mut().find(|(known, _)| *known == fingerprint) {
            *times = times.saturating_add(1);
            return *times;
        }
        if repeats.len() < MOST_STATEMENTS {
            repeats.push((fingerprint, 1));
        }
        1
    }
}

impl Sums {
    pub(crate) fn ran(&self, elapsed: Duration, rows: u64) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        add(&self.running, elapsed);
    }

    /// The first or last statement of a transaction has been answered.
    fn ran_control(&self, elapsed: Duration) {
        add(&self.running, elapsed);
    }

    fn waited(&self, elapsed: Duration) {
        add(&self.waited, elapsed);
    }

    pub(crate) fn held(&self, elapsed: Duration) {
        add(&self.held, elapsed);
    }

    /// Tells the span of the request, once, and lets go of it.
    pub(crate) fn record(&self) {
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(span) = span {
            let seconds = |nanoseconds: &AtomicU64| duration(nanoseconds).as_secs_f64();
            span.record_request(
                self.statements.load(Ordering::Relaxed),
                self.rows.load(Ordering::Relaxed),
                seconds(&self.waited),
                seconds(&self.held),
            );
        }
    }

    /// The value of a `Server-Timing` header: the time of the statements, and that of the waits for a session.
    pub(crate) fn server_timing(&self) -> String {
        let milliseconds = |nanoseconds: &AtomicU64| duration(nanoseconds).as_secs_f64() * 1000.0;
        format!("db;dur={:.1}, pool;dur={:.1}", milliseconds(&self.running), milliseconds(&self.waited))
    }
}

/// Adds the time until its drop to what a request costs.
#[derive(Debug)]
pub(crate) struct Timed {
    request: Arc<RequestInfo>,
    since: Instant,
    add: fn(&Sums, Duration),
}

impl Timed {
    /// The first or last statement of a transaction.
    pub(super) fn control(request: &Arc<RequestInfo>) -> Option<Self> {
        Self::begin(request, Sums::ran_control)
    }

    /// A wait for a session, also one that is given up.
    pub(crate) fn wait(request: &Arc<RequestInfo>) -> Option<Self> {
        Self::begin(request, Sums::waited)
    }

    fn begin(request: &Arc<RequestInfo>, add: fn(&Sums, Duration)) -> Option<Self> {
        request.sums()?;
        Some(Self { request: Arc::clone(request), since: Instant::now(), add })
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if let Some(sums) = self.request.sums() {
            (self.add)(sums, self.since.elapsed());
        }
    }
}

fn add(sum: &AtomicU64, elapsed: Duration) {
    sum.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn duration(nanoseconds: &AtomicU64) -> Duration {
    Duration::from_nanos(nanoseconds.load(Ordering::Relaxed))
}
