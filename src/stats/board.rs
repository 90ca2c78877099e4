//! The sessions of a pool, and what each is used for at the moment.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Place, StatementInfo};

/// All sessions of a pool. Sessions that are gone are removed when the board is read or another one is added.
#[derive(Debug, Default)]
pub(crate) struct Board {
    cells: Mutex<Vec<Weak<Cell>>>,
    last: AtomicU64,
}

/// One session on the board. The session holds it.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) number: u64,
    pub(crate) opened: Instant,
    current: Mutex<Current>,
    /// It has to be replaced so many nanoseconds after it was opened; [`NEVER`] unless the application has asked for that.
    renew_after: AtomicU64,
}

/// The application has not asked for another session.
const NEVER: u64 = u64::MAX;

/// What a session is used for.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) phase: Phase,
    pub(crate) since: Instant,
    pub(crate) holder: Option<Holder>,
    /// A warning has been logged that it is held for long.
    pub(crate) warned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    Used,
    Resetting,
    Ending,
}

/// Who holds a session.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) place: Place,
    pub(crate) lease: Weak<dyn Activity>,
}

/// A lease, as far as it is of interest here.
pub(crate) trait Activity: Send + Sync {
    /// What its users do.
    fn activity(&self) -> Doing;
}

/// What the users of a session do.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    /// They share a connection that `Database::connection` made.
    pub(crate) standalone: bool,
    /// The application owns the session, so that nothing is known of what it does.
    pub(crate) owned: bool,
    pub(crate) in_transaction: bool,
    /// Statements are on their way.
    pub(crate) in_flight: bool,
    /// The statement that was sent last.
    pub(crate) latest: Option<Arc<StatementInfo>>,
}

impl Board {
    /// Adds a session that has been opened.
    pub(crate) fn add(&self) -> Arc<Cell> {
        let now = Instant::now();
        let current = Current { phase: Phase::Idle, since: now, holder: None, warned: false };
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let cell = Arc::new(Cell {
            number,
            opened: now,
            current: Mutex::new(current),
            renew_after: AtomicU64::new(NEVER),
        });
        let mut cells = self.cells();
        cells.retain(|cell| cell.strong_count() > 0);
        cells.push(Arc::downgrade(&cell));
        cell
    }

    /// All sessions that are alive.
    pub(crate) fn sessions(&self) -> Vec<Arc<Cell>> {
        self.cells().iter().filter_map(Weak::upgrade).collect()
    }

    fn cells(&self) -> MutexGuard<'_, Vec<Weak<Cell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cell {
    /// The session has to be replaced after this time, if not before that.
    pub(crate) fn renew_after(&self, time: Duration) {
        let after = self.opened.elapsed().saturating_add(time).as_nanos();
        self.renew_after.fetch_min(u64::try_from(after).unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Whether the application has asked for another session, and that time had come `then`.
    pub(crate) fn is_to_be_renewed(&self, then: Instant) -> bool {
        let after = self.renew_after.load(Ordering::Relaxed);
        after != NEVER && then.saturating_duration_since(self.opened) >= Duration::from_nanos(after)
    }

    /// The session has been lent.
    pub(crate) fn lend(&self, holder: Holder, now: Instant) {
        self.change(Current { phase: Phase::Used, since: now, holder: Some(holder), warned: false });
    }

    /// The session is not lent any more. Returns what it was used for until now.
    pub(crate) fn enter(&self, phase: Phase, now: Instant) -> Current {
        self.change(Current { phase, since: now, holder: None, warned: false })
    }

    pub(crate) fn current(&self) -> Current {
        self.lock().clone()
    }

    /// Marks that a warning has been logged. `false` if one had been before, or the session has changed hands since.
    pub(crate) fn warn(&self, since: Instant) -> bool {
        let mut current = self.lock();
        let first = !current.warned && current.since == since;
        current.warned |= first;
        first
    }

    fn change(&self, next: Current) -> Current {
        std::mem::replace(&mut *self.lock(), next)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("place", &self.place).finish_non_exhaustive()
    }
}
