//! Warnings name the line of the application and its route, and come while the matter lasts.

use std::pin::pin;
use std::time::Duration;

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{
    Config, Connection, Database, RequestTransaction, Result, Transaction, Warning, WarningKind, Watch,
};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, rt, web};
use futures_util::{FutureExt, Stream, StreamExt};
use test_support::{Observer, eventually};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A database that is dropped at the end of the test, and a pool on it.
async fn connected(config: Config) -> (TestDatabase, Database) {
    let database = Postgres::shared().expect("a server").database().await.expect("a database");
    let config = Config { dsn: Some(database.dsn().to_owned()), ..config };
    let db = Database::connect(config).await.expect("a connected database");
    (database, db)
}

async fn next(warnings: impl Stream<Item = Warning>) -> Warning {
    let mut warnings = pin!(warnings);
    timeout(Duration::from_secs(10), warnings.next())
        .await
        .expect("a warning in time")
        .expect("an open stream")
}

/// The line on which `marker` stands in this file.
fn line_of(marker: &str) -> Option<String> {
    let text = include_str!("warnings.rs");
    let at = text.lines().position(|line| line.contains(&format!("// {marker}")))?;
    Some(format!("{}:{}", file!(), at + 1))
}

async fn slow(conn: Connection) -> Result<HttpResponse> {
    conn.query("SELECT pg_sleep(0.06), $1::int", &[&1]).await?; // slow statement
    Ok(HttpResponse::Ok().finish())
}

#[actix_web::test]
async fn a_slow_statement_is_named_with_its_line_and_route() {
    let (_database, db) =
        connected(Config { slow_statement: Some(Duration::from_millis(50)), ..Config::default() }).await;
    let watch = db.watch();
    let warnings = watch.warnings();
    let app = App::new().wrap(db.middleware()).route("/slow/{id}", web::get().to(slow));
    let app = init_service(app).await;
    call_service(&app, TestRequest::with_uri("/slow/7").to_request()).await;
    let warning = next(warnings).await;
    assert_eq!(warning.kind, WarningKind::SlowStatement);
    assert_eq!(
        (warning.caller.clone(), warning.route.as_deref()),
        (line_of("slow statement"), Some("/slow/{id}"))
    );
    assert_eq!(warning.statement.as_deref(), Some("SELECT"));
    assert!(warning.duration >= Some(Duration::from_millis(50)));
    assert_eq!(warning.to_string().lines().count(), 1);
}

async fn holds(conn: Connection, gate: web::Data<Notify>) -> Result<HttpResponse> {
    conn.execute("SELECT 1", &[]).await?; // long hold
    gate.notified().await;
    Ok(HttpResponse::Ok().finish())
}

/// P25: while the session is held, and with what is done on it.
#[actix_web::test]
async fn whoever_holds_a_session_for_long_is_named_while_he_does() {
    let (_database, db) =
        connected(Config { long_hold: Some(Duration::from_millis(40)), ..Config::default() }).await;
    let watch = db.watch();
    let gate = web::Data::new(Notify::new());
    let app = App::new().wrap(db.middleware()).app_data(gate.clone()).route("/held", web::get().to(holds));
    let app = init_service(app).await;
    let warnings = watch.warnings();
    let request = call_service(&app, TestRequest::with_uri("/held").to_request());
    let mut request = pin!(request);
    let warning = tokio::select! {
        warning = next(warnings) => warning,
        _ = &mut request => panic!("the request waits for the warning"),
    };
    assert_eq!((warning.kind, warning.doing), (WarningKind::LongHold, Some("idle")));
    assert_eq!((warning.caller, warning.route.as_deref()), (line_of("long hold"), Some("/held")));
    let session =
        watch.sessions().into_iter().find(|session| session.caller.is_some()).expect("a held session");
    assert_eq!((session.caller, session.route.as_deref()), (line_of("long hold"), Some("/held")));
    gate.notify_one();
    request.await;
}

/// Nothing ends the hold of a connection that somebody keeps.
#[actix_web::test]
async fn a_connection_that_is_kept_is_named_as_one() {
    let (_database, db) =
        connected(Config { long_hold: Some(Duration::from_millis(40)), ..Config::default() }).await;
    let watch = db.watch();
    let kept = db.connection();
    kept.execute("SELECT 1", &[]).await.expect("a session"); // kept
    let warning = next(watch.warnings()).await;
    assert_eq!((warning.kind, warning.caller.clone()), (WarningKind::LongHold, line_of("kept")));
    let doing = "idle, kept by a Database::connection() until its release() or its drop";
    assert_eq!(warning.doing, Some(doing), "{warning}");
}

/// A pool of one session, for which a slow wait is that long.
fn one_session(slow_acquire: Duration) -> Config {
    Config { pool_min_size: 1, pool_max_size: 1, slow_acquire: Some(slow_acquire), ..Config::default() }
}

#[actix_web::test]
async fn a_wait_for_a_session_is_named_while_it_lasts() {
    let config = one_session(Duration::from_millis(40));
    let (_database, db) = connected(config).await;
    let watch = db.watch();
    let warnings = watch.warnings();
    let first = db.connection();
    first.execute("SELECT 1", &[]).await.expect("a session");
    let second = db.connection();
    let waiting = rt::spawn(async move {
        second.query("SELECT 2", &[]).await // slow borrow
    });
    let warning = next(warnings).await;
    assert_eq!((warning.kind, warning.caller), (WarningKind::SlowAcquire, line_of("slow borrow")));
    assert_eq!(db.status().pending_requests, 1);
    first.release().expect("nothing runs");
    waiting.await.expect("no panic").expect("a row");
}

#[actix_web::test]
async fn a_ping_that_waits_is_named_while_it_does() {
    let config = one_session(Duration::from_millis(40));
    let (_database, db) = connected(config).await;
    let watch = db.watch();
    let mut warnings = pin!(watch.warnings());
    let held = db.connection();
    for bounded in [false, true] {
        held.execute("SELECT 1", &[]).await.expect("a session");
        let db = db.clone();
        let waiting = rt::spawn(async move {
            match bounded {
                false => db.ping().await,                              // ping
                true => db.ping_within(Duration::from_secs(60)).await, // bounded ping
            }
        });
        let warning = next(&mut warnings).await;
        let line = line_of(if bounded { "bounded ping" } else { "ping" });
        assert_eq!((warning.kind, warning.caller), (WarningKind::SlowAcquire, line));
        held.release().expect("nothing runs");
        waiting.await.expect("no panic").expect("an answer");
    }
}

/// What looks whether a wait is slow ends with the wait, and keeps no pool that has been dropped.
#[actix_web::test]
async fn a_wait_that_is_over_keeps_nothing() {
    let config = one_session(Duration::from_secs(3600));
    let (database, db) = connected(config).await;
    let (first, second) = (db.connection(), db.connection());
    first.execute("SELECT 1", &[]).await.expect("a session");
    let mut waiting = Box::pin(second.query("SELECT 2", &[]));
    assert!((&mut waiting).now_or_never().is_none());
    first.release().expect("nothing runs");
    waiting.as_mut().await.expect("a row");
    drop(waiting);
    drop((first, second, db));
    let observer = Observer::of(&database).await;
    eventually("no backend is left", async || observer.backends().await == 0).await;
}

#[actix_web::test]
async fn the_same_statement_over_and_over_is_named_once() {
    let (_database, db) = connected(Config { repeated_statement: Some(3), ..Config::default() }).await;
    let watch = db.watch();
    let warnings = watch.warnings();
    let conn = db.connection();
    for id in 0..10_i32 {
        conn.query("SELECT $1::int", &[&id]).await.expect("a row"); // repeated
    }
    conn.query("SELECT 'another'", &[]).await.expect("a row");
    drop(watch);
    let mut warnings = pin!(warnings);
    let warning = next(&mut warnings).await;
    assert_eq!((warning.kind, warning.times), (WarningKind::RepeatedStatement, Some(3)));
    assert_eq!(warning.caller, line_of("repeated"));
    assert!(timeout(Duration::from_millis(50), warnings.next()).await.is_err(), "a second warning");
}

/// A read that a shared session could not answer, and that ran again on a session of its own, is one statement.
#[actix_web::test]
async fn a_shared_read_that_ran_again_counts_once() {
    let config = Config { repeated_statement: Some(3), shared_reads: 1, ..Config::default() };
    let (_database, db) = connected(config).await;
    let schema = "CREATE SEQUENCE draws; CREATE VIEW drawn AS SELECT nextval('draws') AS number";
    db.connection().batch_execute(schema).await.expect("a view");
    let watch = db.watch();
    let mut warnings = pin!(watch.warnings());
    let sql = "SELECT number FROM drawn";
    // The request in which the server refuses it on the shared session.
    let conn = timeout(Duration::from_secs(10), async {
        loop {
            let conn = db.connection();
            for _ in 0..2 {
                conn.query(sql, &[]).await.expect("a number");
            }
            if db.status().counters.shared_reads == 1 {
                return conn;
            }
        }
    });
    let conn = conn.await.expect("a shared read");
    assert_eq!(warnings.next().now_or_never(), None);
    conn.query(sql, &[]).await.expect("a number");
    let warning = next(&mut warnings).await;
    assert_eq!((warning.kind, warning.times), (WarningKind::RepeatedStatement, Some(3)));
    // One that a shared session does answer counts as well.
    let answered = "SELECT 'shared'";
    eventually("a read is shared", async || {
        let conn = db.connection();
        conn.query(answered, &[]).await.expect("a row");
        db.status().counters.shared_reads > 1
    })
    .await;
    let conn = db.connection();
    for _ in 0..3 {
        conn.query(answered, &[]).await.expect("a row");
        conn.release().expect("nothing runs");
    }
    let warning = next(&mut warnings).await;
    assert_eq!((warning.kind, warning.times), (WarningKind::RepeatedStatement, Some(3)));
}

/// A text that is too long to be known is told from others, and known again, by what it says.
#[actix_web::test]
async fn long_statements_are_told_apart() {
    for statement_cache_size in [0, 1, 100] {
        let config = Config { repeated_statement: Some(3), statement_cache_size, ..Config::default() };
        let (_database, db) = connected(config).await;
        let watch = db.watch();
        let mut warnings = pin!(watch.warnings());
        let long = |what: &str| format!("SELECT {what} -- {}", "x".repeat(20_000));
        let conn = db.connection();
        for number in 0..20 {
            conn.query(&long(&number.to_string()), &[]).await.expect("a row");
        }
        assert_eq!(warnings.next().now_or_never(), None, "cache of {statement_cache_size}");
        let mut others = Vec::new();
        for _ in 0..3 {
            conn.query(&long("'the same'"), &[]).await.expect("a row");
            conn.release().expect("nothing runs");
            // Takes that session, so that the connection gets another one.
            others.push(db.connection());
            others[others.len() - 1].query("SELECT 1", &[]).await.expect("a row");
        }
        let warning = next(&mut warnings).await;
        assert_eq!((warning.kind, warning.times), (WarningKind::RepeatedStatement, Some(3)));
    }
}

async fn in_a_transaction(tx: RequestTransaction, db: web::Data<Database>) -> Result<HttpResponse> {
    tx.execute("SELECT 1", &[]).await?; // request transaction
    Ok(HttpResponse::Ok().body(latest_caller(&db.watch()).unwrap_or_default()))
}

/// The line that borrowed last. What was dropped, such as a copy or a transaction, may still be repaired on its session.
fn latest_caller(watch: &Watch) -> Option<String> {
    let held = watch.sessions().into_iter().filter(|session| session.caller.is_some());
    held.min_by_key(|session| session.since)?.caller
}

/// Every way to run a statement names its own line.
#[actix_web::test]
async fn every_verb_names_the_line_that_calls_it() {
    let (_database, db) =
        connected(Config { long_hold: Some(Duration::from_secs(3600)), ..Config::default() }).await;
    let watch = db.watch();
    let held = || latest_caller(&watch);
    let conn = db.connection();
    macro_rules! names_its_line {
        ($($statement:expr),+ $(,)?) => {
            let mut line = line!();
            $({
                // One a line.
                line += 1;
                let _kept = $statement.await.expect("a session");
                assert_eq!(held(), Some(format!("{}:{line}", file!())), "{}", stringify!($statement));
            }
            conn.release().expect("nothing runs");)+
        };
    }
    names_its_line!(
        conn.query("SELECT 1", &[]),
        conn.query_one("SELECT 1", &[]),
        conn.query_opt("SELECT 1", &[]),
        conn.query_scalar::<i32>("SELECT 1", &[]),
        conn.query_one_scalar::<i32>("SELECT 1", &[]),
        conn.query_opt_scalar::<i32>("SELECT 1", &[]),
        conn.query_raw("SELECT 1", &[]),
        conn.execute("SELECT 1", &[]),
        conn.batch_execute("SELECT 1"),
        conn.copy_out("COPY (SELECT 1) TO STDOUT"),
        conn.client(),
        conn.transaction(),
        conn.build_transaction().begin(),
    );
    let line = line!() + 1;
    conn.transact(async |tx: Transaction| {
        assert_eq!(held(), Some(format!("{}:{line}", file!())));
        tx.execute("SELECT 1", &[]).await
    })
    .await
    .expect("a transaction");
    conn.release().expect("nothing runs");

    let app = App::new().wrap(db.middleware()).route("/", web::get().to(in_a_transaction));
    let app = init_service(app).await;
    let res = call_service(&app, TestRequest::with_uri("/").to_request()).await;
    let body = actix_web::test::read_body(res).await;
    assert_eq!(Some(String::from_utf8_lossy(&body).into_owned()), line_of("request transaction"));
}
