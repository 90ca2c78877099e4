//! Refuses in time those who wait in a queue that does not get empty, also while no session comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Pool;

/// The shortest time between two looks at the queue.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Starts the task, if the option asks for it.
pub(crate) fn start(pool: &Arc<Pool>) {
    let Some(target) = pool.settings.queue_target else {
        return;
    };
    pool.gate.shed_above(target, pool.settings.queue_interval);
    // Who has waited for twice the target is refused a quarter later at the latest.
    let pause = (target / 2).max(SHORTEST_PAUSE);
    let gate = Arc::clone(&pool.gate);
    pool.home().keep_running(move || {
        let gate = Arc::clone(&gate);
        async move {
            while !gate.is_closed() {
                gate.queued().await;
                while gate.shed() {
                    sleep(pause).await;
                }
            }
        }
    });
}
