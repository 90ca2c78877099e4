//! Warns of sessions that are held for long, while they still are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Pool;
use crate::stats::{Cell, Phase, Warning, WarningKind};

/// The longest pause between two looks. The shortest is a quarter of the threshold, but for [`SHORTEST`].
const LONGEST: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(5);

/// Said of a connection that is kept: nothing else ends its hold.
const KEPT: &str = "idle, kept by a Database::connection() until its release() or its drop";

/// Said of a session that the application owns.
const OWNED: &str = "owned through a Database::session() until its drop";

/// Starts the task that looks, if there is a threshold.
pub(crate) fn start(pool: &Arc<Pool>) {
    let Some(threshold) = pool.warnings().long_hold else {
        return;
    };
    let weak = Arc::downgrade(pool);
    pool.home().keep_running(move || {
        let weak = weak.clone();
        async move {
            loop {
                sleep((threshold / 4).clamp(SHORTEST, LONGEST)).await;
                let Some(pool) = weak.upgrade() else { return };
                if pool.gate.is_closed() && pool.connector().alive() == 0 {
                    return;
                }
                let now = Instant::now();
                for cell in pool.stats().board.sessions() {
                    if let Some(warning) = held_long(&cell, threshold, now) {
                        pool.stats().warn(warning);
                    }
                }
            }
        }
    });
}

/// The warning of a session, if it has been held for the threshold and nobody has been warned.
fn held_long(cell: &Cell, threshold: Duration, now: Instant) -> Option<Warning> {
    let current = cell.current();
    let held = now.saturating_duration_since(current.since);
    let holder = current.holder.filter(|_| current.phase == Phase::Used && held >= threshold)?;
    if !cell.warn(current.since) {
        return None;
    }
    let mut warning = Warning::new(WarningKind::LongHold, &holder.place);
    warning.duration = Some(held);
    if let Some(doing) = holder.lease.upgrade().map(|lease| lease.activity()) {
        warning.doing = Some(match (doing.in_flight, doing.in_transaction) {
            _ if doing.owned => OWNED,
            (true, _) => "running a statement",
            (false, true) => "idle in a transaction",
            (false, false) if doing.standalone => KEPT,
            (false, false) => "idle",
        });
        warning.statement = doing.latest.map(|info| info.summary().to_owned());
    }
    Some(warning)
}
