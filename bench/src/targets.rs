//! What is to be reached, and whether it was.

use serde::Serialize;

use crate::app::{Route, SESSIONS};
use crate::contenders::Contender;
use crate::load_results::{LoadResults, Metric};
use crate::loads::{Load, Placement};

#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) load: String,
    pub(crate) contender: &'static str,
    pub(crate) other: &'static str,
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
    /// Median of the ratios pair by pair; nothing if one of the two was not measured.
    pub(crate) measured: Option<f64>,
    pub(crate) met: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

/// The targets of the loads that were measured.
pub(crate) fn of(loads: &[LoadResults]) -> Vec<Target> {
    loads
        .iter()
        .filter_map(|results| Some((results, Load::named(&results.name)?)))
        .flat_map(|(results, load)| {
            let own = of_load(&load).into_iter().map(|goal| target(results, Contender::ActixPg, goal));
            let shared = of_shared(&load).into_iter();
            own.chain(shared.map(|goal| target(results, Contender::ActixPgShared, goal))).collect::<Vec<_>>()
        })
        .collect()
}

/// What is to be reached against another contender.
type Goal = (Contender, Metric, Bound);

fn target(results: &LoadResults, contender: Contender, (other, metric, bound): Goal) -> Target {
    let measured = results
        .pair(contender.name(), other.name(), metric)
        .and_then(|pair| pair.spread)
        .map(|spread| spread.median);
    Target {
        load: results.name.clone(),
        contender: contender.name(),
        other: other.name(),
        metric,
        bound,
        measured,
        met: measured.map(|ratio| bound.holds(ratio)),
    }
}

/// With shared reads.
fn of_shared(load: &Load) -> Vec<Goal> {
    if load.route != Route::User || load.placement != Placement::Even || load.workers < 2 {
        return Vec::new();
    }
    let factor = if load.clients <= SESSIONS { 1.5 } else { 1.8 };
    vec![
        (Contender::Wire, Metric::RequestsPerSecond, Bound::AtLeast(0.95)),
        (Contender::Deadpool, Metric::RequestsPerSecond, Bound::AtLeast(factor)),
        (Contender::Deadpool, Metric::P99, Bound::AtMost(1.0)),
    ]
}

fn of_load(load: &Load) -> Vec<Goal> {
    let faster = |other, factor| (other, Metric::RequestsPerSecond, Bound::AtLeast(factor));
    let mut targets = Vec::new();
    if load.route == Route::Plain {
        return vec![faster(Contender::None, 0.99)];
    }
    if load.route == Route::User && load.placement == Placement::Even {
        let (deadpool, limit) = match load.clients {
            8 | 16 => (1.2, Some(0.95)),
            64 => (1.3, Some(0.9)),
            _ => (1.3, None),
        };
        targets.push(faster(Contender::Deadpool, deadpool));
        targets.push(faster(Contender::Bb8Documented, 3.0));
        targets.push(faster(Contender::Sqlx, 2.2));
        targets.extend(limit.map(|factor| faster(Contender::Limit, factor)));
        // Where nobody waits for a session, and where everybody does.
        let cpu = if load.clients <= SESSIONS { 1.05 } else { 1.1 };
        targets.push((Contender::Limit, Metric::Cpu, Bound::AtMost(cpu)));
        if load.suits(Contender::Gino) {
            targets.push(faster(Contender::Gino, 5.0));
        }
    } else {
        targets.push(faster(Contender::Deadpool, 1.0));
    }
    targets.push((Contender::Deadpool, Metric::P99, Bound::AtMost(1.1)));
    targets
}
