//! A session is driven by the runtime of whoever uses it, and by none that blocks or stops (P12).

use std::sync::mpsc;
use std::thread;

use actix_pg::{Connection, Database};
use test_support::{backend, connect, elsewhere, runtime};

/// P12, P13: the only session serves one runtime after the other, and is never opened anew.
#[tokio::test]
async fn one_session_serves_many_runtimes() {
    let (_database, db) = connect(1).await;
    let first = backend(&db.connection()).await;
    for _ in 0..50 {
        assert_eq!(elsewhere(&db, async |conn| backend(&conn).await).await, first);
        assert_eq!(backend(&db.connection()).await, first);
    }
}

/// P12: a handle that comes from a runtime that has stopped goes on with the same session.
#[tokio::test]
async fn a_leased_session_outlives_the_runtime_that_drove_it() {
    let (_database, db) = connect(1).await;
    let (conn, before) = elsewhere(&db, async |conn| {
        let before = backend(&conn).await;
        (conn, before)
    })
    .await;
    assert_eq!(backend(&conn).await, before);
}

/// P12: a statement that is running when the runtime that drives its session stops is answered.
#[tokio::test]
async fn a_running_statement_outlives_the_runtime_that_drives_it() {
    let (_database, db) = connect(1).await;
    let (started, wait_for_start) = mpsc::channel::<Connection>();
    let (stop, wait_for_stop) = mpsc::channel::<()>();
    let conn = db.connection();
    let worker = thread::spawn(move || {
        runtime().block_on(async {
            backend(&conn).await;
            started.send(conn).expect("a receiver");
            // Keeps driving until it is told to stop.
            tokio::task::spawn_blocking(move || wait_for_stop.recv())
                .await
                .expect("a thread")
                .expect("a sender");
        });
    });
    let conn = tokio::task::spawn_blocking(move || wait_for_start.recv())
        .await
        .expect("a thread")
        .expect("a sender");
    let sql = "SELECT 42 FROM pg_advisory_lock(7)";
    let observer = db.connection();
    drop(observer);
    let blocker = Database::connect(_database.config()).await.expect("a second pool").connection();
    blocker.query("SELECT pg_advisory_lock(7)", &[]).await.expect("the lock");
    let mut running = Box::pin(conn.query_one_scalar::<i32>(sql, &[]));
    assert!(futures_util::poll!(&mut running).is_pending());
    stop.send(()).expect("a receiver");
    tokio::task::spawn_blocking(|| worker.join()).await.expect("a thread").expect("a worker that ended well");
    blocker.query("SELECT pg_advisory_unlock(7)", &[]).await.expect("the lock");
    assert_eq!(running.await.expect("an answer"), 42);
}

/// P12, P13: an idle session that a blocked runtime drove is used at once, without waiting for that runtime.
#[tokio::test]
async fn an_idle_session_of_a_blocked_runtime_is_used_elsewhere() {
    let (_database, db) = connect(1).await;
    let (blocked, wait_for_block) = mpsc::channel::<i32>();
    let (unblock, wait_for_unblock) = mpsc::channel::<()>();
    let conn = db.connection();
    let worker = thread::spawn(move || {
        runtime().block_on(async {
            let before = backend(&conn).await;
            conn.release().expect("a release");
            blocked.send(before).expect("a receiver");
            // Blocks the whole runtime, as a handler that computes does.
            wait_for_unblock.recv().expect("a sender");
        });
    });
    let before = tokio::task::spawn_blocking(move || wait_for_block.recv())
        .await
        .expect("a thread")
        .expect("a sender");
    assert_eq!(backend(&db.connection()).await, before);
    unblock.send(()).expect("a receiver");
    tokio::task::spawn_blocking(|| worker.join()).await.expect("a thread").expect("a worker that ended well");
    assert_eq!(backend(&db.connection()).await, before);
}

/// P10, P11, P12: eight runtimes on three sessions; every answer reaches its own question, and nothing is lost.
#[tokio::test]
async fn sessions_move_under_load_and_answer_the_right_question() {
    let (_database, db) = connect(3).await;
    let threads = (0..8).map(|worker: i32| {
        elsewhere(&db, async move |conn: Connection| {
            for turn in 0..200 {
                let asked = worker * 1000 + turn;
                let answered: i32 =
                    conn.query_one_scalar("SELECT $1::int4", &[&asked]).await.expect("an answer");
                assert_eq!(answered, asked);
                conn.release().expect("a release");
            }
        })
    });
    futures_util::future::join_all(threads).await;
    let status = db.status();
    assert_eq!((status.used, status.pending_requests), (0, 0));
    assert!(status.open <= 3, "{status:?}");
}
