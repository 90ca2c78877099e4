//! A look into the pool while it is at work.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use crate::pool::Pool;
use crate::sql::without_literals;
use crate::stats::{Cell, Durations, Phase, StatementInfo, Stats, Warning, line};
use crate::{Database, Status};

/// Reads what the pool does: [`Database::watch`].
///
/// Statements are measured for it only while a `Watch` is alive. Without one, and with no other observer (`slow_statement`, the feature
/// `metrics`, a subscriber), no clock is read for a statement.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let postgres = Postgres::shared()?;
/// # let database = postgres.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// let watch = db.watch();
/// db.connection().query("SELECT 1", &[]).await?;
///
/// let statements = watch.statements();
/// assert_eq!((statements[0].summary.as_str(), statements[0].calls), ("SELECT", 1));
/// assert_eq!(watch.sessions().len() as u32, watch.status().open);
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    pool: Arc<Pool>,
}

/// The figures of one SQL text, from all the time in which a watch was alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatementStats {
    /// The text on one line, with `?` for every literal.
    pub sql: String,
    /// The text in a few words, such as `SELECT users`: OpenTelemetry's `db.query.summary`.
    pub summary: String,
    /// Whether the text changes nothing.
    pub only_reads: bool,
    /// How often it ran, failures included.
    pub calls: u64,
    /// Rows that it returned or affected, in all.
    pub rows: u64,
    /// The time that it took, in all.
    pub total: Duration,
    /// The time of the longest run.
    pub longest: Duration,
    /// The time since its latest end.
    pub last_seen: Duration,
    /// How often it failed, by SQLSTATE, or by `timeout`, `cancelled` or `_OTHER`. Of more than 16 kinds the rest are
    /// `other`.
    pub errors: BTreeMap<String, u64>,
}

impl StatementStats {
    /// The mean time of a run.
    pub fn mean(&self) -> Duration {
        u32::try_from(self.calls).ok().and_then(|calls| self.total.checked_div(calls)).unwrap_or_default()
    }
}

/// A session of the pool at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// A number that no other session of the pool has had.
    pub number: u64,
    /// The time since it was opened.
    pub age: Duration,
    /// What it is used for.
    pub state: SessionState,
    /// How long it has been used for that.
    pub since: Duration,
    /// The line that borrowed it, as `file:line`.
    pub caller: Option<String>,
    /// The route of the request that holds it, where one of the four thresholds of [warnings](Watch::warnings) is set.
    pub route: Option<String>,
    /// The summary of the statement that was sent last.
    pub statement: Option<String>,
}

/// What a session is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionState {
    /// It waits to be borrowed.
    Idle,
    /// It is borrowed, and no statement runs.
    Held,
    /// It is borrowed, and a statement runs.
    Active,
    /// It is borrowed, a transaction is open, and no statement runs.
    IdleInTransaction,
    /// It is being reset.
    Resetting,
    /// It is about to end.
    Ending,
}

impl<D> Database<D> {
    /// Begins to watch the pool. Statements are measured until the last [`Watch`] is dropped. What was measured stays, and a later watch
    /// adds to it.
    pub fn watch(&self) -> Watch {
        let pool = Arc::clone(self.untyped().lender().pool());
        pool.stats().register.watch();
        Watch { pool }
    }

    /// Whether both are handles of the same pool.
    pub fn shares_pool_with<E>(&self, other: &Database<E>) -> bool {
        Arc::ptr_eq(self.untyped().lender().pool(), other.untyped().lender().pool())
    }
}

impl Watch {
    /// The numbers of the pool.
    pub fn status(&self) -> Status {
        self.pool.status()
    }

    /// The statements that have run while a watch was alive, those that took the most time first.
    pub fn statements(&self) -> Vec<StatementStats> {
        self.top_statements(usize::MAX)
    }

    /// The first `most` of [`statements`](Self::statements). Of all others only the figures are read, not the texts.
    pub fn top_statements(&self, most: usize) -> Vec<StatementStats> {
        let stats = self.stats();
        let now = stats.register.age_at(Instant::now());
        let known = stats.register.all();
        let totals = known.iter().filter_map(|info| Some((info.recorded()?.sums().total, info)));
        let mut statements: Vec<_> = totals.collect();
        statements.sort_by_key(|(total, _)| Reverse(*total));
        statements.into_iter().take(most).filter_map(|(_, info)| figures(info, now)).collect()
    }

    /// The number of [`statements`](Self::statements).
    pub fn statement_count(&self) -> usize {
        self.stats().register.all().iter().filter(|info| info.recorded().is_some()).count()
    }

    /// The sessions of the pool, in the order in which they were opened.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions = self.stats().board.sessions();
        sessions.sort_by_key(|cell| cell.number);
        let now = Instant::now();
        sessions.iter().map(|cell| session(cell, now)).collect()
    }

    /// The durations of the statements that have run while a watch was alive.
    pub fn statement_durations(&self) -> Durations {
        self.stats().statements.read()
    }

    /// The durations of the waits for a session.
    pub fn wait_durations(&self) -> Durations {
        self.stats().waits.read()
    }

    /// The warnings from now on. They need the thresholds of [`Config`](crate::Config): `slow_statement`, `slow_acquire`,
    /// `long_hold`, `repeated_statement`.
    ///
    /// The stream keeps 256 warnings for its reader. Of more, the oldest are dropped. It ends when the database has been closed
    /// and every handle of it is gone.
    pub fn warnings(&self) -> impl Stream<Item = Warning> + Send + use<> {
        stream::unfold(self.stats().warnings(), async |mut warnings| {
            loop {
                match warnings.recv().await {
                    Ok(warning) => return Some((warning, warnings)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    }

    /// SQL as [`StatementStats::sql`] has it: on one line, without comments, with `?` for every literal, and with `…` for what
    /// is too long or cannot be read.
    ///
    /// For SQL that comes from elsewhere, such as `pg_stat_activity`.
    ///
    /// ```
    /// # use actix_pg::Watch;
    /// assert_eq!(Watch::without_literals("SELECT 1 FROM a -- b"), "SELECT ? FROM a");
    /// ```
    pub fn without_literals(sql: &str) -> String {
        without_literals(sql)
    }

    fn stats(&self) -> &Stats {
        self.pool.stats()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stats().register.unwatch();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("sessions", &self.status().open).finish_non_exhaustive()
    }
}

fn figures(info: &StatementInfo, now: Duration) -> Option<StatementStats> {
    let sums = info.recorded()?.sums();
    Some(StatementStats {
        sql: without_literals(info.sql()),
        summary: info.summary().to_owned(),
        only_reads: info.only_reads(),
        calls: sums.calls,
        rows: sums.rows,
        total: sums.total,
        longest: sums.longest,
        last_seen: now.saturating_sub(sums.last_seen),
        errors: sums.errors.into_iter().map(|(kind, count)| (kind.into(), count)).collect(),
    })
}

fn session(cell: &Cell, now: Instant) -> SessionInfo {
    let current = cell.current();
    let doing =
        current.holder.as_ref().and_then(|holder| holder.lease.upgrade()).map(|lease| lease.activity());
    let state = match (current.phase, &doing) {
        (Phase::Idle, _) => SessionState::Idle,
        (Phase::Resetting, _) => SessionState::Resetting,
        (Phase::Ending, _) => SessionState::Ending,
        (Phase::Used, Some(doing)) if doing.in_flight => SessionState::Active,
        (Phase::Used, Some(doing)) if doing.in_transaction => SessionState::IdleInTransaction,
        (Phase::Used, _) => SessionState::Held,
    };
    let place = current.holder.as_ref().map(|holder| &holder.place);
    SessionInfo {
        number: cell.number,
        age: now.saturating_duration_since(cell.opened),
        state,
        since: now.saturating_duration_since(current.since),
        caller: place.and_then(|place| place.caller).map(line),
        route: place.and_then(|place| place.route.as_deref()).map(str::to_owned),
        statement: doing.and_then(|doing| doing.latest).map(|info| info.summary().to_owned()),
    }
}
