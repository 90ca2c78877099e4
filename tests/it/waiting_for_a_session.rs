//! Who gets a session, in which order, and what those are told who get none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_pg::{AcquireError, Config, Connection, Database, Error, Result};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web;
use futures_util::future::join_all;
use test_support::{
    Latch, TestApp, all_returned, assert_whole, backend, borrow_all, connect, connected, database, dsn_as,
    eventually, log, pool, sized, soon,
};

/// P10: the server itself counts, and would refuse one session more.
#[actix_web::test]
async fn there_are_never_more_sessions_than_the_maximum() {
    let database = database().await;
    let admin = pool(&database, 1).await;
    let role = format!("limited_{}", database.name());
    let sql = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'limited' CONNECTION LIMIT 3");
    admin.connection().batch_execute(&sql).await.expect("a role");
    let dsn = dsn_as(&database, &role, "limited");
    let db = connected(sized(Config::from_dsn(&dsn).expect("a DSN"), 3)).await;

    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection, what: web::Path<u32>| -> Result<String> {
            match *what % 4 {
                // Clean; dirty; thrown away by its user; abandoned in mid-statement.
                0 => drop(conn.query("SELECT 1", &[]).await?),
                1 => conn.batch_execute("SET search_path = nowhere").await?,
                2 => assert!(conn.query("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await.is_err()),
                _ => {
                    let sleep = conn.execute("SELECT pg_sleep(3603)", &[]);
                    assert!(tokio::time::timeout(Duration::from_millis(20), sleep).await.is_err());
                }
            }
            Ok("done".into())
        };
        config.route("/{what}", web::get().to(handler));
    });
    let paths: Vec<_> = (0..80).map(|i| format!("/{i}")).collect();
    let answers = join_all(paths.iter().map(|path| app.get(path))).await;
    for answer in answers {
        // A session that ended between the loan and the statement fails it; that is no overdraft.
        assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
    }
    let refused = log::lines_with(&["too many connections", &role]);
    assert!(refused.is_empty(), "{refused:?}");
    assert_whole(&db).await;
    app.stop().await;
    db.close().await;
    admin.connection().batch_execute(&format!("DROP ROLE \"{role}\"")).await.expect("no role");
}

/// P11
#[actix_web::test]
async fn waiters_are_served_in_the_order_of_their_arrival() {
    let (_database, db) = connect(1).await;
    let all = borrow_all(&db).await;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..12_u32 {
        let (conn, served) = (db.connection(), Arc::clone(&served));
        waiting.push(tokio::spawn(async move {
            backend(&conn).await;
            served.lock().expect("a sound lock").push(number);
        }));
        eventually("it waits", async || db.status().pending_requests == number + 1).await;
    }
    // Those who give up are passed over, and cost nobody his turn.
    for number in [0, 5, 11] {
        waiting[number].abort();
    }
    eventually("they left", async || db.status().pending_requests == 9).await;
    drop(all);
    for (number, task) in waiting.into_iter().enumerate() {
        assert_eq!(soon("its turn", task).await.is_ok(), ![0, 5, 11].contains(&number));
    }
    assert_eq!(*served.lock().expect("a sound lock"), [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    assert_whole(&db).await;
}

/// P11: across workers, everybody has his turn. A statement takes longer than the lead that another worker may have, so each
/// of the other seven can be served before, and overtake once.
#[actix_web::test]
async fn no_worker_is_passed_over() {
    let (_database, db) = connect(1).await;
    let served = Arc::new(AtomicU32::new(0));
    let app = {
        let served = Arc::clone(&served);
        TestApp::start(&db, move |config| {
            let handler = move |conn: Connection| {
                let served = Arc::clone(&served);
                async move {
                    let before = served.load(Ordering::Relaxed);
                    conn.query("SELECT pg_sleep(0.01)", &[]).await.expect("a session");
                    (served.fetch_add(1, Ordering::Relaxed) - before).to_string()
                }
            };
            config.route("/", web::get().to(handler));
        })
    };
    let clients = (0..8).map(async |_| {
        let mut passed_over = 0;
        for _ in 0..20 {
            passed_over = app.get("/").await.ok().parse::<u32>().expect("a number").max(passed_over);
        }
        passed_over
    });
    let most = join_all(clients).await.into_iter().max();
    assert!(most < Some(24), "a request was passed over {most:?} times by eight clients");
    app.stop().await;
}

/// P13: a session that is idle anywhere in the process is anybody's.
#[actix_web::test]
async fn nobody_waits_while_a_session_is_idle() {
    let (_database, db) = connect(4).await;
    let (arrived, leave) = (Latch::new(), Latch::new());
    let app = {
        let (arrived, leave) = (arrived.clone(), leave.clone());
        TestApp::start(&db, move |config| {
            let handler = move |conn: Connection| {
                let (arrived, leave) = (arrived.clone(), leave.clone());
                async move {
                    let pid = backend(&conn).await;
                    arrived.hit();
                    leave.open().await;
                    pid.to_string()
                }
            };
            config.route("/", web::get().to(handler));
        })
    };
    // All were opened and returned by one runtime; now four requests on four workers hold all of them at once.
    drop(borrow_all(&db).await);
    all_returned(&db).await;
    let holding = join_all((0..4).map(|_| app.get("/")));
    let others = async {
        arrived.reached(4).await;
        assert_eq!((db.status().used, db.status().idle, db.status().pending_requests), (4, 0, 0));
        leave.hit();
    };
    let (answers, ()) = tokio::join!(holding, others);
    let mut pids: Vec<_> = answers.into_iter().map(|answer| answer.ok()).collect();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 4);
    app.stop().await;
}

/// P14, cases 10 and 28: past `acquire_timeout` it is a 503, which breaks nobody and loses no place.
#[actix_web::test]
async fn a_waiter_that_times_out_is_told_when_to_come_back() {
    log::keep();
    let database = database().await;
    let acquire_timeout = Duration::from_millis(150);
    let config = Config { acquire_timeout, ..sized(database.config(), 1) };
    let db = connected(config).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            Ok(conn.query_one_scalar::<i32>("SELECT 1", &[]).await?.to_string())
        };
        config.route("/", web::get().to(handler));
    });
    let all = borrow_all(&db).await;
    let answers = join_all((0..5).map(|_| soon("an answer", app.get("/")))).await;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key(RETRY_AFTER));
        assert_eq!(answer.body, "");
    }
    let err = db.connection().query("SELECT 1", &[]).await.expect_err("no session");
    assert!(
        matches!(err, Error::Acquire(AcquireError::TimedOut { acquire_timeout: bound, cause: None, .. }) if bound == acquire_timeout),
        "{err:?}"
    );
    assert!(!log::ours_with(&["no session became free within 150ms (`acquire_timeout`)"]).is_empty());
    drop(all);
    all_returned(&db).await;
    assert_eq!(app.get("/").await.ok(), "1");
    drop(borrow_all(&db).await);
    all_returned(&db).await;
    app.stop().await;
}

/// P14: one more than `max_waiting` does not wait.
#[actix_web::test]
async fn a_full_queue_is_refused_at_once() {
    let database = database().await;
    let config = Config { max_waiting: Some(1), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            Ok(conn.query_one_scalar::<i32>("SELECT 1", &[]).await?.to_string())
        };
        config.route("/", web::get().to(handler));
    });
    let all = borrow_all(&db).await;
    let first = app.get("/");
    let others = async {
        eventually("the first waits", async || db.status().pending_requests == 1).await;
        // `acquire_timeout` is longer than what `soon` allows.
        let second = soon("a refusal", app.get("/")).await;
        assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(second.headers.contains_key(RETRY_AFTER));
        let err = soon("a refusal", db.connection().query("SELECT 1", &[])).await.expect_err("no session");
        assert!(matches!(err, Error::Acquire(AcquireError::QueueFull { max_waiting: 1, .. })), "{err:?}");
        assert_eq!(db.status().pending_requests, 1);
        drop(all);
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.ok(), "1");
    assert_whole_one_by_one(&db).await;
    app.stop().await;
}

/// P14: `max_waiting = 0` lets nobody wait, and still lends what is free.
#[actix_web::test]
async fn with_no_queue_a_free_session_is_lent() {
    let database = database().await;
    let config = Config { max_waiting: Some(0), ..sized(database.config(), 2) };
    let db = connected(config).await;
    assert_whole_one_by_one(&db).await;
    let all = borrow_all(&db).await;
    let err = soon("a refusal", db.connection().query("SELECT 1", &[])).await.expect_err("no session");
    assert!(matches!(err, Error::Acquire(AcquireError::QueueFull { max_waiting: 0, .. })), "{err:?}");
    drop(all);
    assert_whole_one_by_one(&db).await;
}

/// A return in the background is no reason to wait for those who may not.
async fn assert_whole_one_by_one(db: &Database) {
    all_returned(db).await;
    // The permit follows the session.
    eventually("every place is free", async || {
        let conns: Vec<Connection> = (0..db.status().max).map(|_| db.connection()).collect();
        let borrowed = join_all(conns.iter().map(|conn| conn.query("SELECT 1", &[]))).await;
        borrowed.iter().all(|rows| rows.is_ok())
    })
    .await;
    assert_whole(db).await;
}
