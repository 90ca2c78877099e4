//! Several statements on the connection of one request.

use actix_pg::{BusyWith, Connection, Error, Result};
use actix_web::web;
use futures_util::TryStreamExt;
use futures_util::future::{join_all, try_join_all};
use test_support::{
    FakeServer, Observer, Phase, TestApp, assert_whole, backend, connect, connected, eventually, soon,
};

/// P8, case 21
#[actix_web::test]
async fn they_run_concurrently_on_one_session() {
    let (_database, db) = connect(3).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            let pids = join_all((0..20).map(|_| backend(&conn))).await;
            assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
            let numbers: Vec<i32> = (0..20).collect();
            let squares = numbers.iter().map(async |number| {
                conn.query_one_scalar::<i32>("SELECT $1::int * $1::int", &[number]).await
            });
            let squares = try_join_all(squares).await?;
            Ok(squares.iter().sum::<i32>().to_string())
        };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(app.get("/").await.ok(), "2470");
    assert_whole(&db).await;
    app.stop().await;
}

/// P8: one that fails does not fail its neighbours.
#[actix_web::test]
async fn one_that_fails_fails_alone() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let (before, failed, after) = tokio::join!(
        conn.query_one_scalar::<i32>("SELECT 1", &[]),
        conn.query_one_scalar::<i32>("SELECT 1 / 0", &[]),
        conn.query_one_scalar::<i32>("SELECT 3", &[]),
    );
    assert_eq!((before.expect("a row"), after.expect("a row")), (1, 3));
    assert_eq!(failed.expect_err("a refusal").code().map(|code| code.code()), Some("22012"));
}

/// P8: they are on their way before the first has been answered.
#[actix_web::test]
async fn they_are_pipelined() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let conn = db.connection();
    for sql in ["INSERT INTO a", "INSERT INTO b"] {
        conn.execute(sql, &[]).await.expect("a prepared statement");
    }
    let before = server.passed(Phase::Statement);
    server.hold(Phase::Statement);
    let both = async {
        let (one, two) = tokio::join!(conn.execute("INSERT INTO a", &[]), conn.execute("INSERT INTO b", &[]));
        one.and(two)
    };
    let gates = async {
        eventually("the first stands at the gate", async || server.before(Phase::Statement) == 1).await;
        server.open(Phase::Statement);
    };
    let (both, ()) = tokio::join!(both, gates);
    assert_eq!(both.expect("two answers"), 1);
    assert_eq!(server.passed(Phase::Statement), before + 2);
}

/// P8: a large result must not hang what comes after it.
#[actix_web::test]
async fn a_statement_beside_an_open_row_stream_is_refused_at_once() {
    let (_database, db) = connect(2).await;
    let conn = db.connection();
    let mut rows = conn.query_raw("SELECT generate_series(1, 100000)", &[]).await.expect("rows");
    rows.try_next().await.expect("a row");
    for refused in [
        soon("a refusal", conn.query("SELECT 1", &[])).await.map(drop),
        soon("a refusal", conn.execute("SELECT 1", &[])).await.map(drop),
        soon("a refusal", conn.batch_execute("SELECT 1")).await,
        soon("a refusal", conn.query_raw("SELECT 1", &[])).await.map(drop),
        soon("a refusal", conn.client()).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Busy(BusyWith::RowStream))), "{refused:?}");
    }
    assert_eq!(db.status().used, 1);
    let mut left = 0;
    while rows.try_next().await.expect("a row").is_some() {
        left += 1;
    }
    assert_eq!(left, 99_999);
    assert!(rows.try_next().await.expect("no row").is_none());
    soon("an answer", conn.query("SELECT 1", &[])).await.expect("an answer");

    let rows = conn.query_raw("SELECT generate_series(1, 10000000)", &[]).await.expect("rows");
    drop(rows);
    soon("an answer", conn.query("SELECT 1", &[])).await.expect("an answer after the repair");
    drop(conn);
    assert_whole(&db).await;
}

/// P8: a row stream that begins beside a statement is read after it.
#[actix_web::test]
async fn a_row_stream_may_begin_beside_a_statement() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let sleeping = {
        let conn = conn.clone();
        tokio::spawn(async move { conn.query_one_scalar::<i32>("SELECT 1 FROM pg_sleep(0.2)", &[]).await })
    };
    observer.sees("pg_sleep(0.2)").await;
    let rows = conn.query_raw("SELECT generate_series(1, 100000)", &[]).await.expect("rows");
    let rows: Vec<_> = rows.try_collect().await.expect("rows");
    assert_eq!(rows.len(), 100_000);
    assert_eq!(soon("an answer", sleeping).await.expect("joined").expect("a row"), 1);
}
