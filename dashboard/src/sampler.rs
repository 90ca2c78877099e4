//! Takes one sample a second for all viewers of a pool.
//!
//! There is no task that samples. The seconds are counted from the sampler's start, every viewer wakes up when one begins, and
//! the first of them takes the sample. So a worker that blocks or stops holds up its own viewers only.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_pg::Database;
use actix_web::web::{self, Bytes};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::activity::Activity;
use crate::look::Look;
use crate::record::Record;

/// The most viewers at a time.
const MOST_VIEWERS: usize = 100;

/// Samples a pool for its viewers. The scopes of all workers share it.
pub(crate) struct Sampler {
    db: Database,
    start: Instant,
    look: Mutex<Weak<Look>>,
    record: Arc<AsyncMutex<Record>>,
    seats: Arc<Semaphore>,
    pub(crate) activity: Activity,
}

impl Sampler {
    /// The sampler of this pool. There is one in the process, however many scopes are made.
    pub(crate) fn of(db: &Database) -> Arc<Self> {
        static ALL: Mutex<Vec<Weak<Sampler>>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|sampler| sampler.strong_count() > 0);
        if let Some(known) = all.iter().filter_map(Weak::upgrade).find(|known| known.db.shares_pool_with(db))
        {
            return known;
        }
        let sampler = Arc::new(Self {
            db: db.clone(),
            start: Instant::now(),
            look: Mutex::default(),
            record: Arc::default(),
            seats: Arc::new(Semaphore::new(MOST_VIEWERS)),
            activity: Activity::default(),
        });
        all.push(Arc::downgrade(&sampler));
        sampler
    }

    pub(crate) fn database(&self) -> &Database {
        &self.db
    }

    /// Room for one more viewer.
    pub(crate) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// What all viewers share. It is gone with the last of them.
    pub(crate) fn look(&self) -> Arc<Look> {
        let mut shared = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let look = Arc::new(Look::at(&self.db));
            *shared = Arc::downgrade(&look);
            look
        })
    }

    /// When the next second begins.
    pub(crate) fn next_tick(&self) -> Instant {
        self.start + Duration::from_secs(self.tick() + 1)
    }

    /// The event of this second. Takes the sample, unless another viewer has; not on the worker's thread, as there may be
    /// thousands of statements.
    pub(crate) async fn sample(&self) -> Option<Bytes> {
        let (tick, look) = (self.tick(), self.look());
        let mut record = Arc::clone(&self.record).lock_owned().await;
        if let Some(event) = record.event_of(tick) {
            return Some(event);
        }
        web::block(move || record.take(tick, &look)).await.ok()
    }

    /// The event with what was recorded after a time, in milliseconds.
    pub(crate) async fn history(&self, seen: Option<u64>) -> Bytes {
        self.record.lock().await.history(seen)
    }

    fn tick(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}
