//! One wait for a session, shared by all statements of a request that need one.
//!
//! ```text
//!   statement 1 ──poll──┐
//!   statement 2 ──poll──┼──> Borrow ──polls──> the wait at the gate
//!   statement 3 ──poll──┘       │ over: everybody looks at the scope again
//! ```
//!
//! Every statement that waits may drive the wait, so none depends on another's being polled. When the last of them is dropped, so is
//! the wait.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::lease::Lease;
use crate::pool::AcquireError;

/// One wait for a session, held by every statement that takes part in it.
///
/// Not a [`Shared`](futures_util::future::Shared): that also wakes the task that has just seen the end, and polling a request once
/// more than necessary costs more than everything that is done here.
///
/// The wait itself has no timer. Each statement has its own, because a timer belongs to the runtime that polled it first, and
/// panics elsewhere when that runtime has stopped.
pub(super) struct Borrow {
    wait: Mutex<Wait>,
    deadline: Instant,
    progress: Arc<Progress>,
    /// A statement has given up at the deadline.
    gave_up: AtomicBool,
}

/// How a wait ends. The lease is `Some`, for the statement that sees the end first, if the request is over and cannot keep it.
type Ended = Result<Option<Arc<Lease>>, AcquireError>;

enum Wait {
    Going(BoxFuture<'static, Ended>),
    Over(Result<(), AcquireError>),
}

impl Borrow {
    pub(super) fn new(wait: BoxFuture<'static, Ended>, deadline: Instant) -> Arc<Self> {
        Arc::new(Self {
            wait: Mutex::new(Wait::Going(wait)),
            deadline,
            progress: Arc::default(),
            gave_up: AtomicBool::new(false),
        })
    }

    /// Waits for the end, until the deadline.
    pub(super) async fn ended(self: Arc<Self>) -> Result<Ended, Elapsed> {
        timeout_at(self.deadline, self.over()).await
    }

    /// Whether the wait has not ended. Does not wait for the lock, under which the wait is polled.
    pub(super) fn is_going_on(&self) -> bool {
        self.wait.try_lock().map_or(true, |wait| matches!(*wait, Wait::Going(_)))
    }

    /// Whether no other statement has given up before: one borrow counts as one.
    pub(super) fn is_first_to_give_up(&self) -> bool {
        !self.gave_up.swap(true, Ordering::Relaxed)
    }

    async fn over(&self) -> Ended {
        loop {
            let mut progress = pin!(self.progress.0.notified());
            progress.as_mut().enable();
            if let Poll::Ready(ended) = self.poll() {
                self.progress.0.notify_waiters();
                return ended;
            }
            progress.await;
        }
    }

    fn poll(&self) -> Poll<Ended> {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = match &mut *wait {
            Wait::Going(wait) => {
                let waker = Waker::from(Arc::clone(&self.progress));
                std::task::ready!(wait.as_mut().poll(&mut Context::from_waker(&waker)))
            }
            Wait::Over(ended) => return Poll::Ready(ended.clone().map(|()| None)),
        };
        *wait = Wait::Over(ended.as_ref().map(|_| ()).map_err(Clone::clone));
        Poll::Ready(ended)
    }
}

impl fmt::Debug for Borrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrow").finish_non_exhaustive()
    }
}

/// The waker of the wait. It wakes every statement that takes part.
#[derive(Default)]
struct Progress(Notify);

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}
