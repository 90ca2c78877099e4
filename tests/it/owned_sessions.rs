//! A session to own takes a place of the pool, and ends with its owner.

use std::pin::pin;
use std::time::{Duration, Instant};

use actix_pg::tokio_postgres::{self, Client};
use actix_pg::{AcquireError, Config, Error, OwnedSession, WarningKind};
use actix_web::web::Bytes;
use futures_util::{SinkExt, StreamExt};
use test_support::{
    Observer, Proxy, all_returned, assert_whole, backend, connect, connected, database, eventually, sized,
    soon, within,
};
use tokio::time::timeout;

async fn pid(session: &Client) -> i32 {
    session.query_one("SELECT pg_backend_pid()", &[]).await.expect("a backend").get(0)
}

/// P10: it waits for its place, and its place is free only when it has ended.
#[actix_web::test]
async fn it_takes_a_place_of_the_pool() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let config = Config { acquire_timeout: Duration::from_millis(100), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    let first = backend(&conn).await;
    let refused = db.session().await;
    assert!(matches!(refused, Err(Error::Acquire(AcquireError::TimedOut { .. }))), "{refused:?}");
    drop(conn);

    let owned = db.session().await.expect("a session");
    assert_eq!(pid(&owned).await, first, "a warm session is as good as a new one");
    owned
        .batch_execute("SET application_name = 'left behind'; CREATE TEMP TABLE mine ()")
        .await
        .expect("a mess");
    assert_eq!((db.status().open, db.status().used), (1, 1));
    let err = db.query("SELECT 1", &[]).await.expect_err("no place");
    assert!(matches!(err, Error::Acquire(AcquireError::TimedOut { .. })), "{err:?}");

    // The next borrower is there before it ends.
    let next = tokio::spawn({
        let db = db.clone();
        async move { backend(&db.connection()).await }
    });
    eventually("it waits", async || db.status().pending_requests == 1).await;
    drop(owned);
    assert_ne!(soon("the next borrower", next).await.expect("joined"), first);
    assert_eq!(observer.backends().await, 1);
    let counters = db.status().counters;
    assert_eq!((counters.ended.owned, counters.resets, counters.cancels), (1, 0, 0));
    assert_whole(&db).await;
}

/// A borrower that gives up costs nobody anything.
#[actix_web::test]
async fn one_that_gives_up_waiting_leaves_the_queue() {
    let (_database, db) = connect(1).await;
    let owned = db.session().await.expect("a session");
    timeout(Duration::from_millis(20), db.session()).await.expect_err("no place");
    assert_eq!(db.status().pending_requests, 0);
    drop(owned);
    assert_whole(&db).await;
}

/// What anybody wrote for the driver runs on it.
#[actix_web::test]
async fn it_is_a_client_of_the_driver() {
    async fn renamed(client: &mut Client) -> Result<u64, tokio_postgres::Error> {
        let tx = client.transaction().await?;
        tx.batch_execute("CREATE TABLE users (name text); INSERT INTO users VALUES ('ada')").await?;
        let renamed = tx.execute("UPDATE users SET name = 'grace'", &[]).await?;
        tx.commit().await.map(|()| renamed)
    }
    let (_database, db) = connect(1).await;
    let mut owned = db.session().await.expect("a session");
    assert_eq!(renamed(&mut owned).await.expect("a row"), 1);
    drop(owned);
    assert_eq!(db.query_one_scalar::<String>("SELECT name FROM users", &[]).await.expect("a row"), "grace");
}

/// P17: nothing of a transaction is left, and nobody waits for its locks.
#[actix_web::test]
async fn dropped_in_a_transaction_it_rolls_back() {
    let (_database, db) = connect(2).await;
    db.batch_execute("CREATE TABLE notes (id int)").await.expect("a table");
    let owned = db.session().await.expect("a session");
    owned.batch_execute("BEGIN; LOCK TABLE notes; INSERT INTO notes VALUES (1)").await.expect("a lock");
    drop(owned);
    let left = soon("the lock", db.query_one_scalar::<i64>("SELECT count(*) FROM notes", &[])).await;
    assert_eq!(left.expect("a count"), 0);
    // A failed one, and the driver's own.
    let mut owned = db.session().await.expect("a session");
    let tx = owned.transaction().await.expect("a transaction");
    tx.batch_execute("INSERT INTO notes VALUES (2); SELECT 1 / 0").await.expect_err("by zero");
    drop(tx);
    drop(owned);
    assert_whole(&db).await;
    assert_eq!(db.query_one_scalar::<i64>("SELECT count(*) FROM notes", &[]).await.expect("a count"), 0);
}

/// P18: what still runs is cancelled, whatever it is.
#[actix_web::test]
async fn dropped_while_something_runs_it_is_cancelled() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    db.batch_execute("CREATE TABLE notes (id int)").await.expect("a table");
    for kind in ["statement", "rows", "copy"] {
        let owned = db.session().await.expect("a session");
        let since = Instant::now();
        match kind {
            "statement" => {
                let sleeping = owned.batch_execute("SELECT pg_sleep(60)");
                timeout(Duration::from_millis(50), sleeping).await.expect_err("it sleeps");
                observer.sees("pg_sleep(60)").await;
                drop(owned);
            }
            // It outlives the session, and is not read.
            "rows" => {
                let no_params: [&str; 0] = [];
                let sql = "SELECT repeat('x', 1000 + 0 * generate_series(1, 10000000))";
                let mut rows = pin!(owned.query_raw(sql, no_params).await.expect("rows"));
                rows.next().await.expect("a row").expect("a row");
                drop(owned);
                within(Duration::from_secs(15), "a place", db.query("SELECT 1", &[])).await.expect("a row");
            }
            _ => {
                let sink = owned.copy_in("COPY notes FROM STDIN").await.expect("a copy");
                let mut sink = pin!(sink);
                sink.send(Bytes::from_static(b"1\n")).await.expect("a row");
                drop(owned);
            }
        }
        within(Duration::from_secs(15), kind, all_returned(&db)).await;
        assert_whole(&db).await;
        assert!(since.elapsed() < Duration::from_secs(15), "{kind}: {:?}", since.elapsed());
        assert_eq!(observer.running("pg_sleep(60)").await, 0);
    }
    assert_eq!(db.query_one_scalar::<i64>("SELECT count(*) FROM notes", &[]).await.expect("a count"), 0);
}

/// A task that panics leaves nothing behind, and no session that anybody else gets.
#[actix_web::test]
async fn a_panic_while_it_is_held_ends_it() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let held = tokio::spawn({
        let db = db.clone();
        async move {
            let owned = db.session().await.expect("a session");
            owned.batch_execute("BEGIN; SELECT pg_advisory_lock(7)").await.expect("a lock");
            panic!("while it is held");
        }
    });
    assert!(soon("the panic", held).await.expect_err("a panic").is_panic());
    assert_whole(&db).await;
    assert_eq!(observer.backends().await, 1);
    assert!(db.query_one_scalar::<bool>("SELECT pg_try_advisory_lock(7)", &[]).await.expect("a lock"));
}

/// P21: a close waits for it, for `close_timeout` at most, and one that comes late ends all the same.
#[actix_web::test]
async fn a_close_waits_for_it() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(sized(database.config(), 2)).await;
    let owned = db.session().await.expect("a session");
    let closing = tokio::spawn({
        let db = db.clone();
        async move { db.close().await }
    });
    eventually("it is closed", async || db.query("SELECT 1", &[]).await.is_err()).await;
    let refused = db.session().await;
    assert!(matches!(refused, Err(Error::Acquire(AcquireError::DatabaseClosed))), "{refused:?}");
    pid(&owned).await;
    assert!(!closing.is_finished());
    drop(owned);
    soon("the close", closing).await.expect("joined");
    assert_eq!(observer.backends().await, 0);

    let config = Config { close_timeout: Duration::from_millis(50), ..sized(database.config(), 2) };
    let db = connected(config).await;
    let owned = db.session().await.expect("a session");
    soon("the close", db.close()).await;
    pid(&owned).await;
    drop(db);
    drop(owned);
    eventually("no backend is left", async || observer.backends().await == 0).await;
}

/// P10: a place whose server is gone, or silent, comes back.
#[actix_web::test]
async fn a_server_that_is_gone_costs_no_place() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let owned = db.session().await.expect("a session");
    proxy.cut();
    owned.batch_execute("SELECT 1").await.expect_err("gone");
    assert!(owned.is_closed());
    drop(owned);
    assert_whole(&db).await;

    let owned = db.session().await.expect("a session");
    proxy.forget();
    timeout(Duration::from_millis(50), owned.batch_execute("SELECT 1")).await.expect_err("silence");
    drop(owned);
    within(Duration::from_secs(12), "the place", db.query("SELECT 1", &[])).await.expect("another session");
    assert_whole(&db).await;
}

/// Whoever puts another client in the place of his own harms nobody else.
#[actix_web::test]
async fn clients_that_were_exchanged_end_too() {
    let (database, db) = connect(2).await;
    let observer = Observer::of(&database).await;
    let (mut one, mut other) =
        (db.session().await.expect("a session"), db.session().await.expect("a session"));
    std::mem::swap(&mut *one, &mut *other);
    drop(one);
    pid(&other).await;
    drop(other);
    within(Duration::from_secs(12), "both places", all_returned(&db)).await;
    eventually("no backend is left", async || observer.backends().await == 0).await;
    assert_whole(&db).await;
}

/// P25: with the line that asked for it.
#[actix_web::test]
async fn one_that_is_held_for_long_is_named() {
    let database = database().await;
    let db = connected(Config { long_hold: Some(Duration::from_millis(40)), ..database.config() }).await;
    let watch = db.watch();
    let mut warnings = pin!(watch.warnings());
    let (owned, line): (OwnedSession, u32) = (db.session().await.expect("a session"), line!());
    let warning = soon("a warning", warnings.next()).await.expect("a warning");
    assert_eq!(warning.kind, WarningKind::LongHold);
    assert_eq!(warning.doing, Some("owned through a Database::session() until its drop"));
    assert_eq!(warning.caller, Some(format!("{}:{line}", file!())));
    drop(owned);
    assert_whole(&db).await;
}
