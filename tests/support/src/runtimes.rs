//! Runtimes of one thread, as the workers of Actix have them.

use actix_pg::{Connection, Database};
use tokio::runtime::{Builder, Runtime};

/// A runtime for the current thread.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Borrows and returns on a thread with a runtime of its own, which then stops.
pub async fn elsewhere<T: Send + 'static>(
    db: &Database,
    work: impl AsyncFnOnce(Connection) -> T + Send + 'static,
) -> T {
    let conn = db.connection();
    tokio::task::spawn_blocking(move || runtime().block_on(work(conn)))
        .await
        .expect("a thread that ended well")
}
