//! Reads that need no session of their own.
//!
//! A statement that only reads leaves nothing behind, so it can be sent on a session that others use at the same time: many are on
//! their way at once, and a request waits for no session. Each worker shares sessions of its own, so nothing crosses threads.
//!
//! ```text
//!   SharedReads ──the worker of this runtime──> Worker ──ask──> SharedSession ──> the server
//!        │                                                            │
//!        │ may not be shared, or no session takes it                  v
//!        └──> a session of its own                              reader: answers the askers
//! ```
//!
//! Start at [`read`]: what an asker does, and when it asks again elsewhere. [`SharedSession`] knows what is in flight.
//!
//! [`SharedSession`]: shared_session::SharedSession

mod read;
mod watched;
mod worker;
mod reader;
mod parse;
mod shared_session;
mod queue;
mod encoded;
mod brake;
mod places;

pub(crate) use read::Read;

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::config::{Echo, SharedReadSettings};
use crate::pool::Pool;
use places::Places;
use worker::Worker;

/// The pause between two looks for sessions that are to be replaced, and that after the last.
const LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// The shared sessions of a pool, by worker. The [`Database`](crate::Database) holds it, if `shared_reads` is on.
pub(crate) struct SharedReads {
    /// Tells it from another one in the memory of a thread.
    number: u64,
    pool: Arc<Pool>,
    limits: SharedReadSettings,
    places: Arc<Places>,
    workers: Mutex<Vec<(Id, Arc<Worker>)>>,
    closed: AtomicBool,
}

thread_local! {
    /// The workers that this thread has asked, by number and runtime.
    static HERE: RefCell<Vec<(u64, Id, Weak<Worker>)>> = const { RefCell::new(Vec::new()) };
}

impl SharedReads {
    /// `None` if nothing is to be shared.
    pub(crate) fn new(limits: SharedReadSettings, pool: &Arc<Pool>) -> Option<Arc<Self>> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        (limits.sessions > 0).then(|| {
            Arc::new(Self {
                number: LAST.fetch_add(1, Ordering::Relaxed),
                pool: Arc::clone(pool),
                limits,
                places: Places::new(pool.settings.max_size),
                workers: Mutex::default(),
                closed: AtomicBool::new(false),
            })
        })
    }

    /// Shares nothing from now on. The sessions go back to the pool after their last answers.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let workers = std::mem::take(&mut *self.workers());
        for (_, worker) in workers {
            worker.close();
        }
    }

    /// Follows a change of the pool's size. If more sessions are shared than may be, all of them go back to the pool, and as many as
    /// there is room for are shared anew.
    pub(crate) fn resize(&self, pool_max_size: u32) {
        if self.places.resize(pool_max_size) {
            self.all_workers().iter().for_each(|worker| worker.give_back());
        }
    }

    /// Has the sessions go back to the pool that are to be replaced within this time. One that is in use looks at its age by itself; one
    /// that nobody asks would not.
    pub(crate) async fn give_back_old(shared: Weak<Self>, within: Duration) {
        let since = Instant::now();
        loop {
            let left = within.saturating_sub(since.elapsed());
            sleep(if left.is_zero() { SHORTEST_LOOK } else { left.min(LOOK) }).await;
            let is_last = since.elapsed() >= within;
            let Some(shared) = shared.upgrade().filter(|shared| !shared.closed.load(Ordering::Acquire))
            else {
                return;
            };
            let mut found = false;
            for worker in shared.all_workers() {
                found |= worker.give_back_old();
            }
            if is_last && !found {
                return;
            }
        }
    }

    fn all_workers(&self) -> Vec<Arc<Worker>> {
        self.workers().iter().map(|(_, worker)| Arc::clone(worker)).collect()
    }

    /// Whether statements are echoed, and how.
    pub(crate) fn echo(&self) -> Echo {
        self.pool.session_settings().echo
    }

    /// The worker that the caller runs on.
    fn here(self: &Arc<Self>) -> Option<Arc<Worker>> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let known = HERE.try_with(|here| {
            let here = here.borrow();
            let known = here.iter().find(|(number, known, _)| (*number, *known) == (self.number, id));
            known.and_then(|(.., worker)| worker.upgrade())
        });
        match known {
            Ok(Some(worker)) => Some(worker),
            _ => self.find(&runtime),
        }
    }

    fn find(self: &Arc<Self>, runtime: &Handle) -> Option<Arc<Worker>> {
        let id = runtime.id();
        let mut workers = self.workers();
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        let worker = match workers.iter().find(|(known, _)| *known == id) {
            Some((_, worker)) => Arc::clone(worker),
            None => {
                let (alive, dropped) = oneshot::channel();
                let worker = Worker::new(&self.pool, self.limits, &self.places, alive);
                workers.push((id, Arc::clone(&worker)));
                drop(workers);
                let runs = Runs { shared: Arc::downgrade(self), worker: Arc::downgrade(&worker) };
                runtime.spawn(async move {
                    let _runs = runs;
                    let _ = dropped.await;
                });
                worker
            }
        };
        let _ = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            here.retain(|(number, known, worker)| {
                worker.strong_count() > 0 && (*number, *known) != (self.number, id)
            });
            here.push((self.number, id, Arc::downgrade(&worker)));
        });
        Some(worker)
    }

    fn workers(&self) -> MutexGuard<'_, Vec<(Id, Arc<Worker>)>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedReads {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SharedReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReads").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The runtime of a worker runs. Dropped with it: the number of the runtime may be given to another one.
struct Runs {
    shared: Weak<SharedReads>,
    worker: Weak<Worker>,
}

impl Drop for Runs {
    fn drop(&mut self) {
        let Some(worker) = self.worker.upgrade() else { return };
        if let Some(shared) = self.shared.upgrade() {
            shared.workers().retain(|(_, known)| !Arc::ptr_eq(known, &worker));
        }
        worker.close();
    }
}
