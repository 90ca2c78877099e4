//! How many rows there have to be: the counterparts of the reference's `all`, `first`, `one`, `scalar`, `status`, `iterate`.

use actix_pg::{Error, OrNotFound};
use futures_util::TryStreamExt;
use test_support::{backend, connect, soon};

const NONE: &str = "SELECT 1 WHERE false";
const ONE: &str = "SELECT 1";
const SEVERAL: &str = "SELECT generate_series(1, 3)";

/// Case 29: no row and several rows are different errors of a query for exactly one.
#[tokio::test]
async fn no_row_and_several_rows_are_different_errors() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    assert!(matches!(conn.query_one(NONE, &[]).await, Err(Error::NoRows)));
    assert!(matches!(conn.query_one(SEVERAL, &[]).await, Err(Error::TooManyRows)));
    assert_eq!(conn.query_one(ONE, &[]).await.expect("a row").get::<_, i32>(0), 1);
    assert!(conn.query_opt(NONE, &[]).await.expect("an answer").is_none());
    assert!(matches!(conn.query_opt(SEVERAL, &[]).await, Err(Error::TooManyRows)));
}

/// Case 29: each of the reference's verbs has its counterpart.
#[tokio::test]
async fn every_verb_has_its_counterpart() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    assert_eq!(conn.query(SEVERAL, &[]).await.expect("rows").len(), 3);
    assert_eq!(conn.query_scalar::<i32>(SEVERAL, &[]).await.expect("numbers"), [1, 2, 3]);
    assert_eq!(conn.query_one_scalar::<i32>(ONE, &[]).await.expect("a number"), 1);
    assert_eq!(conn.query_opt_scalar::<i32>(NONE, &[]).await.expect("an answer"), None);
    assert!(matches!(conn.query_one_scalar::<i32>(NONE, &[]).await, Err(Error::NoRows)));
    conn.batch_execute("CREATE TEMP TABLE t (n int)").await.expect("a table");
    assert_eq!(conn.execute("INSERT INTO t SELECT generate_series(1, 4)", &[]).await.expect("a count"), 4);
    let rows: Vec<_> =
        conn.query_raw("SELECT n FROM t", &[]).await.expect("a stream").try_collect().await.expect("rows");
    assert_eq!(rows.len(), 4);
    let nothing = conn.query_opt(NONE, &[]).await.expect("an answer").or_not_found();
    assert!(matches!(nothing, Err(Error::NotFound)));
    let changed = |sql| conn.execute(sql, &[]);
    assert_eq!(changed("UPDATE t SET n = 5").await.expect("a count").or_not_found().expect("rows"), 4);
    let nothing = changed("DELETE FROM t WHERE n = 6").await.expect("a count").or_not_found();
    assert!(matches!(nothing, Err(Error::NotFound)));
}

/// The rows that are too many are neither kept nor waited for, and nothing is undone by that.
#[tokio::test]
async fn too_many_rows_are_read_away_or_cancelled() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute(
        "CREATE TABLE t (id int, seen bool);
         INSERT INTO t SELECT n, false FROM generate_series(1, 5000) n;
         CREATE TABLE calls (n int);
         CREATE FUNCTION call(n int) RETURNS int LANGUAGE sql AS 'INSERT INTO calls VALUES (n) RETURNING n'",
    )
    .await
    .unwrap();
    // A change always takes effect, and so does what may be one.
    let update = "UPDATE t SET seen = true RETURNING id";
    assert!(matches!(conn.query_opt(update, &[]).await, Err(Error::TooManyRows)));
    let seen = "SELECT count(*) FROM t WHERE seen";
    assert_eq!(conn.query_one_scalar::<i64>(seen, &[]).await.unwrap(), 5000);
    let calls = "SELECT call(n) FROM generate_series(1, 5000) n";
    assert!(matches!(conn.query_one(calls, &[]).await, Err(Error::TooManyRows)));
    assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM calls", &[]).await.unwrap(), 5000);

    // A transaction goes on.
    let many = "SELECT n FROM generate_series(1, 100000) n";
    let tx = conn.transaction().await.unwrap();
    tx.execute("DELETE FROM calls", &[]).await.unwrap();
    assert!(matches!(tx.query_one(many, &[]).await, Err(Error::TooManyRows)));
    tx.commit().await.unwrap();
    assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM calls", &[]).await.unwrap(), 0);
    conn.batch_execute("BEGIN; INSERT INTO calls VALUES (1)").await.unwrap();
    assert!(matches!(conn.query_opt(many, &[]).await, Err(Error::TooManyRows)));
    conn.batch_execute("COMMIT").await.unwrap();
    assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM calls", &[]).await.unwrap(), 1);

    // What only reads is cancelled, and costs no session; SQL that has begun a transaction here may not have ended it.
    conn.release().unwrap();
    let same = backend(&conn).await;
    for _ in 0..3 {
        let endless = conn.query_opt("SELECT generate_series(1, 100000000000)", &[]);
        assert!(matches!(soon("too many rows", endless).await, Err(Error::TooManyRows)));
    }
    assert_eq!(backend(&conn).await, same);
}
