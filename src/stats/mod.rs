//! What is known and counted of statements and sessions.
//!
//! [`Register`] has one [`StatementInfo`] for each SQL text: what the text says, found once for all sessions. Figures of a statement
//! (calls, time, rows, errors) are written only while a [`Watch`](crate::Watch) is alive. A clock is read for a statement only then, or
//! where a span, a metric or an option needs it.
//!
//! The hot paths write to the shard of their thread, and a reader adds the shards up. A number that is read is no snapshot: one
//! shard may be ahead of another.

mod board;
mod counts;
mod end_reason;
mod figures;
mod histogram;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod pool_name;
mod recorder;
mod register;
mod sharing;
mod shards;
mod warning;

pub(crate) use board::{Activity, Board, Cell, Doing, Holder, Phase};
pub(crate) use counts::{Counts, Event};
pub(crate) use end_reason::EndReason;
pub use histogram::Durations;
pub(crate) use histogram::Histogram;
pub(crate) use register::{Register, StatementInfo};
pub(crate) use sharing::Overdue;
pub(crate) use warning::{Place, line};
pub use warning::{Warning, WarningKind};

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::telemetry::{self, guarded};

#[cfg(feature = "metrics")]
pub use metrics::DURATION_BUCKETS;
#[cfg(feature = "metrics")]
pub(crate) use metrics::Metrics;
pub(crate) use recorder::{Gauges, Operation, Recorder};

/// The warnings that are kept for one who watches. Of more, the oldest are dropped.
const MOST_WARNINGS: usize = 256;

/// What is known and counted, shared by the pool and its sessions.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    recorder: Option<Box<dyn Recorder>>,
    pub(crate) register: Register,
    pub(crate) counts: Counts,
    pub(crate) board: Board,
    /// The durations of statements, while somebody watches.
    pub(crate) statements: Histogram,
    /// The durations of the waits for a session.
    pub(crate) waits: Histogram,
    warnings: OnceLock<broadcast::Sender<Warning>>,
    name: OnceLock<&'static str>,
}

impl Stats {
    pub(crate) fn new(recorder: Option<Box<dyn Recorder>>) -> Self {
        Self { recorder, ..Self::default() }
    }

    /// Gives the database a name, for its lines of the log. `false` if it has one.
    pub(crate) fn set_name(&self, name: &'static str) -> bool {
        self.name.set(name).is_ok()
    }

    /// The name that the application has given to the database.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.name.get().copied()
    }

    /// Logs a warning, and shows it to those who watch.
    pub(crate) fn warn(&self, mut warning: Warning) {
        warning.database = self.name();
        telemetry::warning(&warning);
        if let Some(sender) = self.warnings.get() {
            // Nobody may be there any more.
            let _ = sender.send(warning);
        }
    }

    /// The warnings from now on.
    pub(crate) fn warnings(&self) -> broadcast::Receiver<Warning> {
        self.warnings.get_or_init(|| broadcast::Sender::new(MOST_WARNINGS)).subscribe()
    }

    /// Whether statements have to be measured.
    pub(crate) fn measures_statements(&self) -> bool {
        self.recorder.is_some() || self.register.is_watched()
    }

    pub(crate) fn count(&self, event: Event) {
        self.counts.count(event);
        self.record(|recorder| recorder.count(event));
    }

    pub(crate) fn count_ended(&self, reason: EndReason) {
        self.counts.count_ended(reason);
        self.record(|recorder| recorder.ended(reason));
    }

    /// A statement has ended, with an SQLSTATE and a kind of error or without.
    pub(crate) fn ran(&self, info: &StatementInfo, elapsed: Duration, error: Option<(Option<&str>, &str)>) {
        self.record(|recorder| {
            let operation = info.operation(|summary| recorder.operation(summary));
            match error {
                None => operation.succeeded(elapsed),
                Some((code, kind)) => operation.failed(elapsed, code, kind),
            }
        });
    }

    /// Tells the recorder, if there is one.
    pub(crate) fn record(&self, measurement: impl FnOnce(&dyn Recorder)) {
        if let Some(recorder) = &self.recorder {
            guarded(|| measurement(&**recorder));
        }
    }
}
