//! How many sessions of the pool may be shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::telemetry;

/// The sessions of a pool that may be shared: at most half of them, because what is not shared needs sessions too.
#[derive(Debug)]
pub(super) struct Places {
    most: AtomicU32,
    taken: AtomicU32,
    told: AtomicBool,
}

/// The place of one shared session.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(pool_max_size: u32) -> Arc<Self> {
        let places = Self { most: AtomicU32::new(0), taken: AtomicU32::new(0), told: AtomicBool::new(false) };
        places.resize(pool_max_size);
        Arc::new(places)
    }

    /// Sets how many there are, and says whether more than that are taken.
    pub(super) fn resize(&self, pool_max_size: u32) -> bool {
        let most = pool_max_size / 2;
        self.most.store(most, Ordering::Relaxed);
        self.has_too_many()
    }

    /// Whether more are taken than there are.
    pub(super) fn has_too_many(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.most.load(Ordering::Relaxed)
    }

    /// Takes a place. Logs the first time that there is none.
    pub(super) fn take(self: &Arc<Self>, database: Option<&'static str>) -> Option<Place> {
        let most = self.most.load(Ordering::Relaxed);
        let more = |taken: u32| (taken < most).then_some(taken + 1);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Some(Place(Arc::clone(self))),
            Err(_) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    telemetry::no_room_to_share(database, most);
                }
                None
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
