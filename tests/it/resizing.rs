//! The pool changes its size while it is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_pg::{Config, Database, Error};
use actix_web::rt;
use futures_util::future::join_all;
use test_support::{
    Latch, Observer, all_returned, assert_whole, backend, borrow_all, connect, connected, database, dsn_as,
    eventually, log, pool, sized, soon,
};

/// Who waits is served by the new room, and no longer than a login takes.
#[actix_web::test]
async fn a_larger_pool_serves_those_who_wait() {
    let (_database, db) = connect(1).await;
    let held = db.connection();
    backend(&held).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let db = db.clone();
            rt::spawn(async move { db.query_one_scalar::<i32>("SELECT pg_backend_pid()", &[]).await })
        })
        .collect();
    eventually("three wait", async || db.status().pending_requests == 3).await;
    db.resize(0, 2).unwrap();
    for waiter in waiting {
        soon("an answer", waiter).await.unwrap().unwrap();
    }
    let status = db.status();
    assert_eq!((status.max, status.open), (2, 2));
    held.release().unwrap();
    assert_whole(&db).await;

    // The floor is filled up.
    db.resize(4, 6).unwrap();
    eventually("the floor is there", async || db.status().open == 4).await;
    assert_whole(&db).await;
}

/// Idle sessions end at once, the others when they come back; both on the server.
#[actix_web::test]
async fn a_smaller_pool_ends_what_is_too_many() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(Config { pool_min_size: 6, pool_max_size: 6, ..database.config() }).await;
    let lent: Vec<_> = (0..4).map(|_| db.connection()).collect();
    join_all(lent.iter().map(backend)).await;
    db.resize(1, 2).unwrap();
    // The server and the pool see the end of a session each in their own time.
    eventually("the idle ones are gone", async || observer.backends().await == 4 && db.status().open == 4)
        .await;
    let status = db.status();
    assert_eq!((status.max, status.used), (2, 4));
    for conn in &lent {
        assert_eq!(conn.query("SELECT 1", &[]).await.unwrap().len(), 1, "nobody loses a session in use");
    }
    for conn in &lent {
        conn.release().unwrap();
    }
    eventually("two are left", async || observer.backends().await == 2 && db.status().open == 2).await;
    assert_eq!(db.status().counters.ended.resized, 4);
    assert_whole(&db).await;
    db.resize(0, 1).unwrap();
    assert_whole(&db).await;
    eventually("one is left", async || observer.backends().await == 1).await;
}

#[actix_web::test]
async fn a_size_that_cannot_be_changes_nothing() {
    let (_database, db) = connect(2).await;
    for (min, max, text) in [
        (0, 0, "option `pool_max_size` must be at least 1, not 0"),
        (3, 2, "option `pool_max_size` must be at least `pool_min_size` (3), not 2"),
    ] {
        let err = db.resize(min, max).unwrap_err();
        assert!(matches!(&err, Error::Config(why) if why.to_string() == text), "{err:?}");
    }
    assert_eq!(db.status().max, 2);
    assert_whole(&db).await;
    db.close().await;
    db.resize(1, 3).expect("no harm after the end");
    assert_eq!(db.status().open, 0);
}

/// P10, under load and with sessions that fail: the server refuses a session above the largest size, and never has to. When the
/// load is over, nothing is lost.
#[actix_web::test]
async fn under_load_there_are_never_more_sessions_than_the_maximum() {
    let database = database().await;
    let admin = pool(&database, 1).await;
    let role = format!("resized_{}", database.name());
    let sql = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'resized' CONNECTION LIMIT 5");
    admin.batch_execute(&sql).await.unwrap();
    let config = Config::from_dsn(&dsn_as(&database, &role, "resized")).unwrap();
    let db = connected(sized(config, 2)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Latch::new();
    let clients: Vec<_> = (0..24)
        .map(|client| rt::spawn(load(db.clone(), client, Arc::clone(&stop), served.clone())))
        .collect();
    for (min, max) in [(0, 5), (1, 1), (2, 4), (0, 2), (5, 5), (0, 1), (3, 5), (0, 3)].repeat(3) {
        db.resize(min, max).unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(db.status().open <= 5);
    }
    // Between two sizes, faster than sessions end.
    for at in 0..200 {
        db.resize(0, 1 + at % 5).unwrap();
        tokio::task::yield_now().await;
    }
    db.resize(0, 2).unwrap();
    eventually("it has shrunk", async || db.status().open <= 2).await;
    // It goes on serving.
    served.reached(served.hits() + 24).await;
    stop.store(true, Ordering::Relaxed);
    join_all(clients).await.into_iter().for_each(|client| client.expect("no panic"));
    let refused = log::lines_with(&["too many connections", &role]);
    assert!(refused.is_empty(), "{refused:?}");
    all_returned(&db).await;
    assert_whole(&db).await;
    db.resize(0, 5).unwrap();
    assert_eq!(borrow_all(&db).await.len(), 5);
    all_returned(&db).await;
    db.close().await;
    admin.batch_execute(&format!("DROP ROLE \"{role}\"")).await.unwrap();
}

/// Clean statements, dirty ones, lost sessions, abandoned statements.
async fn load(db: Database, client: u32, stop: Arc<AtomicBool>, served: Latch) {
    let mut step = client;
    while !stop.load(Ordering::Relaxed) {
        step += 1;
        let done = match step % 8 {
            0 => db.batch_execute("SET search_path = nowhere").await.is_ok(),
            1 => db.query("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await.is_err(),
            2 => {
                let hasty = db.with_timeout(Duration::from_millis(5));
                hasty.query("SELECT pg_sleep(0.02)", &[]).await.is_err()
            }
            _ => db.query("SELECT 1", &[]).await.is_ok(),
        };
        if done {
            served.hit();
        }
    }
}
