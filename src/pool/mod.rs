//! Who gets a session, and when.
//!
//! ```text
//!   borrower ──acquire──> gate ──a session that rests, or the next that comes──> PooledSession
//!                          ^  │ wanted                                               │
//!                          │  v                                                      │ rest: to the first in line
//!             upkeep ──> opening ──> bb8 (counts them) ──> Session <────end──────────┘
//! ```
//!
//! A borrower takes a session that rests at the [gate](self::gate), or queues there. It never opens one. Tasks at home
//! [open](self::opening) sessions and [look after](self::upkeep) those that nobody uses. bb8 counts the sessions and opens them.

mod pooled_session;
mod gate;
mod opening;
mod backoff;
mod pace;
mod check;
mod refusals;
mod resizing;
mod renewal;
mod upkeep;
mod holds;
mod overload;
mod bb8_pool;
mod status;
mod acquire_error;

pub use acquire_error::AcquireError;
pub(crate) use backoff::Backoff;
pub(crate) use check::Checked;
pub(crate) use pooled_session::{PooledSession, Told};
pub use status::{Counters, Ended, Status};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Handle, Id};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::config::{PoolSettings, SessionSettings, Settings, WarningSettings};
use crate::session::Connector;
use crate::session::Home;
use crate::session::Session;
use crate::stats::{Event, Gauges, Place, Stats, Warning, WarningKind};
use crate::telemetry;
use bb8_pool::{Bb8Pool, Bb8Session};
use gate::{Entry, Gate, Grant, Refusal};
use opening::Outage;
use pace::Pace;
use refusals::Refusals;
use resizing::Sizes;

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) settings: PoolSettings,
    session_settings: SessionSettings,
    warnings: WarningSettings,
    connector: Arc<Connector>,
    pub(crate) bb8: Bb8Pool,
    pub(crate) gate: Arc<Gate<Bb8Session>>,
    pub(crate) outage: Outage,
    refusals: Refusals,
    pace: Pace,
    home: Home,
    /// The tasks that run callbacks of transactions.
    callbacks: TaskTracker,
    closed: AtomicBool,
    /// Those of the settings, until they are changed.
    sizes: Sizes,
}

impl Pool {
    /// A pool whose home is the current runtime, with the sessions that the start has opened.
    pub(crate) fn new(
        settings: &Settings,
        connector: Arc<Connector>,
        sessions: Vec<Box<Session>>,
    ) -> Arc<Self> {
        let gate = Gate::new(settings.pool.max_size);
        let pool = Arc::new(Self {
            settings: settings.pool.clone(),
            session_settings: settings.session.clone(),
            warnings: settings.warnings.clone(),
            bb8: Bb8Pool::new(Arc::clone(&connector)),
            outage: Outage::default(),
            refusals: Refusals::default(),
            pace: Pace::default(),
            connector,
            home: Home::current({
                let gate = Arc::clone(&gate);
                move || drop(gate.close())
            }),
            gate,
            callbacks: TaskTracker::new(),
            closed: AtomicBool::new(false),
            sizes: Sizes::new(settings.pool.min_size),
        });
        for session in sessions {
            if let Some(permit) = pool.gate.place_to_spare() {
                let _ = permit.deliver(Some(session.runtime()), pool.bb8.add(session));
            }
        }
        pool.gate.limit_opening(|limit| limit.min(pace::AT_A_TIME));
        opening::start(&pool);
        upkeep::start(&pool);
        holds::start(&pool);
        overload::start(&pool);
        pool
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Spawns a task at home that [`close`](Self::close) waits for.
    pub(crate) fn spawn_callbacks(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.home.spawn(self.callbacks.track_future(work))
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// What is worth a warning.
    pub(crate) fn warnings(&self) -> &WarningSettings {
        &self.warnings
    }

    pub(crate) fn session_settings(&self) -> &SessionSettings {
        &self.session_settings
    }

    /// What is known and counted.
    pub(crate) fn stats(&self) -> &Stats {
        self.connector.stats()
    }

    /// Whether somebody observes statements: reads the figures, or listens to spans.
    pub(crate) fn is_observed(&self) -> bool {
        telemetry::is_traced() || self.warnings.slow_statement.is_some() || self.stats().measures_statements()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lends a session without waiting, if one rests that needs no check.
    ///
    /// The hot path: one lock, no allocation, one look at the clock.
    pub(crate) fn acquire_now(self: &Arc<Self>) -> Option<PooledSession> {
        loop {
            let pooled = self.pooled(self.gate.take(here())?);
            match self.refusal(&pooled) {
                None if self.is_fresh(&pooled) => {
                    self.stats().count(Event::Borrow);
                    self.stats().record(|recorder| recorder.waited(Duration::ZERO));
                    return Some(pooled);
                }
                None => {
                    pooled.rest();
                    return None;
                }
                Some(reason) => pooled.end_in_background(reason),
            }
        }
    }

    /// Lends a session, waiting for it in the order of arrival and for `acquire_timeout` at most.
    #[cfg(feature = "testing")]
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<PooledSession, AcquireError> {
        self.within_acquire_timeout(self.acquire_in_time()).await?
    }

    /// Lends a session without a bound, and so without a timer. The callers may wait together on several runtimes.
    pub(crate) async fn acquire_in_time(self: &Arc<Self>) -> Result<PooledSession, AcquireError> {
        let since = Instant::now();
        let mut waited = false;
        let pooled = loop {
            let pooled = self.pooled(self.enter(since, &mut waited).await?);
            if let Some(reason) = self.refusal(&pooled) {
                pooled.end_in_background(reason);
            } else if self.is_fresh(&pooled) {
                break pooled;
            // Boxed, because the future of every waiter contains this one.
            } else if let Some(pooled) = self.checked(pooled).boxed().await? {
                break pooled;
            }
        };
        self.stats().count(Event::Borrow);
        if waited {
            self.stats().waits.record(since.elapsed());
        }
        self.stats().record(|recorder| recorder.waited(since.elapsed()));
        Ok(pooled)
    }

    /// Bounds a wait for a session.
    pub(crate) async fn within_acquire_timeout<T>(
        &self,
        wait: impl Future<Output = T>,
    ) -> Result<T, AcquireError> {
        timeout(self.settings.acquire_timeout, wait).await.map_err(|_| {
            self.count_timeout();
            self.timed_out()
        })
    }

    /// When a wait that begins now has lasted for `acquire_timeout`.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.acquire_timeout
    }

    /// Warns of a borrower that has waited for so long, and still waits.
    pub(crate) fn warn_of_slow_acquire(&self, place: &Place, threshold: Duration) {
        let mut warning = Warning::new(WarningKind::SlowAcquire, place);
        warning.duration = Some(threshold);
        self.stats().warn(warning);
    }

    /// Counts a borrower that has waited in vain.
    pub(crate) fn count_timeout(&self) {
        self.stats().count(Event::Timeout);
        self.stats().waits.record(self.settings.acquire_timeout);
    }

    pub(crate) fn timed_out(&self) -> AcquireError {
        AcquireError::TimedOut {
            acquire_timeout: self.settings.acquire_timeout,
            cause: self.outage.cause(),
            database: self.stats().name(),
        }
    }

    /// Wraps a session that was taken at the gate.
    pub(crate) fn pooled(self: &Arc<Self>, grant: Grant<Bb8Session>) -> PooledSession {
        PooledSession::new(grant, self)
    }

    async fn enter(&self, since: Instant, waited: &mut bool) -> Result<Grant<Bb8Session>, AcquireError> {
        let waiting = match self.gate.enter(here(), self.settings.max_waiting, since.into_std()) {
            Entry::Granted(grant) => return Ok(grant),
            Entry::Wait(waiting) => waiting,
            Entry::Full => {
                self.stats().count(Event::Refusal);
                let max_waiting = self.settings.max_waiting.unwrap_or(u32::MAX);
                let full = AcquireError::QueueFull { max_waiting, database: self.stats().name() };
                return Err(self.unavailable().map_or(full, AcquireError::Unavailable));
            }
            Entry::Closed => return Err(self.stopped()),
        };
        if !std::mem::replace(waited, true) {
            self.stats().count(Event::Wait);
        }
        // Looked at from within the queue, because the beginning of an outage tells only those who are in it.
        if let Some(cause) = self.unavailable() {
            self.stats().count(Event::Refusal);
            return Err(AcquireError::Unavailable(cause));
        }
        match waiting.await {
            Some(Ok(grant)) => Ok(grant),
            Some(Err(refusal)) => {
                self.stats().count(Event::Refusal);
                Err(match refusal {
                    Refusal::Unavailable(cause) => AcquireError::Unavailable(cause),
                    Refusal::Overload { target } => {
                        AcquireError::Overloaded { queue_target: target, database: self.stats().name() }
                    }
                })
            }
            None => Err(self.stopped()),
        }
    }

    fn is_fresh(&self, pooled: &PooledSession) -> bool {
        let idle = pooled.taken().saturating_duration_since(pooled.session().idle_since());
        idle < self.settings.test_after_idle
    }

    pub(crate) fn stopped(&self) -> AcquireError {
        if self.is_closed() { AcquireError::DatabaseClosed } else { AcquireError::HomeStopped }
    }

    /// Stops lending, waits for what is lent and for callbacks, and ends every session; all within `close_timeout`.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.connector.close();
        drop(self.gate.close());
        let deadline = Instant::now() + self.settings.close_timeout;
        self.callbacks.close();
        let _ = timeout_at(deadline, self.gate.all_returned()).await;
        let _ = timeout_at(deadline, self.callbacks.wait()).await;
        let _ = timeout_at(deadline, self.connector.ended()).await;
        self.record_gauges();
        telemetry::database_closed(self.stats().name(), self.connector.alive());
    }

    /// Tells the application's metrics how many sessions there are.
    pub(crate) fn record_gauges(&self) {
        self.stats().record(|recorder| {
            let Status { max, idle, used, pending_requests: pending, .. } = self.status();
            recorder.gauges(Gauges { idle, used, max, min: self.min_size(), pending });
        });
    }

    pub(crate) fn status(&self) -> Status {
        let (open, idle) = (self.bb8.open_sessions(), self.gate.resting());
        Status {
            max: self.gate.size(),
            open,
            idle,
            used: open.saturating_sub(idle),
            pending_requests: self.gate.waiting(),
            counters: Counters::of(&self.stats().counts),
        }
    }
}

/// The runtime that a borrower runs on.
fn here() -> Option<Id> {
    Handle::try_current().ok().map(|here| here.id())
}
