//! The runtime on which all of bb8's and all work of the background runs.
//!
//! A worker of Actix Web is a runtime of its own. In a pool that workers share, what one of them spawned would stall when it
//! blocks, and die when it stops; so nothing that others depend on is spawned there. A session's
//! [driver](super::driver) is, for as long as the worker uses the session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::{EnterGuard, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::gate::Gate;

/// The runtime that called [`Database::connect`](crate::Database::connect).
#[derive(Debug)]
pub(crate) struct Home {
    runtime: Handle,
    _pool_dropped: oneshot::Sender<()>,
}

impl Home {
    /// Closes the gate when the runtime stops, so that nobody waits for sessions that nobody drives.
    pub(super) fn current<T: Send + 'static>(gate: &Arc<Gate<T>>) -> Self {
        let (pool_dropped, dropped) = oneshot::channel();
        let closing = CloseOnDrop(Arc::clone(gate));
        let runtime = Handle::current();
        runtime.spawn(async move {
            let _closing = closing;
            let _ = dropped.await;
        });
        Self { runtime, _pool_dropped: pool_dropped }
    }

    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work)
    }

    /// The same future, at home wherever it is polled.
    pub(super) fn run<F: Future>(&self, future: F) -> AtHome<'_, F> {
        AtHome { home: self, future: Some(future) }
    }
}

struct CloseOnDrop<T>(Arc<Gate<T>>);

impl<T> Drop for CloseOnDrop<T> {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

pin_project! {
    /// Polls and drops a future of bb8's inside the home runtime, where everything lands that it spawns.
    pub(super) struct AtHome<'a, F> {
        home: &'a Home,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for AtHome<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _home = this.home.enter();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for AtHome<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _home = this.home.enter();
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}
