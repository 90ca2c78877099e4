//! A transaction that SQL has begun belongs to that SQL: nothing here commits it or rolls it back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{BusyWith, Connection, Database, Error, GenericClient, RequestTransaction, Result};
use actix_web::{HttpResponse, web};
use test_support::{FakeServer, Observer, TestApp, connect, connected, soon};

const INSERT: &str = "INSERT INTO t VALUES ($1)";

async fn table() -> (TestDatabase, Database, Connection) {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    conn.release().unwrap();
    (database, db, conn)
}

async fn insert(
    client: &impl GenericClient,
    ids: impl IntoIterator<Item = i32, IntoIter: Send>,
) -> Result<u64> {
    client.execute_many(INSERT, ids.into_iter().map(|id| [id])).await
}

async fn ids(client: &impl GenericClient) -> Vec<i32> {
    soon("ids", client.query_scalar("SELECT id FROM t ORDER BY id", &[])).await.expect("ids")
}

/// Begins a transaction in each of the ways in which SQL can.
async fn begin(conn: &Connection, way: &str) {
    match way {
        "client" => conn.client().await.unwrap().batch_execute("BEGIN").await.unwrap(),
        "execute" => drop(conn.execute("BEGIN", &[]).await.unwrap()),
        _ => conn.batch_execute("BEGIN").await.unwrap(),
    }
}

#[tokio::test]
async fn a_batch_is_a_part_of_it() {
    let (database, _db, conn) = table().await;
    let observer = Observer::of(&database).await;
    for way in ["batch_execute", "execute", "client"] {
        begin(&conn, way).await;
        insert(&conn, [1]).await.unwrap();
        assert_eq!(ids(&observer.connection()).await, [0; 0], "{way}: the batch has committed it");
        assert_eq!(conn.batch(&[(INSERT, &[&2]), (INSERT, &[&3])]).await.unwrap(), [1, 1]);
        assert_eq!(ids(&conn).await, [1, 2, 3]);
        conn.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(ids(&conn).await, [0; 0], "{way}");
        conn.release().unwrap();
    }
    begin(&conn, "client").await;
    insert(&conn, [1]).await.unwrap();
    conn.batch_execute("COMMIT").await.unwrap();
    // There is none any more, so it has one of its own.
    insert(&conn, [2]).await.unwrap();
    assert_eq!(ids(&observer.connection()).await, [1, 2]);
}

#[tokio::test]
async fn a_batch_that_fails_is_undone_alone() {
    let (database, _db, conn) = table().await;
    let observer = Observer::of(&database).await;
    begin(&conn, "batch_execute").await;
    conn.execute(INSERT, &[&1]).await.unwrap();
    let err = insert(&conn, [2, 1, 3]).await.unwrap_err();
    assert!(matches!(err, Error::Batch { index: 1, .. }), "{err:?}");
    assert_eq!(err.code(), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!(ids(&conn).await, [1]);
    insert(&conn, [4, 5]).await.unwrap();
    assert_eq!(ids(&observer.connection()).await, [0; 0]);
    conn.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ids(&observer.connection()).await, [1, 4, 5]);
}

/// In one that has failed, PostgreSQL takes no statement before its end. A batch does not end it.
#[tokio::test]
async fn a_batch_in_one_that_has_failed_is_refused() {
    let (_database, _db, conn) = table().await;
    begin(&conn, "batch_execute").await;
    conn.execute(INSERT, &[&1]).await.unwrap();
    conn.batch_execute("SELECT 1 / 0").await.unwrap_err();
    for _ in 0..2 {
        let err = insert(&conn, [2]).await.unwrap_err();
        assert_eq!(err.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "{err:?}");
    }
    let err = conn.transaction().await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "{err:?}");
    conn.batch_execute("ROLLBACK").await.unwrap();
    insert(&conn, [3]).await.unwrap();
    assert_eq!(ids(&conn).await, [3]);
}

/// P18: it keeps all of the batch or nothing, and is not committed by it.
#[tokio::test]
async fn a_batch_that_is_dropped_at_any_moment_commits_nothing() {
    let (database, _db, conn) = table().await;
    let observer = Observer::of(&database).await;
    let (mut polls, mut ended) = (0, false);
    while !ended {
        begin(&conn, "batch_execute").await;
        conn.execute(INSERT, &[&0]).await.unwrap();
        let mut batch = Box::pin(insert(&conn, 1..=600));
        for _ in 0..=polls {
            if futures_util::poll!(&mut batch).is_ready() {
                ended = true;
                break;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        drop(batch);
        match soon("a count", conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[])).await {
            Ok(found) => assert!(found == 1 || found == 601, "{found} after {polls} polls"),
            // The cancel request has hit it.
            Err(err) => {
                assert_eq!(
                    err.code(),
                    Some(&SqlState::IN_FAILED_SQL_TRANSACTION),
                    "{err:?} after {polls} polls"
                );
            }
        }
        assert_eq!(ids(&observer.connection()).await, [0; 0], "after {polls} polls");
        conn.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(ids(&conn).await, [0; 0], "after {polls} polls");
        polls += 1;
    }
}

/// P28: `BEGIN` in it would only be a warning of the server, and the commit would end what somebody else has begun.
#[tokio::test]
async fn a_transaction_beside_it_is_refused() {
    let (database, _db, conn) = table().await;
    let observer = Observer::of(&database).await;
    for way in ["batch_execute", "execute", "client"] {
        begin(&conn, way).await;
        conn.execute(INSERT, &[&1]).await.unwrap();
        let refused = conn.transaction().await.map(drop);
        assert!(matches!(refused, Err(Error::Busy(BusyWith::Transaction))), "{way}: {refused:?}");
        let refused = conn.transact(async |_| Ok::<_, Error>(())).await;
        assert!(matches!(refused, Err(Error::Busy(BusyWith::Transaction))), "{way}: {refused:?}");
        conn.execute(INSERT, &[&2]).await.unwrap();
        assert_eq!(ids(&observer.connection()).await, [0; 0], "{way}");
        conn.batch_execute("COMMIT").await.unwrap();
        assert_eq!(ids(&observer.connection()).await, [1, 2], "{way}");
        // There is none any more.
        let tx = conn.transaction().await.unwrap();
        tx.execute("DELETE FROM t", &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ids(&observer.connection()).await, [0; 0], "{way}");
        conn.release().unwrap();
    }
}

/// P18.
#[tokio::test]
async fn a_transaction_that_is_dropped_while_it_asks_rolls_nothing_back() {
    let (_database, _db, conn) = table().await;
    for _ in 0..20 {
        begin(&conn, "batch_execute").await;
        conn.execute(INSERT, &[&1]).await.unwrap();
        let mut beginning = Box::pin(conn.transaction());
        assert!(futures_util::poll!(&mut beginning).is_pending());
        drop(beginning);
        match soon("a count", conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[])).await {
            Ok(found) => assert_eq!(found, 1),
            // The cancel request has hit it.
            Err(err) => assert_eq!(err.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "{err:?}"),
        }
        conn.batch_execute("ROLLBACK").await.unwrap();
        let tx = conn.transaction().await.unwrap();
        insert(&tx, [2]).await.unwrap();
        drop(tx);
        assert_eq!(ids(&conn).await, [0; 0]);
    }
}

/// A BEGIN that is being prepared is sent before that of a transaction which has been put off.
#[tokio::test]
async fn a_begin_that_overtakes_a_transaction_is_seen() {
    let (database, db, conn) = table().await;
    let observer = Observer::of(&database).await;
    conn.query("SELECT 1", &[]).await.unwrap();
    let beside = async {
        let tx = conn.transaction().await.unwrap();
        let refused = tx.execute(INSERT, &[&1]).await;
        assert!(matches!(refused, Err(Error::Busy(BusyWith::Transaction))), "{refused:?}");
        assert!(matches!(tx.execute(INSERT, &[&1]).await, Err(Error::TransactionEnded)));
        conn.execute(INSERT, &[&2]).await.unwrap();
        assert!(matches!(tx.commit().await, Err(Error::TransactionEnded)));
    };
    let (begun, ()) = soon("both", async { tokio::join!(conn.execute("BEGIN", &[]), beside) }).await;
    begun.unwrap();
    conn.execute(INSERT, &[&3]).await.unwrap();
    assert_eq!(ids(&observer.connection()).await, [0; 0]);
    conn.batch_execute("COMMIT").await.unwrap();
    conn.release().unwrap();
    assert_eq!(ids(&db.connection()).await, [2, 3]);
}

/// A transaction that is given up while the server is asked begins nothing: what follows is not in it.
#[tokio::test]
async fn one_that_is_given_up_while_the_server_is_asked_begins_nothing() {
    let (database, _db, conn) = table().await;
    let observer = Observer::of(&database).await;
    for polls in 1..40 {
        conn.execute("DELETE FROM t", &[]).await.unwrap();
        conn.release().unwrap();
        conn.query("SELECT 1", &[]).await.unwrap();
        // New to the session each time, so that it is being prepared while the transaction is put off.
        let rollback = format!("ROLLBACK /* {polls} */");
        let beside = async {
            let tx = conn.transaction().await.unwrap();
            let mut insert = pin!(conn.execute(INSERT, &[&1]));
            let mut left = polls;
            let given_up = poll_fn(|cx| {
                left -= 1;
                match insert.as_mut().poll(cx) {
                    Poll::Ready(_) => Poll::Ready(false),
                    Poll::Pending if left == 0 => Poll::Ready(true),
                    Poll::Pending => Poll::Pending,
                }
            });
            let given_up = given_up.await;
            drop(tx);
            if given_up {
                let _ = insert.await;
            }
        };
        let (rolled_back, ()) =
            soon("both", async { tokio::join!(conn.execute(&rollback, &[]), beside) }).await;
        rolled_back.unwrap();
        conn.execute(INSERT, &[&2]).await.unwrap();
        let seen = ids(&observer.connection()).await;
        assert!(seen.contains(&2), "{polls}: {seen:?}");
    }
}

async fn create(conn: Connection, tx: RequestTransaction) -> Result<HttpResponse> {
    conn.batch_execute("BEGIN").await?;
    conn.execute(INSERT, &[&1]).await?;
    let refused = tx.execute(INSERT, &[&2]).await;
    assert!(matches!(refused, Err(Error::Busy(BusyWith::Transaction))), "{refused:?}");
    conn.batch_execute("ROLLBACK").await?;
    tx.execute(INSERT, &[&3]).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[actix_web::test]
async fn the_transaction_of_a_request_beside_it_is_refused() {
    let (_database, db, conn) = table().await;
    let app = TestApp::start(&db, |app| {
        app.route("/", web::post().to(create));
    });
    assert_eq!(app.post("/", &serde_json::Value::Null).await.status, 204);
    assert_eq!(ids(&conn).await, [3]);
}

/// What is known costs nothing: only where SQL may have begun one, the server is asked.
#[tokio::test]
async fn the_server_is_asked_only_where_there_may_be_one() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let conn = db.connection();
    conn.execute_many("INSERT INTO t VALUES ($1)", [[1_i64]]).await.unwrap();
    let tx = conn.transaction().await.unwrap();
    tx.execute_many("INSERT INTO t VALUES ($1)", [[1_i64]]).await.unwrap();
    tx.commit().await.unwrap();
    conn.release().unwrap();
    let sent = server.simple_queries();
    assert!(!sent.iter().any(|sql| sql.contains("actix_pg_0")), "{sent:?}");
}
