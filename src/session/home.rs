//! The runtime on which bb8's and all background work runs.
//!
//! Each worker of Actix Web is a runtime of its own. A task that a worker has spawned stalls when the worker blocks, and dies when
//! it stops. So nothing that other workers depend on is spawned on one. The exception is a session's [driver](super::driver),
//! which runs there while the worker uses the session.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The runtime that called [`Database::connect`](crate::Database::connect).
#[derive(Debug)]
pub(crate) struct Home {
    runtime: Handle,
    _pool_dropped: oneshot::Sender<()>,
}

impl Home {
    /// The current runtime. `end` is called when it stops or this is dropped, because sessions that nobody drives must not be
    /// waited for.
    pub(crate) fn current(end: impl FnOnce() + Send + 'static) -> Self {
        let (pool_dropped, dropped) = oneshot::channel();
        let ending = CallOnDrop(Some(end));
        let runtime = Handle::current();
        runtime.spawn(async move {
            let _ending = ending;
            let _ = dropped.await;
        });
        Self { runtime, _pool_dropped: pool_dropped }
    }

    pub(crate) fn spawn<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work)
    }

    /// Runs a task, and again when it has panicked.
    pub(crate) fn keep_running<F>(&self, task: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime
            .spawn(async move { while tokio::spawn(task()).await.is_err_and(|err| err.is_panic()) {} });
    }
}

struct CallOnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for CallOnDrop<F> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}
