//! The pool as most applications have it, 5 to 10 sessions and every option at its default, under load and in trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Error};
use actix_web::http::StatusCode;
use actix_web::rt;
use futures_util::future::join_all;
use test_support::{
    FakeServer, Observer, Phase, Proxy, TestApp, Wire, all_returned, connected, database, dsn_as, eventually,
    log, routes, serves_again, soon,
};
use tokio::time::sleep;

/// A role of this database's server that may have so many connections, and a configuration that logs in as it.
async fn limited(database: &TestDatabase, limit: u32) -> (String, Config) {
    let role = format!("limited_{}", database.name());
    let admin = connected(Config { pool_min_size: 1, ..database.config() }).await;
    let sql = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'limited' CONNECTION LIMIT {limit}");
    admin.connection().batch_execute(&sql).await.expect("a role");
    admin.close().await;
    let dsn = dsn_as(database, &role, "limited");
    (role, Config::from_dsn(&dsn).expect("a DSN"))
}

/// Runs clients against an app for a while: how many answers there were, the longest wait, and whatever was no 200.
async fn load(
    app: &TestApp,
    clients: usize,
    path: &str,
    time: Duration,
) -> (usize, Duration, Vec<StatusCode>) {
    let end = Instant::now() + time;
    let each = join_all((0..clients).map(async |_| {
        let (mut answers, mut longest, mut bad) = (0, Duration::ZERO, Vec::new());
        while Instant::now() < end {
            let since = Instant::now();
            let answer = app.get(path).await;
            longest = longest.max(since.elapsed());
            answers += 1;
            if answer.status != StatusCode::OK {
                bad.push(answer.status);
            }
        }
        (answers, longest, bad)
    }));
    let each = each.await;
    let longest = each.iter().map(|(_, longest, _)| *longest).max().unwrap_or_default();
    let answers = each.iter().map(|(answers, _, _)| answers).sum();
    (answers, longest, each.into_iter().flat_map(|(_, _, bad)| bad).collect())
}

/// P11: a server that has fewer connections than the pool may open is no reason for anybody to starve, nor to knock at its door
/// all the time.
#[actix_web::test]
async fn nobody_starves_on_a_server_with_too_few_connections() {
    let database = database().await;
    let (_role, config) = limited(&database, 5).await;
    let port = Postgres::shared().expect("a server").port();
    let proxy = Proxy::before(port).await;
    let dsn = proxy.dsn(&config.dsn.clone().expect("a DSN"));
    let db = connected(Config { dsn: Some(dsn), ..config }).await;
    let app = TestApp::start(&db, routes);
    let opened = proxy.accepted();
    let (answers, longest, bad) = load(&app, 64, "/slow", Duration::from_secs(4)).await;
    assert!(bad.is_empty() && answers > 100, "{answers} answers, {bad:?}");
    assert!(longest < Duration::from_secs(1), "somebody waited for {longest:?}");
    // Five at once; then after 100, 200, 400, 800 and 1,000 ms, a fifth less each.
    let attempts = proxy.accepted() - opened;
    assert!((1..=12).contains(&attempts), "{attempts} logins in 4 s");
    assert_eq!(db.status().open, 5);
    app.stop().await;
    db.close().await;
}

/// P10: the server counts a session until its goodbye has come, and would refuse one more; and there is one goodbye after the
/// other, because sessions idle too long and get too old.
#[actix_web::test]
async fn sessions_that_end_make_room_first() {
    let database = database().await;
    let (role, config) = limited(&database, 5).await;
    let proxy = Proxy::before(Postgres::shared().expect("a server").port()).await;
    let config = Config {
        dsn: Some(proxy.dsn(&config.dsn.clone().expect("a DSN"))),
        pool_max_size: 5,
        idle_timeout: Some(Duration::from_millis(1)),
        max_lifetime: Some(Duration::from_secs(1)),
        ..config
    };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    proxy.delay_goodbyes(Duration::from_millis(100));
    let logins = proxy.accepted();
    for clients in [1, 8] {
        let (_, _, bad) = load(&app, clients, "/", Duration::from_secs(3)).await;
        assert!(bad.is_empty(), "{bad:?}");
    }
    assert!(proxy.accepted() > logins + 5, "sessions ended, and others took their places");
    let refused = log::lines_with(&["too many connections", &role]);
    assert!(refused.is_empty(), "{refused:?}");
    app.stop().await;
    db.close().await;
}

/// P16: the floor is held while sessions end, but for the moment of a replacement.
#[actix_web::test]
async fn the_floor_is_held_while_sessions_end() {
    let database = database().await;
    let config = Config {
        idle_timeout: Some(Duration::from_millis(1)),
        max_lifetime: Some(Duration::from_secs(1)),
        ..database.config()
    };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    let done = Arc::new(AtomicBool::new(false));
    let watching = {
        let (db, done) = (db.clone(), Arc::clone(&done));
        rt::spawn(async move {
            let (mut below, mut since) = (Duration::ZERO, Instant::now());
            while !done.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(5)).await;
                if db.status().open < 4 {
                    below += since.elapsed();
                }
                since = Instant::now();
            }
            below
        })
    };
    for clients in [8, 1, 16] {
        let (_, _, bad) = load(&app, clients, "/tenant", Duration::from_millis(1500)).await;
        assert!(bad.is_empty(), "{bad:?}");
    }
    done.store(true, Ordering::Relaxed);
    // Sessions that are lent reach their lifetime together: for a moment more than one may be missing.
    let below = watching.await.expect("joined");
    assert!(below < Duration::from_millis(500), "fewer than four sessions for {below:?} of 4.5 s");
    app.stop().await;
    db.close().await;
}

/// P16: without load the floor is five sessions, and they are the same ones after they have idled too long.
#[actix_web::test]
async fn idle_sessions_end_down_to_the_floor_and_not_below() {
    let database = database().await;
    let config = Config { idle_timeout: Some(Duration::from_millis(1)), ..database.config() };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    let (_, _, bad) = load(&app, 32, "/slow", Duration::from_millis(300)).await;
    assert!(bad.is_empty(), "{bad:?}");
    let observer = Observer::of(&database).await;
    eventually("only the floor is left", async || db.status().open == 5).await;
    let oldest = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name <> 'observer' AND backend_type = 'client backend'";
    let pids = async || observer.connection().query_one_scalar::<String>(oldest, &[]).await.expect("a list");
    eventually("the server says so too", async || observer.backends().await == 5).await;
    let before = pids().await;
    // More than two rounds of those who look after idle sessions.
    sleep(Duration::from_millis(2600)).await;
    assert_eq!((pids().await, db.status().open), (before, 5));
    app.stop().await;
}

/// P16: five requests one after the other leave the five sessions that were there.
#[actix_web::test]
async fn one_client_needs_no_more_than_the_floor() {
    let database = database().await;
    let db = connected(database.config()).await;
    let app = TestApp::start(&db, routes);
    for path in ["/", "/tenant"] {
        for _ in 0..40 {
            // A connection each, so that every worker has its turn.
            Wire::to(&app).await.get(path).await;
        }
        assert_eq!(db.status().open, 5, "after {path}");
    }
    app.stop().await;
}

/// P11: a request that comes while the only session is being reset waits for that, and has no other one opened.
#[actix_web::test]
async fn one_client_with_settings_needs_two_sessions_at_most() {
    for (pool_min_size, reset) in [(1, "auto"), (0, "always"), (1, "never")] {
        let database = database().await;
        let reset =
            serde_json::from_value::<Config>(serde_json::json!({ "reset": reset })).expect("a mode").reset;
        let config = Config { pool_min_size, pool_max_size: 20, reset, ..database.config() };
        let db = connected(config).await;
        let app = TestApp::start(&db, routes);
        for _ in 0..40 {
            assert_eq!(Wire::to(&app).await.get("/tenant").await, "ada");
        }
        let mut kept = Wire::to(&app).await;
        for _ in 0..40 {
            assert_eq!(kept.get("/tenant").await, "ada");
        }
        let open = db.status().open;
        assert!(open <= 2, "{open} sessions for one client");
        app.stop().await;
    }
}

/// P11: a reset that hangs keeps one who waits for 10 ms, and no longer.
#[actix_web::test]
async fn a_reset_that_hangs_is_not_waited_for() {
    let server = FakeServer::start().await;
    let db = connected(server.config(2)).await;
    server.hold(Phase::Simple);
    let conn = db.connection();
    conn.execute("SET search_path = a", &[]).await.expect("an answer");
    drop(conn);
    eventually("the reset hangs", async || server.before(Phase::Simple) == 1).await;
    let since = Instant::now();
    assert_eq!(db.connection().execute("INSERT INTO a", &[]).await.expect("an answer"), 1);
    assert!(since.elapsed() < Duration::from_millis(500), "{:?}", since.elapsed());
    assert_eq!(server.passed(Phase::Connect), 2);
    server.open(Phase::Simple);
    all_returned(&db).await;
}

/// P14: `acquire_timeout` bounds a borrow as a whole, the checks of sessions that have died without a word included.
#[actix_web::test]
async fn sessions_that_do_not_answer_cost_no_more_than_the_time_out() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let bound = Duration::from_millis(400);
    let config = Config { acquire_timeout: bound, test_after_idle: Duration::ZERO, ..config };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    proxy.stall();
    for _ in 0..3 {
        let since = Instant::now();
        assert_eq!(app.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
        let took = since.elapsed();
        assert!(took < bound + Duration::from_millis(250), "{took:?} with a bound of {bound:?}");
    }
    proxy.heal();
    soon("it serves again", async { while app.get("/").await.status != StatusCode::OK {} }).await;
    app.stop().await;
}

/// P15: a network that forgets idle connections costs the first request one check, however many there were.
#[actix_web::test]
async fn connections_that_the_network_forgot_cost_one_check() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let config = Config { test_after_idle: Duration::from_millis(20), pool_min_size: 10, ..config };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    sleep(Duration::from_millis(25)).await;
    proxy.forget();
    let since = Instant::now();
    assert_eq!(app.get("/").await.ok(), "1");
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}: a check takes 2 s at most");
    let (_, longest, bad) = load(&app, 16, "/", Duration::from_secs(1)).await;
    assert!(bad.is_empty() && longest < Duration::from_secs(1), "{longest:?} {bad:?}");
    app.stop().await;
}

/// P14, P16: while no other can be opened, sessions that are too old go on serving.
#[actix_web::test]
async fn an_outage_takes_no_session_for_its_age() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let config = Config { max_lifetime: Some(Duration::from_millis(500)), ..config };
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    proxy.refuse();
    let attempts = proxy.refused();
    eventually("no session can be opened", async || proxy.refused() > attempts).await;
    let (answers, _, bad) = load(&app, 8, "/tenant", Duration::from_secs(3)).await;
    assert!(bad.is_empty() && answers > 0, "{bad:?} of {answers}");
    assert!(db.status().open >= 4, "{:?}", db.status());
    proxy.heal();
    eventually("younger ones have replaced them", async || proxy.accepted() >= 10 && db.status().open >= 5)
        .await;
    app.stop().await;
}

/// P21: after `close()` nothing is opened or logged, also while a handle lives.
#[actix_web::test]
async fn after_close_there_is_silence() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(config).await;
    let server = format!("127.0.0.1:{}", proxy.port());
    let here = std::thread::current();
    let thread = format!("[{}]", here.name().unwrap_or_default());
    // The port may have been another test's.
    let opened = || log::ours_with(&["session opened", &server, &thread]).len();
    eventually("the floor is there", async || opened() == 5).await;
    let conn = db.connection();
    db.close().await;
    let accepted = proxy.accepted();
    let lines = || log::ours_with(&[&thread]);
    let before = lines();
    assert!(
        before.iter().all(|line| !line.starts_with("WARN") || line.contains("not encrypted")),
        "{before:?}"
    );
    // More than two rounds of those who look after sessions.
    sleep(Duration::from_millis(2600)).await;
    assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::Acquire(_))));
    assert_eq!((proxy.accepted(), db.status().open), (accepted, 0));
    assert_eq!(lines().len(), before.len(), "{:?}", lines());
}

/// P14, P22: an outage is logged when it begins and when it ends, and the server is asked now and then.
#[actix_web::test]
async fn an_outage_is_two_lines_and_a_few_attempts() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(config).await;
    let app = TestApp::start(&db, routes);
    let begun = || log::ours_with(&["WARN", "cannot open a session", &format!("127.0.0.1:{}", proxy.port())]);
    proxy.refuse();
    proxy.cut();
    eventually("the outage is noticed", async || begun().len() == 1).await;
    let refused = proxy.refused();
    let (answers, longest, bad) = load(&app, 8, "/", Duration::from_secs(4)).await;
    assert!(longest < Duration::from_millis(500), "at once, not after {longest:?}");
    assert!(bad.len() == answers && bad.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE));
    // After 100, 200, 400, 800, 1,000 … ms, a fifth less each; and those that were under way.
    let attempts = proxy.refused() - refused;
    assert!((4..=14).contains(&attempts), "{attempts} attempts in 4 s");
    proxy.heal();
    serves_again(&app).await;
    eventually("the floor is back", async || db.status().open >= 5).await;
    assert_eq!(begun().len(), 1);
    app.stop().await;
    db.close().await;
}

/// P14: a login that is refused is tried ever more rarely: servers lock accounts that fail too often.
#[actix_web::test]
async fn a_refused_login_is_tried_rarely() {
    let postgres = Postgres::builder().start().expect("a server");
    let proxy = Proxy::before(postgres.port()).await;
    let database = postgres.database().await.expect("a database");
    let dsn = proxy.dsn(database.dsn());
    let db = connected(Config::from_dsn(&dsn).expect("a DSN")).await;
    let app = TestApp::start(&db, routes);
    postgres.hba(&["host all all 127.0.0.1/32 reject"]).expect("new rules");
    proxy.cut();
    eventually("the outage is noticed", async || app.get("/").await.status != StatusCode::OK).await;
    // Those that were under way, and the first attempts.
    sleep(Duration::from_secs(1)).await;
    let before = proxy.accepted();
    let (_, _, bad) = load(&app, 8, "/", Duration::from_secs(5)).await;
    assert!(!bad.is_empty());
    // After 400, 800, 1,600, 3,200 and 5,000 ms, a fifth less each.
    let attempts = proxy.accepted() - before;
    assert!((1..=4).contains(&attempts), "{attempts} logins in 5 s");
    app.stop().await;
}

/// P16: a life that is shorter than a login is no reason to log in without end.
#[actix_web::test]
async fn sessions_that_are_too_old_are_replaced_once_a_round() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let config = Config { max_lifetime: Some(Duration::from_millis(1)), ..config };
    let _db = connected(config).await;
    sleep(Duration::from_millis(2300)).await;
    // Five at first, and in each of two rounds.
    assert!((10..=15).contains(&proxy.accepted()), "{} logins in 2.3 s", proxy.accepted());
}
