//! P28: what was registered to run after a commit runs once, after the real commit, or not at all; and after a rollback likewise.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::{AcquireError, Config, Connection, Database, Error, RequestTransaction, Result, Transaction};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use test_support::{
    Latch, Observer, TestApp, all_returned, connect, connected, database, eventually, log, sized, soon,
};

/// What has run, in its order.
#[derive(Debug, Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("a journal").push(what.into());
    }

    /// A callback that notes that it has run.
    fn noting(&self, what: &str) -> impl FnOnce() -> std::future::Ready<()> + Send + use<> {
        let (journal, what) = (self.clone(), what.to_owned());
        move || {
            journal.note(what);
            std::future::ready(())
        }
    }

    fn has(&self) -> Vec<String> {
        self.0.lock().expect("a journal").clone()
    }

    async fn becomes(&self, expected: &[&str]) {
        eventually(&format!("{expected:?}"), async || self.has() == expected).await;
    }
}

/// `t`, and `locked`, in which a row waits at COMMIT for the advisory lock 1.
const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY);
    CREATE TABLE locked (id int);
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON locked DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait()";

/// SQL that fails as a transaction does that lost against another one.
const LOSE: &str = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$";

async fn start(size: u32) -> (TestDatabase, Database) {
    let (database, db) = connect(size).await;
    db.batch_execute(SCHEMA).await.expect("a schema");
    (database, db)
}

async fn insert(tx: &Transaction, id: i32) -> Result<u64> {
    tx.execute("INSERT INTO t VALUES ($1)", &[&id]).await
}

async fn ids(db: &Database) -> Vec<i32> {
    db.query_scalar("SELECT id FROM t ORDER BY id", &[]).await.expect("the ids")
}

#[actix_web::test]
async fn callbacks_run_in_order_after_the_commit_which_waits_for_them() {
    let (_database, db) = start(2).await;
    let (journal, conn) = (Journal::default(), db.connection());
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    let (seen, other) = (journal.clone(), db.clone());
    tx.after_commit(move || async move { seen.note(format!("first: {:?}", ids(&other).await)) }).unwrap();
    tx.after_commit(journal.noting("second")).unwrap();
    tx.after_rollback(journal.noting("rolled back")).unwrap();
    assert!(journal.has().is_empty());
    tx.commit().await.unwrap();
    assert_eq!(journal.has(), ["first: [1]", "second"]);

    let tx = conn.transaction().await.unwrap();
    tx.commit().await.unwrap();
    db.close().await;
    assert_eq!(journal.has(), ["first: [1]", "second"], "they run once");
}

#[actix_web::test]
async fn the_connection_may_be_used_in_a_callback() {
    let (_database, db) = start(1).await;
    let conn = db.connection();
    for ended_by_function in [false, true] {
        let (journal, used) = (Journal::default(), conn.clone());
        let noting = journal.clone();
        let callback = move || async move {
            used.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
            let tx = used.transaction().await.unwrap();
            insert(&tx, 3).await.unwrap();
            tx.rollback().await.unwrap();
            noting.note("used");
            if !ended_by_function {
                used.release().unwrap();
                noting.note("released");
            }
        };
        if ended_by_function {
            let callback = Mutex::new(Some(callback));
            conn.transact(async |tx: Transaction| {
                tx.after_commit(callback.lock().unwrap().take().unwrap())?;
                tx.commit().await
            })
            .await
            .unwrap();
            assert_eq!(journal.has(), ["used"]);
        } else {
            let tx = conn.transaction().await.unwrap();
            tx.after_commit(callback).unwrap();
            soon("a commit", tx.commit()).await.unwrap();
            assert_eq!(journal.has(), ["used", "released"]);
        }
        conn.release().unwrap();
        assert_eq!(ids(&db).await, [2]);
        db.execute("DELETE FROM t", &[]).await.unwrap();
    }
}

#[actix_web::test]
async fn a_savepoint_drops_its_callbacks_or_hands_them_on() {
    let (_database, db) = start(1).await;
    let (journal, conn) = (Journal::default(), db.connection());
    let tx = conn.transaction().await.unwrap();
    tx.after_commit(journal.noting("outer")).unwrap();
    let kept = tx.transaction().await.unwrap();
    kept.after_commit(journal.noting("kept")).unwrap();
    let deep = kept.transaction().await.unwrap();
    deep.after_commit(journal.noting("deep")).unwrap();
    tx.after_commit(journal.noting("beside")).unwrap();
    deep.commit().await.unwrap();
    kept.commit().await.unwrap();
    for by_drop in [false, true] {
        let undone = tx.transaction().await.unwrap();
        undone.after_commit(journal.noting("undone")).unwrap();
        undone.after_rollback(journal.noting("undone")).unwrap();
        let deep = undone.transaction().await.unwrap();
        deep.after_commit(journal.noting("undone, deep")).unwrap();
        deep.commit().await.unwrap();
        if by_drop { drop(undone) } else { undone.rollback().await.unwrap() }
    }
    insert(&tx, 1).await.unwrap();
    assert!(journal.has().is_empty());
    tx.commit().await.unwrap();
    assert_eq!(journal.has(), ["outer", "kept", "deep", "beside"]);

    // What a savepoint has handed on goes with the transaction.
    let tx = conn.transaction().await.unwrap();
    let kept = tx.transaction().await.unwrap();
    kept.after_commit(journal.noting("never")).unwrap();
    kept.after_rollback(journal.noting("rolled back")).unwrap();
    kept.commit().await.unwrap();
    tx.rollback().await.unwrap();
    journal.becomes(&["outer", "kept", "deep", "beside", "rolled back"]).await;
}

#[actix_web::test]
async fn a_commit_that_is_dropped_loses_no_callback() {
    let (database, db) = start(1).await;
    let observer = Observer::of(&database).await;
    let journal = Journal::default();

    // Before COMMIT was sent, it is a rollback.
    let tx = db.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    tx.after_commit(journal.noting("committed")).unwrap();
    tx.after_rollback(journal.noting("rolled back")).unwrap();
    let mut commit = Box::pin(tx.commit());
    assert!(matches!(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    drop(commit);
    journal.becomes(&["rolled back"]).await;
    assert_eq!(ids(&db).await, [0; 0]);

    // After that, it is what the server says.
    let lock = observer.connection();
    lock.query("SELECT pg_advisory_lock(1)", &[]).await.unwrap();
    let tx = db.transaction().await.unwrap();
    tx.execute("INSERT INTO locked VALUES (1)", &[]).await.unwrap();
    tx.after_commit(journal.noting("committed")).unwrap();
    tx.after_rollback(journal.noting("rolled back")).unwrap();
    let commit = actix_web::rt::spawn(tx.commit());
    eventually("COMMIT waits for the lock", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        lock.query_one_scalar::<i64>(waiting, &[]).await.unwrap() == 1
    })
    .await;
    commit.abort();
    assert!(commit.await.unwrap_err().is_cancelled());
    assert_eq!(journal.has(), ["rolled back"]);
    lock.query("SELECT pg_advisory_unlock(1)", &[]).await.unwrap();
    journal.becomes(&["rolled back", "committed"]).await;
    assert_eq!(db.query_one_scalar::<i64>("SELECT count(*) FROM locked", &[]).await.unwrap(), 1);
    all_returned(&db).await;
}

#[actix_web::test]
async fn a_commit_that_is_dropped_while_callbacks_run_loses_none() {
    let (_database, db) = start(1).await;
    let (journal, begun, go_on) = (Journal::default(), Latch::new(), Latch::new());
    let tx = db.transaction().await.unwrap();
    tx.after_commit({
        let (journal, begun, go_on) = (journal.clone(), begun.clone(), go_on.clone());
        move || async move {
            begun.hit();
            go_on.open().await;
            journal.note("first");
        }
    })
    .unwrap();
    tx.after_commit(journal.noting("second")).unwrap();
    let commit = actix_web::rt::spawn(tx.commit());
    begun.open().await;
    assert!(!commit.is_finished());
    commit.abort();
    assert!(commit.await.unwrap_err().is_cancelled());
    go_on.hit();
    journal.becomes(&["first", "second"]).await;
}

#[actix_web::test]
async fn a_callback_that_panics_changes_nothing_but_the_log() {
    log::keep();
    let (_database, db) = start(1).await;
    let journal = Journal::default();
    let tx = db.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    let first = line!() + 1;
    tx.after_commit(|| async { panic!("secret, in the future") }).unwrap();
    tx.after_commit(|| -> std::future::Ready<()> { panic!("secret, in the function") }).unwrap();
    tx.after_commit(|| async { std::panic::panic_any(PanicsInDrop) }).unwrap();
    tx.after_commit(journal.noting("next")).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(journal.has(), ["next"]);
    for line in first..first + 3 {
        let lines = log::ours_with(&["ERROR", &format!("after_a_transaction.rs:{line}:")]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].contains("secret"), "{lines:?}");
    }
    assert_eq!(ids(&db).await, [1]);

    // One that is never run may panic in its drop.
    let tx = db.transaction().await.unwrap();
    let dropped = PanicsInDrop;
    tx.after_commit(move || async move { drop(dropped) }).unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(ids(&db).await, [1]);
    all_returned(&db).await;
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("as the test wants it");
        }
    }
}

#[actix_web::test]
async fn an_attempt_that_is_repeated_drops_its_callbacks() {
    let (_database, db) = start(1).await;
    let journal = Journal::default();
    let lost = |retries| {
        let (journal, attempt) = (journal.clone(), Mutex::new(0));
        db.build_transaction().retries(retries).run(move |tx: Transaction| {
            let attempt = {
                let mut attempts = attempt.lock().unwrap();
                *attempts += 1;
                *attempts
            };
            let journal = journal.clone();
            async move {
                tx.after_commit(journal.noting(&format!("commit of {attempt}")))?;
                tx.after_rollback(journal.noting(&format!("rollback of {attempt}")))?;
                if attempt < 3 { tx.batch_execute(LOSE).await } else { Ok(()) }
            }
        })
    };
    lost(3).await.unwrap();
    assert_eq!(journal.has(), ["commit of 3"]);
    lost(1).await.unwrap_err();
    journal.becomes(&["commit of 3", "rollback of 2"]).await;
    db.close().await;
    assert_eq!(journal.has(), ["commit of 3", "rollback of 2"]);
}

#[actix_web::test]
async fn an_attempt_that_cannot_be_repeated_is_rolled_back() {
    let (_database, db) = start(1).await;
    // The caller goes in the pause before the next attempt.
    let journal = Journal::default();
    let failed = Arc::new(Mutex::new(false));
    {
        let (noting, failing) = (journal.clone(), Arc::clone(&failed));
        let run = db.transact(move |tx: Transaction| {
            let (journal, failed) = (noting.clone(), Arc::clone(&failing));
            async move {
                tx.after_commit(journal.noting("committed"))?;
                tx.after_rollback(journal.noting("rolled back"))?;
                let lost = tx.batch_execute(LOSE).await;
                *failed.lock().unwrap() = true;
                lost
            }
        });
        let mut run = Box::pin(run);
        while !*failed.lock().unwrap() {
            assert!(futures_util::poll!(&mut run).is_pending());
            tokio::task::yield_now().await;
        }
    }
    journal.becomes(&["rolled back"]).await;

    // The function has left a row stream open, so that no other attempt can begin.
    let (journal, left) = (Journal::default(), Arc::new(Mutex::new(None)));
    let conn = db.connection();
    let series = "SELECT generate_series(1, 100000)";
    conn.query(series, &[]).await.unwrap();
    let run = conn.transact(|tx: Transaction| {
        let (journal, left, conn) = (journal.clone(), Arc::clone(&left), conn.clone());
        async move {
            tx.after_commit(journal.noting("committed"))?;
            tx.after_rollback(journal.noting("rolled back"))?;
            let lost = tx.batch_execute(LOSE).await;
            tx.rollback().await?;
            *left.lock().unwrap() = Some(conn.query_raw(series, &[]).await?);
            lost
        }
    });
    let err = run.await.unwrap_err();
    assert_eq!(err.code().map(|code| code.code()), Some("40001"), "{err:?}");
    drop(left.lock().unwrap().take());
    journal.becomes(&["rolled back"]).await;
    conn.release().unwrap();
    db.close().await;
    assert_eq!(journal.has(), ["rolled back"]);
}

#[actix_web::test]
async fn after_a_rollback_the_server_has_answered_it() {
    let (_database, db) = start(2).await;
    for by_drop in [false, true] {
        let journal = Journal::default();
        let tx = db.transaction().await.unwrap();
        insert(&tx, 1).await.unwrap();
        let (noting, other) = (journal.clone(), db.clone());
        // The same key would wait for a transaction that is open.
        tx.after_rollback(move || async move {
            other.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
            other.execute("DELETE FROM t", &[]).await.unwrap();
            noting.note("rolled back");
        })
        .unwrap();
        tx.after_commit(journal.noting("committed")).unwrap();
        if by_drop {
            drop(tx)
        } else {
            tx.rollback().await.unwrap()
        }
        journal.becomes(&["rolled back"]).await;
    }

    // A commit that is refused is a rollback.
    let journal = Journal::default();
    let tx = db.transaction().await.unwrap();
    tx.batch_execute(LOSE).await.unwrap_err();
    tx.after_commit(journal.noting("committed")).unwrap();
    tx.after_rollback(journal.noting("rolled back")).unwrap();
    assert!(matches!(tx.commit().await, Err(Error::CommitRefused(_))));
    journal.becomes(&["rolled back"]).await;
    db.close().await;
    assert_eq!(journal.has(), ["rolled back"]);
}

#[actix_web::test]
async fn after_a_session_is_lost_the_callbacks_of_a_rollback_run() {
    let (database, db) = start(2).await;
    let observer = Observer::of(&database).await;
    let journal = Journal::default();
    // The callback of the second holds the connection whose lease keeps the session.
    for held in [false, true] {
        let conn = db.connection();
        let tx = conn.transaction().await.unwrap();
        let backend: i32 = tx.query_one_scalar("SELECT pg_backend_pid()", &[]).await.unwrap();
        let kept = held.then(|| conn.clone());
        let noting = journal.clone();
        tx.after_rollback(move || async move {
            drop(kept);
            noting.note("rolled back");
        })
        .unwrap();
        tx.after_commit(journal.noting("committed")).unwrap();
        observer.terminate(backend).await;
        tx.execute("SELECT 1", &[]).await.unwrap_err();
        drop((tx, conn));
        let expected = ["rolled back", "rolled back"];
        journal.becomes(&expected[..1 + usize::from(held)]).await;
    }
    all_returned(&db).await;
}

#[actix_web::test]
async fn neither_runs_when_the_outcome_is_unknown() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let config = Config { command_timeout: Some(Duration::from_millis(200)), ..sized(database.config(), 1) };
    let db = connected(config).await;
    db.batch_execute(SCHEMA).await.unwrap();
    let lock = observer.connection();
    lock.query("SELECT pg_advisory_lock(1)", &[]).await.unwrap();
    let journal = Journal::default();
    let tx = db.transaction().await.unwrap();
    tx.execute("INSERT INTO locked VALUES (1)", &[]).await.unwrap();
    tx.after_commit(journal.noting("committed")).unwrap();
    tx.after_rollback(journal.noting("rolled back")).unwrap();
    assert!(matches!(tx.commit().await, Err(Error::OutcomeUnknown(_))));
    all_returned(&db).await;

    // A connection that is lost during COMMIT.
    let tx = db.transaction().await.unwrap();
    let backend: i32 = tx.query_one_scalar("SELECT pg_backend_pid()", &[]).await.unwrap();
    tx.execute("INSERT INTO locked VALUES (1)", &[]).await.unwrap();
    tx.after_commit(journal.noting("committed")).unwrap();
    tx.after_rollback(journal.noting("rolled back")).unwrap();
    let (committed, _) = tokio::join!(tx.commit(), async {
        lock.query("SELECT pg_terminate_backend($1, 5000)", &[&backend]).await
    });
    assert!(matches!(committed, Err(Error::OutcomeUnknown(_))), "{committed:?}");
    db.close().await;
    assert_eq!(journal.has(), [""; 0]);
}

#[actix_web::test]
async fn a_transaction_that_has_ended_takes_no_callback() {
    let (_database, db) = start(1).await;
    let conn = db.connection();
    let tx = conn.transaction().await.unwrap();
    let inner = tx.transaction().await.unwrap();
    tx.rollback().await.unwrap();
    assert!(matches!(inner.after_commit(|| async {}), Err(Error::TransactionEnded)));
    assert!(matches!(inner.after_rollback(|| async {}), Err(Error::TransactionEnded)));
}

async fn request(
    path: web::Path<(String, u16)>,
    tx: RequestTransaction,
    conn: Connection,
    journal: web::Data<Journal>,
) -> Result<HttpResponse> {
    let (what, status) = path.into_inner();
    let noting = journal.clone();
    tx.after_commit(move || async move {
        // The same session, and no transaction any more.
        conn.query("SELECT 1", &[]).await.unwrap();
        noting.note("committed");
    })?;
    tx.after_rollback(journal.noting("rolled back"))?;
    match &*what {
        "inserts" => drop(tx.execute("INSERT INTO t VALUES (1)", &[]).await?),
        "panics" => tx.after_commit(|| async { panic!("as the test wants it") })?,
        "aborts" => drop(tx.batch_execute(LOSE).await),
        _ => {}
    }
    tx.after_commit(journal.noting("and then"))?;
    Ok(HttpResponse::build(StatusCode::from_u16(status).expect("a status")).finish())
}

/// A transaction of a request, begun or not.
#[actix_web::test]
async fn a_request_is_answered_when_its_callbacks_have_run() {
    let (_database, db) = start(1).await;
    let journal = Journal::default();
    let shared = web::Data::new(journal.clone());
    let app = TestApp::start(&db, move |config| {
        config.app_data(shared.clone()).route("/{what}/{status}", web::get().to(request));
    });
    let committed = ["committed", "and then"];
    for (path, status, expected) in [
        ("/inserts/201", 201, &committed[..]),
        ("/nothing/200", 200, &committed[..]),
        ("/panics/200", 200, &committed[..]),
    ] {
        assert_eq!(app.get(path).await.status, status, "{path}");
        assert_eq!(journal.has(), expected, "{path}");
        journal.0.lock().unwrap().clear();
    }
    for (path, status) in
        [("/inserts/409", 500), ("/nothing/404", 404), ("/aborts/404", 404), ("/aborts/200", 500)]
    {
        // The row of the first request is there, so the second insert fails.
        assert_eq!(app.get(path).await.status, status, "{path}");
        journal.becomes(&["rolled back"]).await;
        journal.0.lock().unwrap().clear();
    }
    all_returned(&db).await;
    app.stop().await;
}

#[actix_web::test]
async fn close_waits_for_callbacks() {
    for after_commit in [true, false] {
        let (_database, db) = connect(1).await;
        let (begun, go_on, journal) = (Latch::new(), Latch::new(), Journal::default());
        let callback = {
            let (begun, go_on, journal) = (begun.clone(), go_on.clone(), journal.clone());
            move || async move {
                begun.hit();
                go_on.open().await;
                journal.note("done");
            }
        };
        let tx = db.transaction().await.unwrap();
        if after_commit {
            tx.after_commit(callback).unwrap();
            drop(actix_web::rt::spawn(tx.commit()));
        } else {
            tx.after_rollback(callback).unwrap();
            drop(tx);
        }
        begun.open().await;
        let closing = actix_web::rt::spawn({
            let db = db.clone();
            async move { db.close().await }
        });
        eventually("the database lends no more", async || {
            matches!(db.query("SELECT 1", &[]).await, Err(Error::Acquire(AcquireError::DatabaseClosed)))
        })
        .await;
        assert!(!closing.is_finished());
        go_on.hit();
        soon("the end", closing).await.unwrap();
        assert_eq!(journal.has(), ["done"]);
    }
}

#[test]
fn a_home_that_stops_runs_no_callback_and_keeps_nobody_waiting() {
    let home = test_support::runtime();
    let (database, db) = home.block_on(start(1));
    let journal = Journal::default();
    let (to_commit, to_drop, during) = home.block_on(async {
        let config = sized(database.config(), 1);
        let (second, third) = (connected(config.clone()).await, connected(config).await);
        (
            db.transaction().await.unwrap(),
            second.transaction().await.unwrap(),
            third.transaction().await.unwrap(),
        )
    });
    for tx in [&to_commit, &to_drop] {
        tx.after_commit(journal.noting("committed")).unwrap();
        tx.after_rollback(journal.noting("rolled back")).unwrap();
    }
    // A callback that runs when home stops: what was committed stays so.
    let begun = Latch::new();
    let hits = begun.clone();
    during
        .after_commit(move || async move {
            hits.hit();
            std::future::pending::<()>().await;
        })
        .unwrap();
    let worker = thread::spawn(move || test_support::runtime().block_on(soon("an answer", during.commit())));
    home.block_on(begun.open());
    drop(home);
    worker.join().expect("a worker").unwrap();
    let committed = test_support::runtime().block_on(soon("an answer", to_commit.commit()));
    assert!(matches!(committed, Err(Error::Acquire(AcquireError::HomeStopped))), "{committed:?}");
    drop(to_drop);
    assert_eq!(journal.has(), [""; 0]);
}

#[actix_web::test]
async fn a_sandbox_keeps_callbacks_until_the_test_runs_them() {
    let (_database, db) = start(1).await;
    let sandbox = db.sandbox().await.unwrap();
    let journal = Journal::default();
    let shared = web::Data::new(journal.clone());
    let app = TestApp::with_workers(1, &sandbox, move |config| {
        config.app_data(shared.clone()).route("/{what}/{status}", web::get().to(request));
    });
    assert_eq!(app.get("/inserts/201").await.status, 201);
    assert_eq!(app.get("/nothing/200").await.status, 200);
    assert_eq!(app.get("/nothing/404").await.status, 404);
    // What was rolled back was.
    journal.becomes(&["rolled back"]).await;
    assert_eq!(soon("the callbacks", sandbox.run_after_commit()).await, 4);
    assert_eq!(journal.has(), ["rolled back", "committed", "and then", "committed", "and then"]);
    assert_eq!(sandbox.run_after_commit().await, 0);

    let tx = sandbox.transaction().await.unwrap();
    let (inner, again) = (sandbox.clone(), journal.clone());
    tx.after_commit(move || async move {
        let tx = inner.transaction().await.unwrap();
        insert(&tx, 7).await.unwrap();
        tx.after_commit(again.noting("again")).unwrap();
        tx.commit().await.unwrap();
    })
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(soon("the callbacks", sandbox.run_after_commit()).await, 2);
    assert_eq!(ids(&sandbox).await, [1, 7]);
    assert_eq!(db.run_after_commit().await, 0);
    app.stop().await;
    sandbox.close().await;
}
