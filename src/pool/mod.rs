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
mod acquire;
mod reader;

pub use acquire_error::AcquireError;
pub(crate) use backoff::Backoff;
use check::Checked;
pub(crate) use pooled_session::{PooledSession, Told};
pub(crate) use reader::Reader;
pub use status::{Counters, Ended, Status};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
use gate::{Gate, Grant};
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
