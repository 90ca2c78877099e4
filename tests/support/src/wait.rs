//! What a test waits for, and makes others wait for; across threads and runtimes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

/// Long enough for a machine under load; a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Counts up, and lets wait for a count.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<watch::Sender<usize>>);

impl Latch {
    /// Counts from zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more.
    pub fn hit(&self) {
        self.0.send_modify(|hits| *hits += 1);
    }

    /// How many there were.
    pub fn hits(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits for so many hits.
    pub async fn reached(&self, hits: usize) {
        let mut count = self.0.subscribe();
        let reached = timeout(PATIENCE, count.wait_for(|count| *count >= hits)).await;
        assert!(reached.is_ok(), "waited for {hits} hits, there were {}", self.hits());
    }

    /// Waits for the first hit.
    pub async fn open(&self) {
        self.reached(1).await;
    }
}

/// Bounds a wait that would otherwise be a hang.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    within(PATIENCE, what, future).await
}

/// Bounds a wait by another time.
pub async fn within<F: Future>(bound: Duration, what: &str, future: F) -> F::Output {
    match timeout(bound, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {bound:?}: {what}"),
    }
}

/// Waits until `condition` holds. There is no event for what the server does; this polls for 20 seconds at most.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
