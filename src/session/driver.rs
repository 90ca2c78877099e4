//! Polls a session's connection, on the runtime of whoever uses the session.
//!
//! tokio-postgres splits a session into a client and a connection, and somebody has to poll the connection. A task on another
//! thread costs every statement two hops between threads. A task on a worker's thread stalls when the worker blocks, and dies
//! when it stops. So the connection is not tied to the task that polls it:
//!
//! ```text
//!               adopt: the borrower's runtime polls
//!   ┌──────┐ ─────────────────────────────────────> ┌────────┐
//!   │ home │                                        │ worker │ ──adopt──> another worker
//!   └──────┘ <───────────────────────────────────── └────────┘
//!               go_home, or the worker's runtime stops
//! ```
//!
//! The connection lies in a seat that the tasks share. Each move spawns a new [`DriveTask`] and starts a new epoch; a task of an
//! earlier epoch that is polled once more finds that it is not its turn, and ends. So a move never waits for the runtime that
//! is left, which may be blocked.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Drives one connection until it ends. Dropped, it has the connection end at home.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// Dropped, it tells the connection that nobody will use it any more.
    goodbye: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

struct Shared {
    home: Handle,
    /// Tells the connection's stream that it is polled on another runtime now.
    moved: Arc<AtomicBool>,
    seat: Mutex<Seat>,
}

/// The connection, and which task polls it.
struct Seat {
    /// `None` when the connection has ended.
    connection: Option<BoxFuture<'static, ()>>,
    /// The task of this epoch polls. Every earlier one has been relieved.
    epoch: u64,
    runtime: Id,
    task: Option<AbortHandle>,
}

impl Driver {
    /// Starts to drive a connection on the current runtime, its home.
    ///
    /// The connection is told to end through the receiver. `moved` is shared with its stream.
    pub(crate) fn start<F>(
        moved: Arc<AtomicBool>,
        connection: impl FnOnce(oneshot::Receiver<()>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (goodbye, dropped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let connection = connection(dropped);
        let connection: BoxFuture<'static, ()> = Box::pin(async move {
            let _ending = ending;
            connection.await;
        });
        let home = Handle::current();
        let seat = Seat { connection: Some(connection), epoch: 0, runtime: home.id(), task: None };
        let shared = Arc::new(Shared { home, moved, seat: Mutex::new(seat) });
        shared.move_to(&shared.home);
        Self { shared, goodbye: Some(goodbye), ended }
    }

    /// Has the current runtime drive the connection from now on.
    pub(crate) fn adopt(&self) {
        if let Ok(here) = Handle::try_current() {
            self.shared.move_unless_there(&here);
        }
    }

    /// Has the home runtime drive the connection from now on.
    pub(crate) fn go_home(&self) {
        self.shared.move_unless_there(&self.shared.home);
    }

    /// The runtime that drives the connection.
    pub(crate) fn runtime(&self) -> Id {
        self.shared.seat().runtime
    }

    /// Resolves when the connection has ended. Must not be called again after that.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Drops the connection: nothing is sent any more.
    pub(crate) fn cut(self) {
        let (connection, task) = {
            let mut seat = self.shared.seat();
            (seat.connection.take(), seat.task.take())
        };
        drop(connection);
        // One that waits for a full socket is woken by nobody else.
        task.inspect(AbortHandle::abort);
    }

    /// Lets the connection end, and returns when it has.
    pub(crate) async fn end(mut self) {
        self.go_home();
        self.goodbye = None;
        self.ended().await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.go_home();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("runtime", &self.runtime()).finish_non_exhaustive()
    }
}

impl Shared {
    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_unless_there(self: &Arc<Self>, runtime: &Handle) {
        let seat = self.seat();
        let there =
            seat.runtime == runtime.id() && seat.task.as_ref().is_some_and(|task| !task.is_finished());
        let ended = seat.connection.is_none();
        drop(seat);
        if !there && !ended {
            self.move_to(runtime);
        }
    }

    fn move_to(self: &Arc<Self>, runtime: &Handle) {
        let mut seat = self.seat();
        seat.epoch += 1;
        seat.runtime = runtime.id();
        self.moved.store(true, Ordering::Relaxed);
        let epoch = seat.epoch;
        let relieved = seat.task.take();
        drop(seat);
        // Not under the lock: a runtime that is shutting down drops the task here and now.
        let task = runtime.spawn(DriveTask { shared: Arc::clone(self), epoch }).abort_handle();
        let mut seat = self.seat();
        if seat.epoch == epoch {
            seat.task = Some(task);
        }
        drop(seat);
        if let Some(relieved) = relieved {
            relieved.abort();
        }
    }
}

/// The task that polls a connection until that ends, or another one takes over.
struct DriveTask {
    shared: Arc<Shared>,
    epoch: u64,
}

impl Future for DriveTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut seat = self.shared.seat();
        if seat.epoch != self.epoch {
            return Poll::Ready(());
        }
        // Taken out, so that a connection that panics is gone.
        let Some(mut connection) = seat.connection.take() else {
            return Poll::Ready(());
        };
        let polled = connection.as_mut().poll(cx);
        if polled.is_pending() {
            seat.connection = Some(connection);
        }
        polled
    }
}

impl Drop for DriveTask {
    fn drop(&mut self) {
        let mut seat = self.shared.seat();
        if seat.epoch != self.epoch || seat.connection.is_none() {
            return;
        }
        // The runtime is shutting down.
        if seat.runtime == self.shared.home.id() {
            let orphan = seat.connection.take();
            drop(seat);
            drop(orphan);
        } else {
            drop(seat);
            self.shared.move_to(&self.shared.home);
        }
    }
}
