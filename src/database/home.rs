//! The runtime on which all of bb8's and all work of the background runs.
//!
//! A worker of Actix Web is a runtime of its own. In a pool that workers share, what one of them spawned would stall when it
//! blocks, and die when it stops; so nothing that others depend on is spawned there. A session's
//! [driver](super::driver) is, for as long as the worker uses the session.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
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

    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work)
    }

    /// Runs a task, and again when it has panicked.
    pub(super) fn keep_running<F>(&self, task: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime
            .spawn(async move { while tokio::spawn(task()).await.is_err_and(|err| err.is_panic()) {} });
    }
}

struct CloseOnDrop<T>(Arc<Gate<T>>);

impl<T> Drop for CloseOnDrop<T> {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}
