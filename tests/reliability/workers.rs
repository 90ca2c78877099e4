//! What becomes of workers, and of the home of the sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_pg::{AcquireError, Config, Database, Error};
use futures_util::FutureExt;
use futures_util::future::join_all;
use test_support::{Observer, Proxy, database, eventually, pool, runtime, sized};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::common::{at_rest, lends_all, soon};

/// A worker as Actix has them: a thread with a runtime of its own, and clients on it.
struct Worker {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(db: &Database, clients: usize) -> Self {
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let theirs = (db.clone(), Arc::clone(&answered), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (db, answered, stop) = theirs;
            let all = (0..clients).map(|number| {
                let (db, answered, stop) = (&db, &answered, &stop);
                async move {
                    while !stop.load(Ordering::Relaxed) {
                        let number = number as i32;
                        let conn = db.connection();
                        let sql = "SELECT $1::int4 FROM pg_sleep(0.001)";
                        let answer = conn.query_one_scalar::<i32>(sql, &[&number]).await;
                        assert_eq!(answer.expect("an answer"), number);
                        conn.query("SELECT set_config('app.worker', 'x', false)", &[])
                            .await
                            .expect("an answer");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            runtime().block_on(join_all(all));
        });
        Self { answered, stop, thread }
    }

    /// Waits for so many more answers.
    async fn answers(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        eventually("answers", || async { self.answered.load(Ordering::Relaxed) >= wanted }).await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        eventually("the worker ends", || async { self.thread.is_finished() }).await;
        self.thread.join().expect("no panic");
    }
}

/// A worker that does something with sessions and then what it is told to.
fn misfit<F>(db: &Database, end: impl FnOnce(Runtime) -> F + Send + 'static) -> JoinHandle<F>
where
    F: Send + 'static,
{
    let db = db.clone();
    thread::spawn(move || {
        let runtime = runtime();
        runtime.block_on(async {
            // One holds a session, one is in the middle of a statement, one waits for a session.
            let local = LocalSet::new();
            local
                .run_until(async {
                    let held = db.connection();
                    held.query("SELECT 1", &[]).await.expect("an answer");
                    let mut running = Box::pin(held.query("SELECT pg_sleep(600)", &[]));
                    assert!(futures_util::poll!(&mut running).is_pending());
                    let waiting: Vec<_> = (0..4).map(|_| db.connection()).collect();
                    let mut waiting = Box::pin(join_all(
                        waiting.iter().map(|conn| conn.query("SELECT pg_sleep(600)", &[])),
                    ));
                    let _ = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
                })
                .await;
        });
        end(runtime)
    })
}

#[tokio::test]
async fn workers_that_stop_under_load_take_nothing_with_them() {
    let database = database().await;
    let db = pool(&database, 4).await;
    let steady = Worker::start(&db, 8);
    for _ in 0..5 {
        let stopped = misfit(&db, drop);
        steady.answers(20).await;
        eventually("the worker has stopped", || async { stopped.is_finished() }).await;
        stopped.join().expect("no panic");
        steady.answers(20).await;
    }
    steady.stop().await;
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("a place was lost");
}

#[tokio::test]
async fn workers_that_panic_under_load_take_nothing_with_them() {
    let database = database().await;
    let db = pool(&database, 4).await;
    let steady = Worker::start(&db, 8);
    for _ in 0..5 {
        let panicked = misfit(&db, |_runtime| panic!("a worker panics"));
        eventually("the worker has panicked", || async { panicked.is_finished() }).await;
        assert!(panicked.join().is_err());
        steady.answers(20).await;
    }
    steady.stop().await;
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("a place was lost");
}

/// It keeps what it has borrowed, and nothing more: the drivers of all sessions are at home.
#[tokio::test]
async fn a_worker_that_blocks_stalls_nobody_else() {
    let database = database().await;
    let db = pool(&database, 4).await;
    let steady = Worker::start(&db, 8);
    steady.answers(20).await;
    let (unblock, blocked) = mpsc::channel::<()>();
    let (begun, blocking) = oneshot::channel();
    let theirs = db.clone();
    let blocker = thread::spawn(move || {
        let runtime = runtime();
        runtime.block_on(async {
            let held = theirs.connection();
            held.query("SELECT 1", &[]).await.expect("an answer");
            let abandoned = theirs.connection();
            // A waiter that is woken and does not come.
            let mut waiting = Box::pin(abandoned.query("SELECT 1", &[]));
            let _ = futures_util::poll!(&mut waiting);
            begun.send(()).expect("a listener");
            blocked.recv().expect("an end");
            waiting.await.expect("an answer, late");
        });
    });
    soon("it blocks", blocking).await.expect("a sender");
    steady.answers(100).await;
    unblock.send(()).expect("a listener");
    eventually("it ends", || async { blocker.is_finished() }).await;
    blocker.join().expect("no panic");
    steady.stop().await;
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("a place was lost");
}

/// A database whose home is a thread that ends when told to.
fn home(config: Config) -> (Database, impl FnOnce()) {
    let (give, take) = mpsc::channel();
    let (end, ended) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = runtime();
        runtime.block_on(async {
            give.send(Database::connect(config).await.expect("a database")).expect("a taker");
            let _ = ended.await;
        });
    });
    let db = take.recv().expect("a database");
    (db, move || {
        end.send(()).expect("a listener");
        thread.join().expect("no panic");
    })
}

fn is_home_stopped(err: &Error) -> bool {
    matches!(err, Error::Acquire(AcquireError::HomeStopped))
}

#[tokio::test]
async fn a_home_that_stops_before_its_workers_is_a_clear_error() {
    let database = database().await;
    let (db, stop) = home(sized(database.config(), 2));
    let (one, other, waiting, late) = (db.connection(), db.connection(), db.connection(), db.connection());
    one.query("SELECT 1", &[]).await.expect("an answer");
    other.query("SELECT 1", &[]).await.expect("an answer");
    let blocker = Observer::of(&database).await;
    blocker.connection().query("SELECT pg_advisory_lock(1)", &[]).await.expect("the lock");
    let mut running = Box::pin(one.query("SELECT pg_advisory_lock(1)", &[]));
    assert!(futures_util::poll!(&mut running).is_pending());
    let mut queued = Box::pin(waiting.query("SELECT 1", &[]));
    assert!(futures_util::poll!(&mut queued).is_pending());
    let at = Instant::now();
    tokio::task::spawn_blocking(stop).await.expect("no panic");
    let err = soon("the one that waits", queued).await.expect_err("no home");
    assert!(is_home_stopped(&err), "{err:?}");
    // What is lent is driven by who uses it, and goes on.
    drop(blocker);
    soon("the one that runs", running).await.expect("an answer");
    soon("the one that is held", other.query("SELECT 1", &[])).await.expect("an answer");
    let err = soon("the one that comes late", late.query("SELECT 1", &[])).await.expect_err("no home");
    assert!(is_home_stopped(&err), "{err:?}");
    assert!(at.elapsed() < Duration::from_secs(10), "{:?}", at.elapsed());
    drop((one, other, waiting, late));
    soon("closing", db.close()).await;
    let observer = Observer::of(&database).await;
    eventually("the server's backends are gone", || async { observer.backends().await == 0 }).await;
}

/// Its repair would have been the home's work.
#[tokio::test]
async fn what_is_abandoned_when_home_has_stopped_does_not_hang_the_next_statement() {
    let database = database().await;
    let (db, stop) = home(sized(database.config(), 1));
    let conn = db.connection();
    conn.query("SELECT 1", &[]).await.expect("an answer");
    let mut before = Box::pin(conn.query("SELECT pg_sleep(600)", &[]));
    assert!(futures_util::poll!(&mut before).is_pending());
    tokio::task::spawn_blocking(stop).await.expect("no panic");
    drop(before);
    let err =
        soon("a statement after an abandoned one", conn.query("SELECT 1", &[])).await.expect_err("no home");
    assert_eq!(actix_web::ResponseError::status_code(&err), 503, "{err:?}");
    let _ = conn.query("SELECT 1", &[]).now_or_never();
    soon("and again", conn.query("SELECT 1", &[])).await.expect_err("no home");
    conn.release().expect("nothing runs");
    assert!(is_home_stopped(&soon("a borrow", conn.query("SELECT 1", &[])).await.expect_err("no home")));
}

/// The borrower has its place and waits for the session that home was about to open.
#[tokio::test]
async fn a_home_that_stops_while_it_connects_is_a_clear_error() {
    let database = database().await;
    let proxy = {
        let port =
            database.dsn().rsplit_once('/').and_then(|(head, _)| head.rsplit_once(':')).expect("a port").1;
        Proxy::before(port.parse().expect("a port")).await
    };
    let config = Config { dsn: Some(proxy.dsn(database.dsn())), ..sized(database.config(), 2) };
    let connecting = tokio::task::spawn_blocking(move || home(config));
    let (db, stop) = soon("a start", connecting).await.expect("no panic");
    let (held, waiting) = (db.connection(), db.connection());
    held.query("SELECT 1", &[]).await.expect("an answer");
    proxy.stall();
    let mut connecting = Box::pin(waiting.query("SELECT 1", &[]));
    let _ = tokio::time::timeout(Duration::from_millis(50), &mut connecting).await;
    tokio::task::spawn_blocking(stop).await.expect("no panic");
    let at = Instant::now();
    let err = soon("a borrow", connecting).await.expect_err("no home");
    assert!(is_home_stopped(&err), "{err:?}");
    assert!(at.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_close_under_load_waits_for_what_is_lent_and_turns_the_others_away() {
    let database = database().await;
    let db = pool(&database, 2).await;
    let (one, other) = (db.connection(), db.connection());
    let waiting: Vec<_> = (0..8).map(|_| db.connection()).collect();
    let run = async |conn: &actix_pg::Connection| {
        let answer = conn.query("SELECT pg_sleep(0.3)", &[]).await.map(drop);
        conn.release().expect("nothing runs");
        answer
    };
    one.query("SELECT 1", &[]).await.expect("an answer");
    other.query("SELECT 1", &[]).await.expect("an answer");
    let all = async { tokio::join!(run(&one), run(&other), join_all(waiting.iter().map(&run))) };
    let close = async {
        eventually("they wait", || async { db.status().pending_requests == 8 }).await;
        soon("closing", db.close()).await;
    };
    let ((first, second, turned_away), ()) = tokio::join!(all, close);
    first.expect("it was lent");
    second.expect("it was lent");
    for answer in turned_away {
        assert!(matches!(answer, Err(Error::Acquire(AcquireError::DatabaseClosed))), "{answer:?}");
    }
    soon("closing again", db.close()).await;
    assert_eq!(Observer::of(&database).await.backends().await, 0);
}
