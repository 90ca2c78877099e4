//! Rows and copies, piece by piece: constant memory, and nothing left running.

use std::time::Duration;

use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{BusyWith, Config, Connection, Database, Error, Result};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use test_support::{Observer, Proxy, TestApp, backend, connect, connected, database, eventually, sized};

/// A hundred bytes a row.
async fn million(conn: Connection) -> Result<HttpResponse> {
    let sql = "SELECT n || repeat('.', 100 - length(n::text)) || E'\n' FROM generate_series(1, 1000000) n";
    let rows = conn.query_raw(sql, &[]).await?;
    let lines = rows.map_ok(|row| Bytes::from(row.get::<_, String>(0)));
    Ok(HttpResponse::Ok().streaming(lines.map_err(actix_web::Error::from)))
}

async fn export(conn: Connection) -> Result<HttpResponse> {
    let rows = conn.copy_out("COPY (SELECT generate_series(1, 1000000)) TO STDOUT").await?;
    Ok(HttpResponse::Ok().streaming(rows.map_err(actix_web::Error::from)))
}

fn routes(config: &mut web::ServiceConfig) {
    config.route("/million", web::get().to(million)).route("/export", web::get().to(export));
}

/// The most memory that this process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// P3: 100 MB pass through; the session goes back at their end.
#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_million_rows_stream_in_constant_memory() {
    let (_database, db) = connect(2).await;
    let app = TestApp::start(&db, routes);
    let before = peak();
    let mut answer = awc::Client::new().get(app.url("/million")).send().await.expect("a head");
    let mut bytes = 0;
    while let Some(piece) = answer.next().await {
        bytes += piece.expect("a piece").len();
    }
    assert_eq!(bytes, 101_000_000);
    // Other tests of this process run meanwhile.
    assert!(peak() - before < 48, "{} MiB more", peak() - before);
    eventually("all is returned", async || db.status().used == 0).await;
    app.stop().await;
}

/// Two rows are one too many; a million are no more than that.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_million_rows_that_are_too_many_are_not_kept() {
    let (_database, db) = connect(1).await;
    let tx = db.connection().transaction().await.unwrap();
    let before = peak();
    let sql = "SELECT repeat('.', 100) FROM generate_series(1, 1000000)";
    assert!(matches!(tx.query_opt(sql, &[]).await, Err(Error::TooManyRows)));
    assert!(peak() - before < 48, "{} MiB more", peak() - before);
    tx.commit().await.unwrap();
}

/// P18, conformance 16.
#[actix_web::test]
async fn a_client_that_goes_away_stops_the_query_and_returns_the_session() {
    let (database, db) = connect(2).await;
    let observer = Observer::of(&database).await;
    let app = TestApp::start(&db, routes);
    for path in ["/million", "/export"] {
        let mut answer = awc::Client::new().get(app.url(path)).send().await.expect("a head");
        answer.next().await.expect("a piece").expect("a piece");
        assert_eq!(observer.running("generate_series").await, 1);
        drop(answer);
        eventually("the query has ended", async || observer.running("generate_series").await == 0).await;
        eventually("all is returned", async || db.status().used == 0).await;
    }
    app.stop().await;
}

/// P8.
#[tokio::test]
async fn while_a_copy_is_open_other_statements_are_refused() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
    assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::Busy(BusyWith::Copy))));
    assert!(matches!(conn.copy_out("COPY t TO STDOUT").await, Err(Error::Busy(BusyWith::Copy))));
    assert!(matches!(conn.transaction().await, Err(Error::Busy(BusyWith::Copy))));
    assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Copy))));
    assert_eq!(copy.finish().await.unwrap(), 2);

    let mut copy = conn.copy_out("COPY t TO STDOUT").await.unwrap();
    assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::Busy(BusyWith::Copy))));
    let mut data = Vec::new();
    while let Some(piece) = copy.try_next().await.unwrap() {
        data.extend_from_slice(&piece);
    }
    assert_eq!(data, b"1\n2\n");
    // The stream has ended, so that it is in nobody's way.
    assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[]).await.unwrap(), 2);
    assert!(copy.try_next().await.unwrap().is_none());
    drop(copy);
    conn.release().unwrap();
}

#[tokio::test]
async fn a_copy_that_is_not_finished_copies_nothing() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let count = "SELECT count(*) FROM t";
    for pieces in [0, 1, 100] {
        let mut copy = conn.copy_in("COPY t FROM STDIN").await.unwrap();
        for piece in 0..pieces {
            let rows: String = (0..1000).map(|n| format!("{}\n", piece * 1000 + n)).collect();
            copy.send(Bytes::from(rows)).await.unwrap();
        }
        drop(copy);
        assert_eq!(conn.query_one_scalar::<i64>(count, &[]).await.unwrap(), 0);
    }
    // Closing it as a sink finishes it.
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\n")).await.unwrap();
    copy.close().await.unwrap();
    assert_eq!(conn.query_one_scalar::<i64>(count, &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_copy_that_the_server_refuses_is_an_error_with_its_reason() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    for wrong in ["COPY nowhere FROM STDIN", "COPY t FROM STDIN (FORMAT odd)", "SELECT 1"] {
        conn.copy_in(wrong).await.expect_err(wrong);
        assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::SessionLost)), "{wrong}");
        conn.release().unwrap();
        assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[]).await.unwrap(), 0);
    }
    for wrong in ["COPY nowhere TO STDOUT", "INSERT INTO t VALUES (1)", "SELECT 1"] {
        conn.copy_out(wrong).await.expect_err(wrong);
        // What is no answer to a COPY has cost the session.
        conn.release().unwrap();
    }
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.unwrap();
    for _ in 0..1000 {
        copy.send(Bytes::from_static(&[b'x'; 8192])).await.unwrap();
    }
    let err = copy.finish().await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION));
    let ids: Vec<i32> = conn.query_scalar("SELECT id FROM t WHERE id <> 1", &[]).await.unwrap();
    assert_eq!(ids, [0; 0]);
}

/// P17: tokio-postgres takes every answer for the one before, once the start of a `COPY … FROM STDIN` was refused. The
/// answer too many is on its way when the session goes back.
#[tokio::test]
async fn a_client_that_is_out_of_step_is_not_lent_again() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let conn = db.connection();
    let before = backend(&conn).await;
    proxy.delay(Duration::from_millis(20));
    let client = conn.client().await.unwrap();
    let copy = client.prepare("COPY nowhere FROM STDIN").await.unwrap();
    assert!(client.copy_in::<_, Bytes>(&copy).await.is_err());
    drop(client);
    conn.release().unwrap();
    let rows: Vec<i32> = conn.query_scalar("SELECT 1 UNION SELECT 2", &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_ne!(backend(&conn).await, before);
}

/// P18: in a transaction, a copy that is dropped fails it.
#[tokio::test]
async fn a_stream_that_is_dropped_in_a_transaction_fails_it() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let tx = conn.transaction().await.unwrap();
    drop(tx.copy_in("COPY t FROM STDIN").await.unwrap());
    assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));
    let tx = conn.transaction().await.unwrap();
    let mut rows = tx.query_raw("SELECT generate_series(1, 1000000)", &[]).await.unwrap();
    rows.try_next().await.unwrap();
    drop(rows);
    assert!(matches!(tx.execute("INSERT INTO t VALUES (1)", &[]).await, Err(Error::TransactionFailed)));
    drop(tx);
    let tx = conn.transaction().await.unwrap();
    let mut copy = tx.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\n")).await.unwrap();
    copy.finish().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[]).await.unwrap(), 1);
}

/// P18: a stream that nobody reads does not keep the application from closing.
#[tokio::test]
async fn closing_the_database_does_not_wait_for_a_reader_for_ever() {
    let database = database().await;
    let close_timeout = Duration::from_millis(200);
    let config = Config { close_timeout, ..sized(database.config(), 1) };
    let db = Database::connect(config).await.unwrap();
    let conn = db.connection();
    let rows = conn.query_raw("SELECT generate_series(1, 1000000)", &[]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), db.close()).await.expect("a close within its bound");
    drop(rows);
}
