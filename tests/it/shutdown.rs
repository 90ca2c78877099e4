//! The application stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_pg::{AcquireError, Config, Connection, Error};
use actix_web::web;
use test_support::{
    Latch, Observer, TestApp, Wire, backend, borrow_all, connect, connected, database, eventually, pool,
    sized, soon,
};

/// P12, case 23: every request that was accepted is answered, and well.
#[actix_web::test]
async fn a_graceful_stop_under_load_answers_every_accepted_request() {
    let (database, db) = connect(4).await;
    let observer = Observer::of(&database).await;
    let (accepted, enough) = (Arc::new(AtomicU32::new(0)), Latch::new());
    let app = {
        let (accepted, enough) = (Arc::clone(&accepted), enough.clone());
        TestApp::start(&db, move |config| {
            let handler = move |conn: Connection| {
                accepted.fetch_add(1, Ordering::Relaxed);
                enough.hit();
                async move {
                    conn.query("SELECT pg_sleep(0.005)", &[]).await?;
                    conn.release()?;
                    Ok::<_, Error>(conn.query_one_scalar::<i32>("SELECT 1", &[]).await?.to_string())
                }
            };
            config.route("/", web::get().to(handler));
        })
    };
    // Connections that ask again and again, until the server hangs up on them.
    let clients: Vec<_> = futures_util::future::join_all((0..16).map(|_| Wire::to(&app)))
        .await
        .into_iter()
        .map(|mut wire| {
            actix_web::rt::spawn(async move {
                let mut answered = 0;
                while wire.try_send("/").await.is_ok() {
                    match soon("an answer or a farewell", wire.answer()).await {
                        Some(body) => assert_eq!(body, "1"),
                        None => break,
                    }
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    enough.reached(100).await;
    soon("the stop", app.stop()).await;
    let mut answered = 0;
    for client in clients {
        answered += soon("a client's end", client).await.expect("a client without a failure");
    }
    assert!(answered >= 100);
    assert_eq!(answered, accepted.load(Ordering::Relaxed));
    db.close().await;
    assert_eq!(observer.backends().await, 0);
}

/// P21: idle sessions are told goodbye, and the server has seen them off when `close` returns.
#[actix_web::test]
async fn closing_says_goodbye_to_the_server() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(database.config()).await;
    assert_eq!(observer.backends().await, 5);
    soon("the close", db.close()).await;
    assert_eq!(observer.backends().await, 0);
    assert_eq!((db.status().open, db.status().idle), (0, 0));
    soon("a second close", db.close()).await;
    for err in [
        soon("a refusal", db.connection().query("SELECT 1", &[])).await.map(drop).expect_err("closed"),
        soon("a refusal", db.ping()).await.expect_err("closed"),
    ] {
        assert!(matches!(err, Error::Acquire(AcquireError::DatabaseClosed)), "{err:?}");
    }
}

/// P21: what is lent may be finished; those who wait and those who come are told.
#[actix_web::test]
async fn closing_waits_for_what_is_lent() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    backend(&conn).await;
    let waiting = {
        let conn = db.connection();
        tokio::spawn(async move { conn.query("SELECT 1", &[]).await })
    };
    eventually("it waits", async || db.status().pending_requests == 1).await;
    let closing = {
        let db = db.clone();
        tokio::spawn(async move { db.close().await })
    };
    let err = soon("a refusal", waiting).await.expect("joined").expect_err("closed");
    assert!(matches!(err, Error::Acquire(AcquireError::DatabaseClosed)), "{err:?}");
    // Twice at once is as good as once.
    let again = {
        let db = db.clone();
        tokio::spawn(async move { db.close().await })
    };
    for _ in 0..5 {
        backend(&conn).await;
    }
    assert!(!closing.is_finished() && !again.is_finished());
    drop(conn);
    soon("the close", closing).await.expect("joined");
    soon("the close", again).await.expect("joined");
    assert_eq!(observer.backends().await, 0);
}

/// P21: a lease that does not come back is waited for `close_timeout` long, and all other sessions have ended by then.
#[actix_web::test]
async fn closing_does_not_wait_for_ever() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let config = Config { close_timeout: Duration::from_millis(300), ..sized(database.config(), 3) };
    let db = connected(config).await;
    drop(borrow_all(&db).await);
    let conn = db.connection();
    backend(&conn).await;
    let closing = tokio::spawn({
        let db = db.clone();
        async move { db.close().await }
    });
    eventually("the others have ended", async || observer.backends().await == 1).await;
    assert!(!closing.is_finished(), "it waits for the lease");
    soon("the close", closing).await.expect("joined");
    backend(&conn).await;
    // Come back late, its session ends all the same.
    drop(conn);
    eventually("no backend is left", async || observer.backends().await == 0).await;
}

/// P21: dropping the last handle ends the sessions as well, without ceremony.
#[actix_web::test]
async fn a_database_that_is_dropped_leaves_no_backend() {
    let (database, db) = connect(2).await;
    let observer = Observer::of(&database).await;
    drop(borrow_all(&db).await);
    drop(db);
    eventually("no backend is left", async || observer.backends().await == 0).await;
}

/// P21: nor a task at home that waits for ever.
#[actix_web::test]
async fn a_database_that_is_dropped_leaves_no_task() {
    let database = database().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for close in [true, false] {
        let db = pool(&database, 1).await;
        backend(&db.connection()).await;
        if close {
            db.close().await;
        }
    }
    eventually("every task has ended", async || tasks() == before).await;
}
