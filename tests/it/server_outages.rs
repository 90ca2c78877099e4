//! The server goes away, and comes back.

use std::time::{Duration, Instant};

use actix_pg::testing::Postgres;
use actix_pg::{AcquireError, Config, Database, Error};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use test_support::{
    FakeServer, Observer, Phase, Proxy, TestApp, all_returned, assert_whole, backend, connect, connected,
    database, eventually, log, routes, serves_again, sized, soon,
};

/// Waits until home has been told of everything that happened on its sockets before.
async fn noticed(observer: &Observer) {
    for _ in 0..3 {
        backend(&observer.connection()).await;
    }
}

/// P14: nothing alive and the server down is a 503 at once, with the cause in the log; when it is back, so are we.
#[actix_web::test]
async fn with_the_server_down_the_answer_comes_at_once() {
    log::keep();
    let postgres = Postgres::builder().start().expect("a server");
    // Far beyond what `soon` allows.
    let config = Config { acquire_timeout: Duration::from_secs(300), ..sized(postgres.config(), 2) };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    assert_eq!(app.get("/").await.ok(), "1");
    for stop in [Postgres::stop, Postgres::crash] {
        stop(&postgres).expect("a stopped server");
        for _ in 0..3 {
            let answer = soon("a refusal", app.get("/")).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers.contains_key(RETRY_AFTER));
            assert_eq!(answer.body, "");
        }
        let err = soon("a refusal", db.connection().query("SELECT 1", &[])).await.expect_err("no server");
        assert!(matches!(err, Error::Acquire(AcquireError::Unavailable(_))), "{err:?}");
        let server = format!("cannot connect to 127.0.0.1:{}", postgres.port());
        assert!(!log::ours_with(&["ERROR", "request failed", &server, "refused"]).is_empty());
        postgres.start_again().expect("a server again");
        serves_again(&app).await;
    }
    assert_whole(&db).await;
    app.stop().await;
}

/// P14: a login that is refused meanwhile is no reason to wait either.
#[actix_web::test]
async fn with_the_login_refused_the_answer_comes_at_once() {
    let postgres = Postgres::builder().start().expect("a server");
    let config = Config { acquire_timeout: Duration::from_secs(300), ..sized(postgres.config(), 2) };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    postgres.hba(&["host all all 127.0.0.1/32 reject"]).expect("new rules");
    assert_eq!(app.get("/").await.ok(), "1", "who is logged in stays so");
    let pid = backend(&db.connection()).await;
    let through_socket = Config {
        host: postgres.socket_dir().expect("a directory").display().to_string(),
        port: postgres.port(),
        ..sized(Config::default(), 1)
    };
    let admin = Database::connect(through_socket).await.expect("an administrator");
    let sql = "SELECT pg_terminate_backend($1, 5000)";
    assert!(admin.connection().query_one_scalar::<bool>(sql, &[&pid]).await.expect("an end"));
    for _ in 0..3 {
        backend(&admin.connection()).await;
    }
    let answer = soon("a refusal", app.get("/")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let err = soon("a refusal", db.connection().query("SELECT 1", &[])).await.expect_err("no login");
    assert_eq!(err.code().map(|code| code.code()), Some("28000"), "{err:?}");
    postgres.hba(&["host all all 127.0.0.1/32 trust"]).expect("new rules");
    serves_again(&app).await;
    app.stop().await;
}

/// P14: with others alive, whoever cannot be given a new session waits for one of those.
#[actix_web::test]
async fn while_a_session_lives_a_failed_connect_waits_for_it() {
    let postgres = Postgres::builder().start().expect("a server");
    let db = connected(sized(postgres.config(), 2)).await;
    let alive = db.connection();
    let pid = backend(&alive).await;
    postgres.hba(&["host all all 127.0.0.1/32 reject"]).expect("new rules");
    let waiting = {
        let conn = db.connection();
        tokio::spawn(async move { conn.query_one_scalar::<i32>("SELECT pg_backend_pid()", &[]).await })
    };
    eventually("it was refused", async || {
        !log::ours_with(&["cannot open a session", &format!("127.0.0.1:{}", postgres.port())]).is_empty()
    })
    .await;
    assert!(!waiting.is_finished());
    drop(alive);
    assert_eq!(soon("the session", waiting).await.expect("joined").expect("a row"), pid);
    postgres.hba(&["host all all 127.0.0.1/32 trust"]).expect("new rules");
    assert_whole(&db).await;
}

/// P14: and when none comes back in time, the error names the cause.
#[actix_web::test]
async fn past_the_time_out_the_cause_is_named() {
    let postgres = Postgres::builder().start().expect("a server");
    let config = Config { acquire_timeout: Duration::from_millis(400), ..sized(postgres.config(), 2) };
    let db = connected(config).await;
    let alive = db.connection();
    backend(&alive).await;
    postgres.hba(&["host all all 127.0.0.1/32 reject"]).expect("new rules");
    let err = soon("an error", db.connection().query("SELECT 1", &[])).await.expect_err("no session");
    let Error::Acquire(AcquireError::TimedOut { cause: Some(cause), .. }) = &err else { panic!("{err:?}") };
    assert_eq!(cause.code().map(|code| code.code()), Some("28000"));
    backend(&alive).await;
}

/// P15: a session that has just been returned is lent without a round trip.
#[actix_web::test]
async fn a_fresh_session_is_not_checked() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    for _ in 0..5 {
        db.connection().execute("INSERT INTO a", &[]).await.expect("an answer");
        all_returned(&db).await;
    }
    assert_eq!((server.passed(Phase::Check), server.passed(Phase::Simple)), (0, 0));
    assert_eq!(server.passed(Phase::Statement), 5);
}

/// P15: one that has idled for longer than `test_after_idle` is.
#[actix_web::test]
async fn a_session_that_has_idled_is_checked_first() {
    let server = FakeServer::start().await;
    let config = Config { test_after_idle: Duration::ZERO, ..server.config(1) };
    let db = connected(config).await;
    for checks in 1..=5 {
        db.connection().execute("INSERT INTO a", &[]).await.expect("an answer");
        all_returned(&db).await;
        assert_eq!(server.passed(Phase::Check), checks);
    }
    assert_eq!(server.backends(), 1);
}

/// P15: one that does not answer the check is replaced, and the request does not notice.
#[actix_web::test]
async fn a_session_that_fails_its_check_is_replaced() {
    let server = FakeServer::start().await;
    let config = Config { test_after_idle: Duration::from_millis(50), ..server.config(1) };
    let db = connected(config).await;
    server.hold(Phase::Check);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let answer = {
        let conn = db.connection();
        tokio::spawn(async move { conn.execute("INSERT INTO a", &[]).await })
    };
    eventually("the check", async || server.before(Phase::Check) == 1).await;
    // The place of a session that does not answer is free at once.
    assert_eq!(soon("an answer", answer).await.expect("joined").expect("an answer"), 1);
    assert_eq!((db.status().open, server.passed(Phase::Connect)), (1, 2));
    server.open(Phase::Check);
    eventually("it has ended", async || server.backends() == 1).await;
}

/// P14, P15: a network that swallows everything is a 503, not a hang; and it may be a slow one before and after.
#[actix_web::test]
async fn a_network_that_swallows_everything_is_not_waited_for() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let config = Config {
        acquire_timeout: Duration::from_millis(300),
        test_after_idle: Duration::ZERO,
        ..sized(config, 1)
    };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    proxy.delay(Duration::from_millis(1));
    assert_eq!(app.get("/").await.ok(), "1");
    proxy.stall();
    let since = Instant::now();
    let answer = soon("a refusal", app.get("/")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(since.elapsed() < Duration::from_millis(550), "{:?} with a bound of 300 ms", since.elapsed());
    proxy.heal();
    eventually("it serves again", async || app.get("/").await.status == StatusCode::OK).await;
    app.stop().await;
}

/// P15: the operating system is told to ask after a silent server, by default.
#[cfg(target_os = "linux")]
#[actix_web::test]
async fn silence_is_watched_by_keepalive() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let port = server.port();
    // Column 5 is the timer that runs on the socket; 2 is that of keepalive.
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the sockets of this machine");
    let timers: Vec<_> = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| {
            columns.len() > 5 && columns[2].ends_with(&format!(":{port:04X}")) && columns[3] == "01"
        })
        .map(|columns| columns[5].split(':').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(timers, ["02"]);
    drop(db);
}

/// Case 19: ended while it idled, the next request does not notice.
#[actix_web::test]
async fn a_backend_that_ends_while_idle_is_not_noticed() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    for _ in 0..10 {
        let pid = backend(&db.connection()).await;
        observer.terminate(pid).await;
        noticed(&observer).await;
        assert_ne!(backend(&db.connection()).await, pid);
    }
    assert_whole(&db).await;
    assert_eq!(observer.backends().await, 1);
}

/// Case 19: ended while it was held, a typed error, and the same handle works again after `release()`.
#[actix_web::test]
async fn a_backend_that_ends_while_held_is_a_typed_error() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let pid = backend(&conn).await;
    observer.terminate(pid).await;
    noticed(&observer).await;
    for _ in 0..2 {
        let err = soon("an error", conn.query("SELECT 1", &[])).await.expect_err("no backend");
        assert!(matches!(err, Error::Postgres(_) | Error::SessionLost), "{err:?}");
        assert_eq!(actix_web::ResponseError::status_code(&err), StatusCode::SERVICE_UNAVAILABLE);
    }
    conn.release().expect("nothing runs");
    assert_ne!(backend(&conn).await, pid);
    drop(conn);
    assert_whole(&db).await;
}

/// Case 19: ended in the middle of a statement, a typed error; the pool heals.
#[actix_web::test]
async fn a_backend_that_ends_in_mid_query_is_a_typed_error() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let pid = backend(&conn).await;
    let (failed, ()) = tokio::join!(conn.execute("SELECT pg_sleep(3604)", &[]), async {
        observer.sees("pg_sleep(3604)").await;
        observer.terminate(pid).await;
    });
    let err = failed.expect_err("no backend");
    assert_eq!(err.code().map(|code| code.code()), Some("57P01"), "{err:?}");
    assert_eq!(actix_web::ResponseError::status_code(&err), StatusCode::SERVICE_UNAVAILABLE);
    drop(conn);
    assert_whole(&db).await;
}

/// P16: the floor is held: what ended is opened anew without being asked for.
#[actix_web::test]
async fn the_floor_is_held() {
    let database = database().await;
    let config = Config { pool_min_size: 2, pool_max_size: 3, ..database.config() };
    let db = connected(config).await;
    assert_eq!((db.status().open, db.status().idle), (2, 2));
    let observer = Observer::of(&database).await;
    let pid = backend(&db.connection()).await;
    observer.terminate(pid).await;
    noticed(&observer).await;
    // The dead one is found by whoever borrows it.
    backend(&db.connection()).await;
    eventually("two are idle", async || db.status().idle >= 2 && observer.backends().await >= 2).await;
}

/// P16: an idle session is closed after `idle_timeout`, and one that is too old does not come back.
#[actix_web::test]
async fn sessions_do_not_live_for_ever() {
    let database = database().await;
    let idle_timeout = Some(Duration::from_millis(1));
    let idle = connected(Config { idle_timeout, ..sized(database.config(), 1) }).await;
    eventually("it is closed", async || idle.status().open == 0).await;
    backend(&idle.connection()).await;

    let max_lifetime = Some(Duration::from_millis(1));
    let old = connected(Config { max_lifetime, ..sized(database.config(), 1) }).await;
    let conn = old.connection();
    let first = backend(&conn).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(backend(&conn).await, first, "no session ends in the middle of a request");
    conn.release().expect("nothing runs");
    assert_ne!(backend(&conn).await, first);
}

/// P14: where nobody may wait, those who are turned away are reason enough to try again; and the cause is not a full queue.
#[actix_web::test]
async fn an_outage_ends_where_nobody_may_wait() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let config =
        Config { max_waiting: Some(0), acquire_timeout: Duration::from_millis(300), ..sized(config, 2) };
    let db = connected(config).await;
    let ask = async || db.connection().query_one_scalar::<i32>("SELECT 1", &[]).await;
    let held = db.connection();
    backend(&held).await;
    proxy.refuse();
    let err = ask().await.expect_err("no second session");
    assert!(matches!(err, Error::Acquire(AcquireError::TimedOut { cause: Some(_), .. })), "{err:?}");
    proxy.heal();
    let back = Instant::now();
    while ask().await.is_err() {
        assert!(back.elapsed() < Duration::from_millis(1500), "no answer within 1.5 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
    proxy.refuse();
    proxy.cut();
    eventually("no session is left", async || db.status().open == 0).await;
    for _ in 0..3 {
        let err = ask().await.expect_err("no session");
        assert!(matches!(err, Error::Acquire(AcquireError::Unavailable(_))), "{err:?}");
    }
}

/// P14: those who waited for the last session that was alive are told when it has ended, not after the next attempt.
#[actix_web::test]
async fn when_the_last_session_ends_in_an_outage_nobody_waits() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 2)).await;
    let observer = Observer::of(&database).await;
    let alive = db.connection();
    let pid = backend(&alive).await;
    proxy.refuse();
    let waiting = {
        let conn = db.connection();
        tokio::spawn(async move { conn.query("SELECT 1", &[]).await })
    };
    // After 100, 200, 400 and 800 ms; the next one comes after 800 ms at least.
    eventually("a few attempts", async || proxy.refused() >= 5).await;
    assert!(!waiting.is_finished());
    observer.terminate(pid).await;
    drop(alive);
    let since = Instant::now();
    let err = soon("a refusal", waiting).await.expect("joined").expect_err("no session");
    assert!(matches!(err, Error::Acquire(AcquireError::Unavailable(_))), "{err:?}");
    assert!(since.elapsed() < Duration::from_millis(400), "{:?}", since.elapsed());
}

/// P11, P15: a session that has answered its check when nobody waits for it any more is the next one's.
#[actix_web::test]
async fn a_check_that_nobody_waits_for_costs_no_session() {
    let server = FakeServer::start().await;
    let config = Config { test_after_idle: Duration::ZERO, ..server.config(1) };
    let db = connected(config).await;
    let conn = db.connection();
    let mut given_up = Box::pin(conn.execute("INSERT INTO a", &[]));
    server.hold(Phase::Check);
    assert!(futures_util::poll!(&mut given_up).is_pending());
    eventually("the check", async || server.before(Phase::Check) == 1).await;
    server.open(Phase::Check);
    eventually("the answer", async || server.passed(Phase::Check) == 1).await;
    // Until home has read it.
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(given_up);
    db.connection().execute("INSERT INTO a", &[]).await.expect("an answer");
    assert_eq!(server.passed(Phase::Connect), 1);
}
