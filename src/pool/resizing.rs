//! Changes the size of a pool that is in use.
//!
//! The gate alone bounds the sessions. It has new places at once; bb8, which cannot change its own bound, has none. A place too many
//! goes when its session has ended on the server: those that rest are ended now, those that are lent or being opened when they come
//! to the gate.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Pool;
use super::bb8_pool::Bb8Session;
use super::gate::Surplus;
use super::pace::AT_A_TIME;
use crate::stats::EndReason;
use crate::telemetry;

/// The floor of the pool, and whose turn it is to change the sizes. The gate knows the maximum.
#[derive(Debug)]
pub(super) struct Sizes {
    min: AtomicU32,
    changing: Mutex<()>,
}

impl Sizes {
    pub(super) fn new(min: u32) -> Self {
        Self { min: AtomicU32::new(min), changing: Mutex::new(()) }
    }
}

impl Pool {
    /// So many sessions are kept open.
    pub(crate) fn min_size(&self) -> u32 {
        self.sizes.min.load(Ordering::Relaxed)
    }

    /// Changes both sizes. Opens and ends sessions in the background.
    pub(crate) fn resize(self: &Arc<Self>, min: u32, max: u32) {
        let changing = self.sizes.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.sizes.min.store(min, Ordering::Relaxed);
        let surplus = self.gate.resize(max);
        self.gate.limit_opening(|limit| limit.min(AT_A_TIME));
        drop(changing);
        for grant in surplus {
            self.pooled(grant).end_in_background(EndReason::Resized);
        }
        self.hold_floor();
        self.record_gauges();
        telemetry::pool_resized(self.stats().name(), min, max);
    }

    /// Ends a session that was opened for a place too many.
    pub(super) async fn end_surplus(&self, surplus: Surplus<Bb8Session>) {
        let Surplus { session, permit } = surplus;
        self.stats().count_ended(EndReason::Resized);
        session.end().await;
        drop(permit);
    }
}
