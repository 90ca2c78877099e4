//! An encrypted session moves between runtimes as a plain one does: what TLS has buffered moves with it (P12, P13).

use std::thread;

use actix_pg::testing::Postgres;
use actix_pg::{Connection, Database};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use test_support::tls::{Authority, connect, encrypted};
use test_support::{backend, elsewhere, runtime};
use tokio::sync::oneshot;

/// Rows that no TLS record and no socket's buffer holds: 8 MB.
const LARGE: &str =
    "SELECT number, repeat(md5((number + $1)::text), 1000) FROM generate_series(1, 250) AS number";

/// The only session of a pool.
async fn encrypted_session() -> (Postgres, Database) {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    let db = connect(&server, "user=postgres sslmode=require").await.expect("an encrypted session");
    (server, db)
}

/// The rows are whole and in order.
#[track_caller]
fn assert_large(rows: &[(i32, String)], seed: i32) {
    assert_eq!(rows.len(), 250);
    for ((number, text), expected) in rows.iter().zip(1..) {
        assert_eq!((*number, text.len()), (expected, 32_000), "asked with {seed}");
        let hash = &text.as_bytes()[..32];
        assert!(text.as_bytes().chunks(32).all(|chunk| chunk == hash), "row {number}, asked with {seed}");
    }
}

async fn large(conn: &Connection, seed: i32) -> Vec<(i32, String)> {
    let rows = conn.query(LARGE, &[&seed]).await.expect("rows");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn one_encrypted_session_serves_many_runtimes() {
    let (_server, db) = encrypted_session().await;
    let first = backend(&db.connection()).await;
    for seed in 0..10 {
        assert_large(&elsewhere(&db, async move |conn| large(&conn, seed).await).await, seed);
        assert_large(&large(&db.connection(), seed).await, seed);
        assert_eq!(elsewhere(&db, async |conn| backend(&conn).await).await, first);
        assert_eq!(backend(&db.connection()).await, first);
    }
}

/// The session leaves its runtime within an answer, with half a record in TLS's buffers.
#[tokio::test]
async fn an_answer_goes_on_where_its_runtime_stops() {
    let (_server, db) = encrypted_session().await;
    let first = backend(&db.connection()).await;
    for seed in 0..10 {
        let (mut rows, mut read) = elsewhere(&db, async move |conn| {
            let mut rows = conn.query_raw(LARGE, &[&seed]).await.expect("rows");
            let mut read = Vec::new();
            for _ in 0..=seed {
                let row = rows.try_next().await.expect("a row").expect("not the end");
                read.push((row.get(0), row.get(1)));
            }
            (rows, read)
        })
        .await;
        while let Some(row) = rows.try_next().await.expect("a row") {
            read.push((row.get(0), row.get(1)));
        }
        drop(rows);
        assert_large(&read, seed);
        assert_eq!(backend(&db.connection()).await, first);
    }
}

/// Four workers take turns, one of them is gone in the middle; every answer reaches its own question.
#[tokio::test]
async fn an_encrypted_session_moves_under_load() {
    let (_server, db) = encrypted_session().await;
    let first = backend(&db.connection()).await;
    let workers = (1..=4).map(|worker: i32| {
        let (db, (ended, end)) = (db.clone(), oneshot::channel());
        thread::spawn(move || {
            let left = runtime().block_on(async {
                for turn in 0..40 {
                    let asked = worker * 1000 + turn;
                    let conn = db.connection();
                    let sql = "SELECT $1::int4, repeat('x', $1 * 20)";
                    let row = conn.query_one(sql, &[&asked]).await.expect("an answer");
                    let (answered, text): (i32, String) = (row.get(0), row.get(1));
                    assert_eq!((answered, text.len()), (asked, asked as usize * 20));
                    if worker == 4 && turn == 20 {
                        // Sent, and its answer under way when the runtime stops.
                        let mut rows = conn.query_raw(LARGE, &[&0]).await.expect("rows");
                        rows.try_next().await.expect("a row");
                        return Some(rows);
                    }
                }
                None
            });
            drop(left);
            let _ = ended.send(());
        });
        end
    });
    let workers: Vec<_> = workers.collect();
    for ended in join_all(workers).await {
        ended.expect("a worker that ended well");
    }
    assert_eq!(backend(&db.connection()).await, first);
    assert_eq!(db.status().open, 1);
}
