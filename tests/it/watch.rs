//! What a watch sees of a pool at work.

use std::time::Duration;

use actix_pg::{Counters, Database, SessionState};
use futures_util::FutureExt;
use test_support::{connected, database, eventually, sized};

/// P24: figures are kept only while somebody looks.
#[actix_web::test]
async fn nothing_is_kept_while_nobody_watches() {
    let database = database().await;
    let db = connected(sized(database.config(), 1)).await;
    let conn = db.connection();
    conn.query("SELECT 'before'", &[]).await.expect("a row");
    let watch = db.watch();
    assert_eq!((watch.statements(), watch.statement_durations().count()), (vec![], 0));

    for id in [1_i32, 2, 2] {
        conn.query("SELECT 1 / ($1::int - 2) FROM generate_series(1, 3)", &[&id]).await.ok();
    }
    let other = db.watch();
    drop(watch);
    conn.query("SELECT 'during'", &[]).await.expect("a row");
    let statements = other.statements();
    assert_eq!(other.statement_durations().count(), 4);
    drop(other);
    conn.query("SELECT 'during'", &[]).await.expect("a row");

    let divided = statements.iter().find(|seen| seen.calls == 3).expect("three calls");
    assert_eq!(divided.sql, "SELECT ? / ($1::int - ?) FROM generate_series(?, ?)");
    assert_eq!((divided.rows, divided.errors.get("22012"), divided.only_reads), (3, Some(&2), true));
    assert!(divided.longest <= divided.total && divided.mean() <= divided.longest);
    let again = db.watch().statements();
    let during = again.iter().find(|seen| seen.sql == "SELECT ?").expect("the text without its literal");
    assert_eq!(during.calls, 1);
}

async fn state(db: &Database) -> Option<SessionState> {
    let watch = db.watch();
    let sessions = watch.sessions();
    assert!(sessions.len() <= 1, "{sessions:?}");
    sessions.first().map(|session| session.state)
}

#[actix_web::test]
async fn a_session_is_seen_in_each_of_its_states() {
    let database = database().await;
    let db = connected(sized(database.config(), 1)).await;
    let conn = db.connection();
    conn.execute("SELECT 1", &[]).await.expect("a session");
    assert_eq!(state(&db).await, Some(SessionState::Held));
    let tx = conn.transaction().await.expect("a transaction");
    assert_eq!(state(&db).await, Some(SessionState::IdleInTransaction));
    let mut sleeping = Box::pin(tx.query("SELECT pg_sleep(0.05)", &[]));
    assert!((&mut sleeping).now_or_never().is_none());
    assert_eq!(state(&db).await, Some(SessionState::Active));
    sleeping.await.expect("a row");
    tx.rollback().await.expect("a rollback");
    conn.release().expect("nothing runs");
    eventually("it is idle", async || state(&db).await == Some(SessionState::Idle)).await;
    let watch = db.watch();
    let session = &watch.sessions()[0];
    assert!(
        session.caller.is_none() && session.statement.is_none() && session.age >= Duration::from_millis(50)
    );
    db.close().await;
    eventually("it is gone", async || watch.sessions().is_empty()).await;
}

/// P23, in passing: what was counted is what has happened.
#[actix_web::test]
async fn the_counters_say_what_has_happened() {
    let database = database().await;
    let db = connected(sized(database.config(), 1)).await;
    let before = db.status().counters;
    let conn = db.connection();
    for _ in 0..3 {
        conn.execute("SELECT 1", &[]).await.expect("a row");
        conn.release().expect("nothing runs");
    }
    conn.batch_execute("CREATE TEMP TABLE t ()").await.expect("a table");
    conn.release().expect("nothing runs");
    eventually("it is reset", async || db.status().counters.resets == before.resets + 1).await;
    eventually("it rests", async || db.status().used == 0).await;
    conn.query("SELECT pg_sleep(60)", &[]).now_or_never();
    eventually("it is cancelled", async || db.status().counters.cancels == before.cancels + 1).await;
    let after = db.status().counters;
    assert!(after.borrows >= before.borrows + 4, "{after:?}");
    assert_eq!(after.opened - before.opened, after.ended.unusable - before.ended.unusable);
}

fn ended(counters: &Counters) -> u64 {
    let ended = serde_json::to_value(counters.ended).expect("numbers");
    ended.as_object().expect("an object").values().filter_map(|count| count.as_u64()).sum()
}

/// Every session that was opened is counted once when it ends: idle, lent, or about to come back.
#[actix_web::test]
async fn what_was_opened_is_ended_at_last() {
    let database = database().await;
    let db = connected(database.config()).await;
    let (held, dirty) = (db.connection(), db.connection());
    held.query("SELECT 1", &[]).await.expect("a session");
    dirty.batch_execute("CREATE TEMP TABLE t ()").await.expect("a table");
    assert_eq!((db.status().open, ended(&db.status().counters)), (5, 0));
    drop(dirty);
    let mut closing = Box::pin(db.close());
    assert!((&mut closing).now_or_never().is_none());
    drop(held);
    closing.await;
    let counters = db.status().counters;
    assert_eq!((counters.opened, ended(&counters)), (5, 5), "{counters:?}");
    assert_eq!(counters.ended.closed, 5, "{counters:?}");
}

/// A statement that runs all the time is prepared once, and others come and go.
#[actix_web::test]
async fn the_hottest_statement_stays_known() {
    let database = database().await;
    let db = connected(database.config()).await;
    let watch = db.watch();
    let conn = db.connection();
    for number in 0..5_100 {
        if number % 20 == 0 {
            conn.query("SELECT 1 AS hot", &[]).await.expect("a row");
        }
        conn.query(&format!("SELECT 2 AS a{number}"), &[]).await.expect("a row");
    }
    assert_eq!(watch.statement_count(), 5_000);
    let hot = watch.statements().into_iter().find(|seen| seen.sql == "SELECT ? AS hot");
    assert_eq!(hot.map(|hot| hot.calls), Some(255));
}
