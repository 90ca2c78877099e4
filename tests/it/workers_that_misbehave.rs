//! What one worker does to itself must not reach the sessions that others use.

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use actix_pg::{AcquireError, Connection, Error};
use actix_web::web;
use test_support::{
    FakeServer, Latch, PATIENCE, Phase, TestApp, Wire, all_returned, assert_whole, backend, connect,
    connected, database, eventually, sized, soon,
};

/// P12: a worker that blocks its thread delays nobody's query, not even on a session that it has opened and used.
#[actix_web::test]
async fn a_worker_that_blocks_delays_no_other() {
    let (_database, db) = connect(1).await;
    let (blocked, unblock) = (Latch::new(), mpsc::channel::<()>());
    let app = {
        let (blocked, unblocked) = (blocked.clone(), std::sync::Arc::new(std::sync::Mutex::new(unblock.1)));
        TestApp::with_workers(2, &db, move |config| {
            let query = async |conn: Connection| {
                // A session whose driver ended with `close` is opened anew by whoever comes next.
                backend(&conn).await;
                format!("{:?}", thread::current().id())
            };
            let block = move || {
                let (blocked, unblocked) = (blocked.clone(), std::sync::Arc::clone(&unblocked));
                async move {
                    blocked.hit();
                    thread::sleep(Duration::from_millis(1_500));
                    let told = unblocked.lock().expect("a sound lock").recv_timeout(PATIENCE);
                    told.map_or("nobody could work", |()| "unblocked")
                }
            };
            config.route("/query", web::get().to(query)).route("/block", web::get().to(block));
        })
    };
    let (mut one, mut two) = (Wire::to(&app).await, Wire::to(&app).await);
    assert_ne!(one.get("/query").await, two.get("/query").await, "two workers");
    // The last to use the session is the one that blocks.
    one.get("/query").await;
    one.send("/block").await;
    blocked.open().await;
    for _ in 0..5 {
        soon("a query beside a blocked worker", two.get("/query")).await;
    }
    unblock.0.send(()).expect("a blocked worker");
    assert_eq!(one.answer().await.as_deref(), Some("unblocked"));
    drop((one, two));
    assert_whole(&db).await;
    app.stop().await;
}

thread_local! {
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
}

/// Tells when its thread has ended.
struct Left(Latch);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.hit();
    }
}

/// P12, case 23: at a graceful stop idle workers leave at once; the sessions that they used live on for the busy one.
#[actix_web::test]
async fn a_worker_that_stops_fails_no_request_of_another() {
    let (_database, db) = connect(2).await;
    let (running, go_on, left) = (Latch::new(), Latch::new(), Latch::new());
    let app = {
        let (running, go_on, left) = (running.clone(), go_on.clone(), left.clone());
        TestApp::with_workers(3, &db, move |config| {
            let query = move |conn: Connection| {
                LEFT.with_borrow_mut(|guard| {
                    guard.get_or_insert_with(|| Left(left.clone()));
                });
                async move { backend(&conn).await.to_string() }
            };
            let long = move |conn: Connection| {
                let (running, go_on) = (running.clone(), go_on.clone());
                async move {
                    let mut pids = vec![backend(&conn).await];
                    running.hit();
                    go_on.open().await;
                    pids.push(backend(&conn).await);
                    conn.release().expect("nothing runs");
                    // Whatever is lent now, it is one that others have used.
                    for _ in 0..5 {
                        backend(&conn).await;
                        conn.release().expect("nothing runs");
                    }
                    (pids[0] == pids[1]).to_string()
                }
            };
            config.route("/query", web::get().to(query)).route("/long", web::get().to(long));
        })
    };
    let mut wires = [Wire::to(&app).await, Wire::to(&app).await, Wire::to(&app).await];
    // Every worker in turn opens and uses sessions.
    for wire in &mut wires[..2] {
        wire.get("/query").await;
    }
    let [one, two, mut busy] = wires;
    busy.send("/long").await;
    running.open().await;
    drop((one, two));
    let handle = app.handle();
    let stopping = actix_web::rt::spawn(async move { handle.stop(true).await });
    left.reached(2).await;
    go_on.hit();
    assert_eq!(soon("an answer", busy.answer()).await.as_deref(), Some("true"));
    drop(busy);
    soon("the stop", stopping).await.expect("a joined task");
    assert_whole(&db).await;
}

/// A worker: a thread with a runtime of its own, which is stopped in the middle of what it does.
fn stop_in_the_middle<F>(work: impl FnOnce() -> F + Send + 'static, when: Latch) -> thread::JoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::select! {
                () = work() => panic!("it was to be stopped in the middle"),
                () = when.open() => {}
            }
        });
    })
}

async fn joined(worker: thread::JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || worker.join());
    assert!(soon("its end", joined).await.expect("a joined thread").is_ok());
}

/// P12: a worker that stops while a session is being opened for it costs no place.
#[actix_web::test]
async fn a_worker_that_stops_during_a_connect_costs_no_place() {
    let server = FakeServer::start().await;
    let db = connected(server.config(2)).await;
    let kept = db.connection().client().await.expect("a session");
    server.hold(Phase::Connect);
    for round in 1..=3 {
        let stop = Latch::new();
        let conn = db.connection();
        let work = async move || drop(conn.execute("INSERT INTO a", &[]).await);
        let worker = stop_in_the_middle(work, stop.clone());
        eventually("it connects", async || server.before(Phase::Connect) >= 1).await;
        stop.hit();
        joined(worker).await;
        if round == 2 {
            server.open(Phase::Connect);
            eventually("the session is there", async || db.status().open == 2).await;
            break;
        }
    }
    assert_eq!(server.backends(), 2);
    drop(kept);
    assert_whole(&db).await;
}

/// P12: nor does one that stops in the middle of a statement, or while it waits.
#[actix_web::test]
async fn a_worker_that_stops_during_a_statement_costs_no_place() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    server.hold(Phase::Statement);
    let (stop_running, stop_waiting) = (Latch::new(), Latch::new());
    let work = |sql: &'static str| {
        let conn = db.connection();
        async move || drop(conn.execute(sql, &[]).await)
    };
    let running = stop_in_the_middle(work("INSERT INTO a"), stop_running.clone());
    eventually("it runs", async || server.before(Phase::Statement) == 1).await;
    let waiting = stop_in_the_middle(work("INSERT INTO b"), stop_waiting.clone());
    eventually("it waits", async || db.status().pending_requests == 1).await;
    stop_waiting.hit();
    joined(waiting).await;
    assert_eq!(db.status().pending_requests, 0);
    stop_running.hit();
    joined(running).await;
    assert_whole(&db).await;
    assert_eq!(server.passed(Phase::Statement), 0);
    assert!(server.passed(Phase::Cancel) >= 1);
}

/// P12: a session that a worker has borrowed, and others share, lives on when that worker stops.
#[actix_web::test]
async fn a_session_outlives_the_worker_that_borrowed_it() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let (borrowed, stop) = (Latch::new(), Latch::new());
    let work = {
        let (conn, borrowed) = (conn.clone(), borrowed.clone());
        async move || {
            backend(&conn).await;
            borrowed.hit();
            std::future::pending::<()>().await;
        }
    };
    let worker = stop_in_the_middle(work, stop.clone());
    borrowed.open().await;
    let pid = backend(&conn).await;
    stop.hit();
    joined(worker).await;
    assert_eq!(soon("a query on the session of a worker that has stopped", backend(&conn)).await, pid);
    drop(conn);
    assert_whole(&db).await;
}

/// P12: a panic while a session is lent, on a thread that has no runtime any more.
#[actix_web::test]
async fn a_connection_may_be_dropped_outside_of_any_runtime() {
    let (_database, db) = connect(2).await;
    let (clean, dirty) = (db.connection(), db.connection());
    backend(&clean).await;
    dirty.client().await.expect("a client").batch_execute("BEGIN").await.expect("a transaction");
    let panicked = thread::spawn(move || {
        let _lent = (clean, dirty);
        panic!("as handlers do");
    });
    assert!(panicked.join().is_err());
    all_returned(&db).await;
    assert_whole(&db).await;
}

/// P12: used after the runtime that called `connect` has stopped: a clear error, and no hang.
#[actix_web::test]
async fn when_home_has_stopped_the_error_says_so() {
    let database = database().await;
    let config = sized(database.config(), 1);
    let (db, held) = {
        let home = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let db = connected(config).await;
                let held = db.connection();
                backend(&held).await;
                (db, held)
            })
        });
        home.join().expect("a home")
    };
    let err = soon("an error", held.query("SELECT 1", &[])).await.expect_err("no driver");
    assert!(matches!(err, Error::Postgres(_) | Error::SessionLost), "{err:?}");
    drop(held);
    let err = soon("an error", db.connection().query("SELECT 1", &[])).await.expect_err("no home");
    assert!(matches!(err, Error::Acquire(AcquireError::HomeStopped)), "{err:?}");
    let text = std::error::Error::source(&err).expect("a cause").to_string();
    assert!(text.starts_with("the runtime that called `Database::connect` has stopped"), "{text}");
    soon("a close", db.close()).await;
}

/// P2, P12: two runtimes wait with one connection; the one that waited first stops, and the other one gets the session, or its
/// time-out.
#[test]
fn a_runtime_that_stops_breaks_no_wait_that_it_shared() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let home = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for served in [true, false] {
        let (_database, db) = home.block_on(async {
            let database = database().await;
            let acquire_timeout = Duration::from_millis(if served { 20_000 } else { 300 });
            let config = actix_pg::Config { acquire_timeout, ..sized(database.config(), 1) };
            let db = connected(config).await;
            (database, db)
        });
        let held = home.block_on(db.connection().client()).expect("the only session");
        let (conn, first, second) = (db.connection(), runtime(), runtime());
        let wait = |runtime: &tokio::runtime::Runtime| {
            let conn = conn.clone();
            let mut waiting = Box::pin(async move { conn.query_one_scalar::<i32>("SELECT 1", &[]).await });
            runtime.block_on(async { assert!(futures_util::poll!(&mut waiting).is_pending()) });
            waiting
        };
        let waiting_first = wait(&first);
        let waiting_second = wait(&second);
        drop(first);
        if served {
            drop(held);
            assert_eq!(second.block_on(waiting_second).expect("the session"), 1);
        } else {
            let err = second.block_on(waiting_second).expect_err("no session");
            assert!(matches!(err, Error::Acquire(AcquireError::TimedOut { .. })), "{err:?}");
        }
        drop(waiting_first);
    }
}
