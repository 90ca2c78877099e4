//! Whose fault it is that a shared read takes long, and what is said of one that was run again.

use super::*;

/// P26: a text whose Parse stands behind another's slow read is not to blame, and nobody is cancelled for it.
#[actix_web::test]
async fn a_parse_behind_a_slow_read_is_not_to_blame() {
    let (database, db) = patiently_sharing(6, 1).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, ECHO, &[&1]).await;
    until_shared(&db, NAP, &[]).await;
    observer.connection().execute("UPDATE naps SET seconds = 0.7", &[]).await.expect("a change");
    let before = db.status().counters;
    let conn = db.connection();
    let mut nap = pin!(conn.query(NAP, &[]));
    poll_fn(|cx| Poll::Ready(nap.as_mut().poll(cx).is_pending())).await;
    let text = "SELECT name FROM things WHERE id = 2";
    db.connection().query(text, &[]).await.expect("a row of a session of its own");
    assert_eq!(db.status().counters.shared_reads, before.shared_reads + 1, "the nap");

    assert_eq!(soon("the nap", nap).await.expect("a nap").len(), 1);
    let after = db.status().counters;
    assert_eq!((after.cancels, after.asked_again), (before.cancels, before.asked_again));
    within(Duration::from_millis(800), "it is shared at once", until_shared(&db, text, &[])).await;
}

/// P26: the brake looks at reads that were shared, and not at texts that cannot be.
#[actix_web::test]
async fn what_cannot_be_shared_does_not_loosen_the_brake() {
    let (database, db) = patiently_sharing(10, 1).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, NAP, &[]).await;
    until_shared(&db, ECHO, &[&1]).await;
    observer.connection().execute("UPDATE naps SET seconds = 0.4", &[]).await.expect("a change");
    // Out of sight of the brake, which looks at the last second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    until_shared(&db, ECHO, &[&1]).await;
    let others = (0..8).map(async |_| {
        for _ in 0..250 {
            db.connection().query("SELECT pg_backend_pid()", &[]).await.expect("a backend");
        }
    });
    join_all(others).await;
    let before = db.status().counters;
    let conn = db.connection();
    let mut nap = pin!(conn.query(NAP, &[]));
    poll_fn(|cx| Poll::Ready(nap.as_mut().poll(cx).is_pending())).await;
    let (_, slept) = futures_util::join!(join_all((0..200).map(|number| echoes(&db, number))), nap);
    slept.expect("a nap");
    let after = db.status().counters;
    assert!(after.shared_reads - before.shared_reads >= 201, "{after:?}");
    assert!(after.asked_again - before.asked_again <= 64, "{after:?} {before:?}");
}

/// P7, P26: a call that was sent, and had no time left for a session of its own, says that it was sent.
#[actix_web::test]
async fn a_read_that_was_sent_says_so_where_it_needs_a_session_of_its_own() {
    let (database, db) = patiently_sharing(2, 1).await;
    let observer = Observer::of(&database).await;
    let star = "SELECT * FROM things WHERE id = 1";
    until_shared(&db, star, &[]).await;
    observer.connection().batch_execute("ALTER TABLE things ADD COLUMN more text").await.expect("a column");
    let holder = db.connection();
    let _held = holder.client().await.expect("the other session");
    let conn = db.connection();
    let before = shared(&db);
    let late = conn.with_timeout(Duration::from_millis(300)).query(star, &[]).await;
    assert_eq!(shared(&db), before + 1);
    assert!(matches!(late, Err(actix_pg::Error::TimedOut { sent: true, .. })), "{late:?}");
}
