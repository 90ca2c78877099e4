//! Somebody who looks at the page.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use actix_web::web::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep, sleep_until};

use crate::sampler::Sampler;

/// How long a viewer may leave an event untaken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a stream lasts. The page opens the next one, so the route's guard is asked again, and a server that stops need not
/// wait for a page that is left open.
const LIFETIME: Duration = Duration::from_secs(15);

/// How long the watch outlives a stream, so that the figures go on while the page opens the next one.
const GRACE: Duration = Duration::from_secs(3);

/// Begins to sample for a viewer, who has seen what was sent up to a time.
///
/// One event waits to be taken. The task ends when it waits too long, or when the receiver is dropped.
pub(crate) fn start(sampler: Arc<Sampler>, seat: OwnedSemaphorePermit, seen: Option<u64>) -> Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(1);
    rt::spawn(async move {
        let look = sampler.look();
        show(&sampler, &sender, seen).await;
        drop((sender, seat));
        sleep(GRACE).await;
        drop(look);
    });
    receiver
}

async fn show(sampler: &Sampler, sender: &Sender<Bytes>, seen: Option<u64>) {
    let end = Instant::now() + LIFETIME;
    let Some(first) = sampler.sample().await else { return };
    let history = sampler.history(seen).await;
    let mut next = Some([history, first].concat().into());
    while let Some(event) = next {
        if sender.send_timeout(event, PATIENCE).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep_until(sampler.next_tick()) => {}
            () = sender.closed() => return,
        }
        next = if Instant::now() < end { sampler.sample().await } else { None };
    }
}

#[cfg(test)]
mod tests {
    use actix_pg::Database;
    use actix_pg::testing::Postgres;

    use super::*;

    #[actix_web::test]
    async fn a_viewer_that_takes_no_event_is_dropped() {
        let database = Postgres::shared().unwrap().database().await.unwrap();
        let db = Database::connect(database.config()).await.unwrap();
        let sampler = Sampler::of(&db);
        let began = Instant::now();
        let mut receiver = start(Arc::clone(&sampler), sampler.seat().unwrap(), None);
        while receiver.sender_strong_count() > 0 {
            assert!(began.elapsed() < LIFETIME, "it is still shown what happens");
            sleep(Duration::from_millis(50)).await;
        }
        assert!(began.elapsed() >= PATIENCE);
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_none());
        db.close().await;
    }
}
