//! One wait for a session, shared by all statements of a request that need one.
//!
//! ```text
//!   statement 1 ──poll──┐
//!   statement 2 ──poll──┼──> Borrow ──polls──> the wait at the gate
//!   statement 3 ──poll──┘       │ over: everybody looks at the scope again
//! ```
//!
//! Every statement that waits may drive the wait, so none depends on another's being polled. When the last of them is dropped, so is
//! the wait. Most waits are those of one statement, whose task the wait wakes. The second statement to come turns that into
//! [`Progress`], which wakes them all.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

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
    /// Set when a second statement takes part.
    progress: OnceLock<Arc<Progress>>,
    /// A statement has given up at the deadline.
    gave_up: AtomicBool,
    /// Dropped with the last statement that takes part.
    waits: OnceLock<oneshot::Sender<Infallible>>,
}

/// How a wait ends. The lease is `Some`, for the statement that sees the end first, if the request is over and cannot keep it.
type Ended = Result<Option<Arc<Lease>>, AcquireError>;

enum Wait {
    /// With the waker of the only task that takes part, until there is another.
    Going(BoxFuture<'static, Ended>, Option<Waker>),
    Over(Result<(), AcquireError>),
}

impl Borrow {
    pub(super) fn new(wait: BoxFuture<'static, Ended>, deadline: Instant) -> Arc<Self> {
        Arc::new(Self {
            wait: Mutex::new(Wait::Going(wait, None)),
            deadline,
            progress: OnceLock::new(),
            gave_up: AtomicBool::new(false),
            waits: OnceLock::new(),
        })
    }

    /// Waits for the end, until the deadline.
    pub(super) async fn ended(self: Arc<Self>) -> Result<Ended, Elapsed> {
        timeout_at(self.deadline, self.over()).await
    }

    /// Whether the wait has not ended. Does not wait for the lock, under which the wait is polled.
    pub(super) fn is_going_on(&self) -> bool {
        self.wait.try_lock().map_or(true, |wait| matches!(*wait, Wait::Going(..)))
    }

    /// Whether statements still take part after this time. Returns as soon as none does. Asked once.
    pub(super) fn lasts_for(&self, time: Duration) -> impl Future<Output = bool> + Send + use<> {
        let (waits, over) = oneshot::channel();
        let _ = self.waits.set(waits);
        async move { timeout(time, over).await.is_err() }
    }

    /// Whether no other statement has given up before: one borrow counts as one.
    pub(super) fn is_first_to_give_up(&self) -> bool {
        !self.gave_up.swap(true, Ordering::Relaxed)
    }

    async fn over(&self) -> Ended {
        if let Some(ended) = poll_fn(|cx| self.poll_alone(cx)).await {
            return ended;
        }
        let progress = self.progress.get_or_init(Arc::default);
        loop {
            let mut changed = pin!(progress.0.notified());
            changed.as_mut().enable();
            let waker = Waker::from(Arc::clone(progress));
            if let Poll::Ready(ended) = self.poll(&mut Context::from_waker(&waker)) {
                progress.0.notify_waiters();
                return ended;
            }
            changed.await;
        }
    }

    /// Drives the wait for the only task that takes part. `None` if another one does as well.
    fn poll_alone(&self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        let mut wait = self.wait();
        if self.progress.get().is_some() {
            return Poll::Ready(None);
        }
        if let Wait::Going(_, only) = &mut *wait {
            match only {
                Some(only) if !only.will_wake(cx.waker()) => {
                    // Under the lock, so that whoever is woken finds it.
                    self.progress.get_or_init(Arc::default);
                    let only = only.clone();
                    drop(wait);
                    only.wake();
                    return Poll::Ready(None);
                }
                Some(_) => {}
                None => *only = Some(cx.waker().clone()),
            }
        }
        poll(&mut wait, cx).map(Some)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        poll(&mut self.wait(), cx)
    }

    fn wait(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn poll(wait: &mut Wait, cx: &mut Context<'_>) -> Poll<Ended> {
    let ended = match wait {
        Wait::Going(going, _) => std::task::ready!(going.as_mut().poll(cx)),
        Wait::Over(ended) => return Poll::Ready(ended.clone().map(|()| None)),
    };
    *wait = Wait::Over(ended.as_ref().map(|_| ()).map_err(Clone::clone));
    Poll::Ready(ended)
}

impl fmt::Debug for Borrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrow").finish_non_exhaustive()
    }
}

/// The waker of a wait in which several statements take part. It wakes them all.
#[derive(Default)]
struct Progress(Notify);

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}
