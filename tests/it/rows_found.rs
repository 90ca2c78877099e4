//! How many rows there have to be: the counterparts of the reference's `all`, `first`, `one`, `scalar`, `status`, `iterate`.

use actix_pg::{Error, OrNotFound};
use futures_util::TryStreamExt;

use crate::support::connect;

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
}
