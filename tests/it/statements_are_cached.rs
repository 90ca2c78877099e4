//! A statement is prepared once per session.

use actix_pg::Config;
use test_support::{
    FakeServer, Proxy, all_returned, assert_whole, backend, connect, connected, database, sized,
};

const PREPARED: &str =
    "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql AND statement LIKE '%marker%'";

/// P19
#[actix_web::test]
async fn a_repeated_statement_is_prepared_once() {
    let (_database, db) = connect(1).await;
    for _ in 0..3 {
        db.connection().query("SELECT 1 AS marker", &[]).await.expect("a row");
    }
    let conn = db.connection();
    assert_eq!(
        conn.query_one_scalar::<i64>(PREPARED, &[]).await.expect("a count"),
        2,
        "itself and the marker"
    );
}

/// P19: for code that prepares by itself, too, and from the same cache as the verbs. In one round trip, as generated code does it.
#[actix_web::test]
async fn what_a_client_prepares_is_cached() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let conn = db.connection();
    conn.query("SELECT $1::int AS marker", &[&1]).await.expect("a row");
    let client = conn.client().await.expect("a client");
    for number in 0..3 {
        let before = proxy.round_trips();
        let statement = client.prepare_cached("SELECT $1::int AS marker").await.expect("a statement");
        let row = client.query_one(&statement, &[&number]).await.expect("a row");
        assert_eq!((row.get::<_, i32>(0), proxy.round_trips() - before), (number, 1));
    }
    client.prepare_cached("SELECT nonsense AS marker").await.expect_err("no such column");
    let other = client.prepare_cached("SELECT 2 AS marker").await.expect("a statement");
    drop((other, client));
    // A reset, which a lent client costs, keeps them.
    conn.release().expect("nobody uses it");
    all_returned(&db).await;
    let client = conn.client().await.expect("a client");
    let before = proxy.round_trips();
    let statement = client.prepare_cached("SELECT 2 AS marker").await.expect("a statement");
    client.query_one(&statement, &[]).await.expect("a row");
    assert_eq!(proxy.round_trips() - before, 1);
    let prepared = client.query_one(PREPARED, &[]).await.expect("a count");
    assert_eq!(prepared.get::<_, i64>(0), 3, "itself and two markers");
}

/// P19: the cache is bounded, and forgets what was not used for longest.
#[actix_web::test]
async fn the_cache_is_bounded() {
    let database = database().await;
    let config = Config { statement_cache_size: 3, ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    for number in 0..20 {
        conn.query("SELECT 0 AS marker", &[]).await.expect("a row");
        conn.query(&format!("SELECT {number} AS marker, 1"), &[]).await.expect("a row");
    }
    let sql = "SELECT statement FROM pg_prepared_statements WHERE NOT from_sql AND statement LIKE '%marker%' \
               AND statement NOT LIKE '%pg_prepared_statements%' ORDER BY 1";
    let kept: Vec<String> = conn.query_scalar(sql, &[]).await.expect("statements");
    assert_eq!(kept, ["SELECT 0 AS marker", "SELECT 19 AS marker, 1"]);
}

/// P19: zero keeps none.
#[actix_web::test]
async fn a_cache_of_zero_keeps_nothing() {
    let database = database().await;
    let config = Config { statement_cache_size: 0, ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    for _ in 0..3 {
        conn.query("SELECT 1 AS marker", &[]).await.expect("a row");
    }
    assert_eq!(conn.query_one_scalar::<i64>(PREPARED, &[]).await.expect("a count"), 1, "itself");
}

/// P19: a plan made stale by DDL is prepared anew.
#[actix_web::test]
async fn a_plan_that_ddl_made_stale_is_made_anew() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE things (id int); INSERT INTO things VALUES (1)").await.expect("a table");
    assert_eq!(conn.query_one("SELECT * FROM things", &[]).await.expect("a row").len(), 1);
    conn.batch_execute("ALTER TABLE things ADD COLUMN name text").await.expect("a column");
    assert_eq!(conn.query_one("SELECT * FROM things", &[]).await.expect("a row").len(), 2);
}

/// P19: a function that refuses in the server's words has run, and is not run again.
#[actix_web::test]
async fn a_statement_that_raises_0a000_itself_runs_once() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    // A sequence is not rolled back. The server evaluates an immutable function while it makes the plan, before it has accepted
    // the parameters.
    conn.batch_execute(
        "CREATE SEQUENCE runs;
         CREATE FUNCTION refuses(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             PERFORM nextval('runs');
             RAISE EXCEPTION 'cached plan must not change result type' USING ERRCODE = '0A000';
         END $$",
    )
    .await
    .expect("a function");
    for runs in 1..=3 {
        let err = conn.query("SELECT refuses(1)", &[]).await.expect_err("a refusal");
        assert_eq!(err.code().map(|code| code.code()), Some("0A000"));
        let seen: i64 = conn.query_one_scalar("SELECT last_value FROM runs", &[]).await.expect("a number");
        assert_eq!(seen, runs);
    }
}

/// P19: a session whose statements were thrown away works until it is returned, and is then retired.
#[actix_web::test]
async fn a_session_whose_statements_are_gone_is_retired() {
    let (_database, db) = connect(1).await;
    for sql in ["DISCARD ALL", "DEALLOCATE ALL", "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"] {
        let conn = db.connection();
        let pid = backend(&conn).await;
        conn.batch_execute(sql).await.expect("an answer");
        assert_eq!(backend(&conn).await, pid);
        drop(conn);
        assert_ne!(backend(&db.connection()).await, pid, "{sql}");
    }
    assert_whole(&db).await;
}

/// P19: the second time it is one round trip, with nothing prepared.
#[actix_web::test]
async fn a_repeated_statement_is_one_message_group() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    db.connection().execute("INSERT INTO a", &[]).await.expect("an answer");
    let before = server.syncs();
    db.connection().execute("INSERT INTO a", &[]).await.expect("an answer");
    assert_eq!(server.syncs(), before + 1);
}
