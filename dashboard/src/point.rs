//! One second of the charts.

use std::time::Instant;

use actix_pg::{Counters, Durations};
use serde::Serialize;

use crate::format::micros;

/// What the next sample is compared with.
pub(crate) struct Reading {
    pub(crate) at: Instant,
    pub(crate) counters: Counters,
    pub(crate) statements: Durations,
    pub(crate) waits: Durations,
}

/// One second of the charts. Times are in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Point {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) used: usize,
    pub(crate) pending: u32,
    #[serde(flatten)]
    pub(crate) rates: Option<Rates>,
}

/// What has happened since the sample before.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rates {
    statements: f64,
    borrows: f64,
    latency_p50: Option<u64>,
    latency_p99: Option<u64>,
    wait_p50: Option<u64>,
    wait_p99: Option<u64>,
}

/// What has happened between two readings.
pub(crate) fn rates(previous: &Reading, current: &Reading) -> Rates {
    let seconds = (current.at - previous.at).as_secs_f64().max(0.001);
    let statements = current.statements.since(&previous.statements);
    let waits = current.waits.since(&previous.waits);
    let borrows = current.counters.borrows.saturating_sub(previous.counters.borrows);
    let quantile = |durations: &Durations, share| durations.quantile(share).map(micros);
    Rates {
        statements: round(statements.count() as f64 / seconds),
        borrows: round(borrows as f64 / seconds),
        latency_p50: quantile(&statements, 0.5),
        latency_p99: quantile(&statements, 0.99),
        wait_p50: quantile(&waits, 0.5),
        wait_p99: quantile(&waits, 0.99),
    }
}

fn round(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}
