//! A session is lent as if it were new, or not at all.

use std::time::Duration;

use actix_pg::{Config, Connection, Reset, Result};
use actix_web::web;
use futures_util::TryStreamExt;
use test_support::{
    FakeServer, Observer, Phase, TestApp, all_returned, assert_whole, backend, connect, connected,
    eventually, log, soon,
};

/// P17, case 18: what one request leaves on its session, the next does not find.
#[actix_web::test]
async fn nothing_is_left_for_the_next_borrower() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    observer.connection().batch_execute("CREATE TABLE kept (id int)").await.expect("a table");
    let role = format!("guest_{}", database.name());
    let sql = format!("CREATE ROLE \"{role}\"");
    observer.connection().batch_execute(&sql).await.expect("a role");
    let pid = backend(&db.connection()).await;
    let left = [
        "BEGIN; INSERT INTO kept VALUES (1)".to_owned(),
        "SET search_path = nowhere".to_owned(),
        format!("SET ROLE \"{role}\""),
        format!("SET SESSION AUTHORIZATION \"{role}\""),
        "SELECT pg_advisory_lock(1)".to_owned(),
        "CREATE TEMP TABLE scratch (id int)".to_owned(),
        "PREPARE mine AS SELECT 1".to_owned(),
        "LISTEN channel".to_owned(),
        "BEGIN; DECLARE cursed CURSOR WITH HOLD FOR SELECT 1; COMMIT".to_owned(),
        "SELECT set_config('application_name', 'somebody', false)".to_owned(),
    ];
    for sql in &left {
        db.connection().batch_execute(sql).await.unwrap_or_else(|err| panic!("{sql}: {err:?}"));
        all_returned(&db).await;
        let conn = db.connection();
        let found: Vec<String> = conn.query_scalar(LEFT_BEHIND, &[]).await.expect("a look around");
        assert_eq!(found, [] as [String; 0], "after {sql}");
        assert_eq!(backend(&conn).await, pid, "reset, not replaced, after {sql}");
    }
    let rows: i64 =
        observer.connection().query_one_scalar("SELECT count(*) FROM kept", &[]).await.expect("a count");
    assert_eq!(rows, 0);
    observer.connection().batch_execute(&format!("DROP ROLE \"{role}\"")).await.expect("no role");
}

const LEFT_BEHIND: &str = "\
    SELECT 'search_path' WHERE current_setting('search_path') = 'nowhere' \
    UNION ALL SELECT 'name' WHERE current_setting('application_name') = 'somebody' \
    UNION ALL SELECT 'role' WHERE current_user LIKE 'guest%' OR session_user LIKE 'guest%' \
    UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() \
    UNION ALL SELECT 'table' FROM pg_class WHERE relpersistence = 't' AND relname = 'scratch' \
    UNION ALL SELECT 'prepared' FROM pg_prepared_statements WHERE from_sql \
    UNION ALL SELECT 'listen' FROM pg_listening_channels() \
    UNION ALL SELECT 'cursor' FROM pg_cursors WHERE name = 'cursed' \
    UNION ALL SELECT 'transaction' FROM kept";

/// P17, case 18: nor what was done through the client itself.
#[actix_web::test]
async fn what_was_done_through_the_client_is_undone() {
    let (_database, db) = connect(1).await;
    let client = db.connection().client().await.expect("a client");
    client
        .batch_execute("CREATE TEMP TABLE scratch (id int); BEGIN; SET search_path = nowhere")
        .await
        .expect("a mess");
    drop(client);
    let conn = db.connection();
    let path: String = conn.query_one_scalar("SHOW search_path", &[]).await.expect("a path");
    assert_eq!(path, r#""$user", public"#);
    assert!(conn.execute("SELECT * FROM scratch", &[]).await.is_err());
}

/// P17: a request that ran nothing but plain statements costs no message at its end.
#[actix_web::test]
async fn a_clean_session_is_not_reset() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    for sql in
        ["SELECT lower(name) FROM users", "INSERT INTO a VALUES (1)", "DELETE FROM a", "UPDATE a SET b = 1"]
    {
        db.connection().execute(sql, &[]).await.expect("an answer");
        all_returned(&db).await;
    }
    assert_eq!(server.simple_queries(), [] as [String; 0]);
    db.connection().execute("SELECT my_function()", &[]).await.expect("an answer");
    eventually("the reset", async || server.passed(Phase::Simple) == 1).await;
    all_returned(&db).await;
    assert_eq!(server.backends(), 1);
}

/// P17: `reset = always` and `never`.
#[actix_web::test]
async fn a_reset_is_what_was_asked_for() {
    let server = FakeServer::start().await;
    let config = Config { reset: Reset::Always, ..server.config(1) };
    let always = connected(config).await;
    always.connection().execute("SELECT 1", &[]).await.expect("an answer");
    eventually("the reset", async || server.passed(Phase::Simple) == 1).await;
    let unused = always.connection();
    drop(unused);

    let server = FakeServer::start().await;
    let config = Config { reset: Reset::Never, ..server.config(1) };
    let never = connected(config).await;
    never.connection().execute("SET search_path = nowhere", &[]).await.expect("an answer");
    all_returned(&never).await;
    never.connection().execute("BEGIN", &[]).await.expect("an answer");
    eventually("the rollback", async || server.passed(Phase::Simple) == 1).await;
    all_returned(&never).await;
    let sent = server.simple_queries();
    let [rollback] = &sent[..] else { panic!("{sent:?}") };
    let (rollback, number) = rollback.split_once(";SELECT ").expect("a question behind it");
    assert_eq!(rollback, "ROLLBACK");
    assert!(number.trim_matches('\'').parse::<u64>().is_ok(), "{number}");
}

/// P17, case 20: a reset that does not end discards the session, and the response was long gone.
#[actix_web::test]
async fn a_reset_that_fails_costs_the_session_and_not_the_response() {
    log::keep();
    let server = FakeServer::start().await;
    let config = Config { reset_timeout: Duration::from_millis(100), ..server.config(1) };
    let db = connected(config).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<&'static str> {
            conn.execute("SET search_path = nowhere", &[]).await?;
            Ok("set")
        };
        config.route("/", web::get().to(handler));
    });
    server.hold(Phase::Simple);
    assert_eq!(soon("an answer", app.get("/")).await.ok(), "set");
    // Until the reset has been answered, or given up, nobody is lent the session.
    let next = app.get("/");
    let others = async {
        eventually("the reset is given up", async || server.passed(Phase::Cancel) == 1).await;
        server.open(Phase::Simple);
    };
    let (next, ()) = tokio::join!(next, others);
    assert_eq!(next.ok(), "set");
    assert_eq!(server.passed(Phase::Connect), 2);
    assert!(!log::ours_with(&["WARN", "could not be reset"]).is_empty());
    assert_whole(&db).await;
    app.stop().await;
}

/// P18: an abandoned statement is cancelled; until it has ended no other starts on its session.
#[actix_web::test]
async fn an_abandoned_statement_is_cancelled_before_the_next_starts() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let conn = db.connection();
    server.hold(Phase::Statement);
    server.hold(Phase::Cancel);
    let abandoned = {
        let conn = conn.clone();
        tokio::spawn(async move { conn.execute("INSERT INTO a", &[]).await })
    };
    eventually("it runs", async || server.before(Phase::Statement) == 1).await;
    abandoned.abort();
    eventually("it is to be cancelled", async || server.before(Phase::Cancel) == 1).await;
    server.answer("INSERT INTO b");
    let next = {
        let conn = conn.clone();
        tokio::spawn(async move { conn.execute("INSERT INTO b", &[]).await })
    };
    backend_is_quiet(&server).await;
    assert!(!next.is_finished());
    server.open(Phase::Cancel);
    assert_eq!(soon("an answer", next).await.expect("joined").expect("an answer"), 1);
    assert_eq!((server.passed(Phase::Statement), server.backends()), (1, 1));
    drop(conn);
    all_returned(&db).await;
}

/// Gives everybody the time to do what they should not.
async fn backend_is_quiet(server: &FakeServer) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.passed(Phase::Statement), 0);
}

/// P18: one abandoned statement beside a living one is not cancelled.
#[actix_web::test]
async fn a_living_statement_is_not_hit_by_anothers_cancel() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let conn = db.connection();
    server.hold(Phase::Statement);
    let start = |sql: &'static str| {
        let conn = conn.clone();
        tokio::spawn(async move { conn.execute(sql, &[]).await })
    };
    let living = start("INSERT INTO a");
    eventually("it runs", async || server.before(Phase::Statement) == 1).await;
    let abandoned = start("INSERT INTO b");
    tokio::task::yield_now().await;
    abandoned.abort();
    let _ = abandoned.await;
    server.open(Phase::Statement);
    assert_eq!(soon("an answer", living).await.expect("joined").expect("an answer"), 1);
    drop(conn);
    all_returned(&db).await;
    assert_whole(&db).await;
}

/// P17: a row stream that is dropped unread is cancelled, not read to its end by the next borrower.
#[actix_web::test]
async fn unread_rows_are_nobodys() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    for _ in 0..5 {
        let sql = "SELECT generate_series(1, 100000001)";
        let mut rows = db.connection().query_raw(sql, &[]).await.expect("rows");
        rows.try_next().await.expect("a row");
        drop(rows);
        let one: i32 = soon("a row", db.connection().query_one_scalar("SELECT 1", &[])).await.expect("a row");
        assert_eq!(one, 1);
    }
    assert_eq!(observer.running("100000001").await, 0);
    assert_whole(&db).await;
}
