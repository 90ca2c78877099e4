//! Events that a test waits for, and makes others wait for; across threads and runtimes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Long enough for a machine under load; a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Counts up, and lets wait for a count.
#[derive(Clone)]
pub(crate) struct Latch(Arc<watch::Sender<usize>>);

impl Latch {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn hit(&self) {
        self.0.send_modify(|hits| *hits += 1);
    }

    pub(crate) fn hits(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits for so many hits.
    pub(crate) async fn reached(&self, hits: usize) {
        let mut count = self.0.subscribe();
        let reached = timeout(PATIENCE, count.wait_for(|count| *count >= hits)).await;
        assert!(reached.is_ok(), "waited for {hits} hits, there were {}", self.hits());
    }

    /// Waits for the first hit.
    pub(crate) async fn open(&self) {
        self.reached(1).await;
    }
}

/// Bounds a wait that would otherwise be a hang.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
