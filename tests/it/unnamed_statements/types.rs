//! Types that the driver has to look up.

use std::error;
use std::time::{Duration, Instant};

use actix_pg::tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use actix_pg::{Error, Pooler};
use actix_web::web::BytesMut;
use futures_util::future::join_all;
use test_support::{assert_whole, backend, soon};

use super::{Line, Thing, names, thing};

type Boxed = Box<dyn error::Error + Sync + Send>;

/// A value of a type that is not built in, as it goes over the wire.
#[derive(Debug, Clone, PartialEq)]
struct Raw(Vec<u8>);

impl Raw {
    fn word(word: &str) -> Self {
        Self(word.as_bytes().to_vec())
    }
}

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(of: &Type) -> bool {
        Type::from_oid(of.oid()).is_none()
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        Type::from_oid(of.oid()).is_none()
    }

    to_sql_checked!();
}

/// Enums, a domain and a composite are looked up before their statement runs, each time.
#[actix_web::test]
async fn types_that_are_not_built_in_are_written_and_read_once() {
    let line = Line::new(4, Pooler::None).await;
    let insert = "INSERT INTO orders (status) VALUES ($1) RETURNING status";
    for round in 0..10 {
        let inserts = (0..50_usize).map(|number| {
            let (db, status) = (&line.db, Raw::word(["new", "paid", "sent"][(number + round) % 3]));
            async move {
                let written = db.connection().query_one_scalar::<Raw>(insert, &[&status]).await?;
                assert_eq!(written, status);
                Ok::<_, Error>(())
            }
        });
        assert!(join_all(inserts).await.iter().all(Result::is_ok));
    }
    let count: i64 = line.db.query_one_scalar("SELECT count(*) FROM orders", &[]).await.expect("a count");
    assert_eq!(count, 500);
    let conn = line.db.connection();
    let place = "SELECT 'sad'::mood, 'paid'::status, 12.50::price, ROW('High Street', 7, 'glad')::place";
    for _ in 0..3 {
        let row = conn.query_one(place, &[]).await.expect("a row");
        assert_eq!(row.get::<_, Raw>(0), Raw::word("sad"));
        let again: Raw =
            conn.query_one_scalar("SELECT $1::place", &[&row.get::<_, Raw>(3)]).await.expect("a place");
        assert_eq!(again, row.get::<_, Raw>(3));
    }
    assert!(names(&conn).await.is_empty());
    // A type that was dropped and made again has another number.
    line.change("DROP TYPE mood CASCADE; CREATE TYPE mood AS ENUM ('sad')").await;
    let mood: Raw = conn.query_one_scalar("SELECT 'sad'::mood", &[]).await.expect("a mood");
    assert_eq!(mood, Raw::word("sad"));
}

/// Also on a session whose driver has never met the type.
#[actix_web::test]
async fn a_cold_enum_in_a_large_result_does_not_hang() {
    let line = Line::new(2, Pooler::None).await;
    // It could not run again.
    let sql = "SELECT 'sent'::status, repeat('x', 200), nextval('runs') FROM generate_series(1, 10000)";
    let (first, second) = (line.db.connection(), line.db.connection());
    for conn in [&first, &second, &first] {
        let rows = soon("the rows", conn.query(sql, &[])).await.expect("rows");
        assert_eq!(rows.len(), 10_000);
    }
    assert_eq!(first.query_one_scalar::<i64>("SELECT nextval('runs')", &[]).await.expect("a number"), 30_001);
}

/// The driver looks a type up behind an answer that is known to have none. A statement that only reads runs again; any other is
/// cancelled, and nobody knows what it has done.
#[actix_web::test]
async fn an_enum_that_a_large_result_gets_later_does_not_hang() {
    let line = Line::new(2, Pooler::None).await;
    line.change("INSERT INTO things SELECT n, repeat('x', 200) FROM generate_series(10, 10009) AS n").await;
    let (read, write) = ("SELECT * FROM things", "UPDATE things SET name = name RETURNING *");
    let conn = line.db.connection();
    for sql in [read, write] {
        assert_eq!(conn.query(sql, &[]).await.expect("rows").len(), 10_002);
    }
    assert_eq!(
        line.trips(conn.query_one_as::<Thing>("SELECT * FROM things WHERE id = 1", &[])).await.1,
        thing(1, "one")
    );
    line.change("ALTER TABLE things ADD mood mood DEFAULT 'glad'").await;
    let rows = soon("the rows", conn.query(read, &[])).await.expect("rows");
    assert_eq!((rows.len(), rows[0].len(), rows[0].get::<_, Raw>(2)), (10_002, 3, Raw::word("glad")));

    line.change("ALTER TABLE things ADD status status DEFAULT 'new'").await;
    let since = Instant::now();
    let err = soon("an answer", conn.query(write, &[])).await.expect_err("no answer");
    assert!(matches!(err, Error::OutcomeUnknown(_)) && since.elapsed() < Duration::from_secs(15), "{err:?}");
    assert_eq!(conn.query(write, &[]).await.expect("rows").len(), 10_002);
    drop(conn);
    assert_whole(&line.db).await;
}

/// In a transaction nothing runs again.
#[actix_web::test]
async fn an_enum_that_a_large_result_gets_later_fails_a_transaction() {
    let line = Line::one().await;
    let conn = line.db.connection();
    line.change("INSERT INTO things SELECT n, repeat('x', 200) FROM generate_series(10, 10009) AS n").await;
    let all = "SELECT * FROM things";
    assert_eq!(conn.query(all, &[]).await.expect("rows").len(), 10_002);
    line.change("ALTER TABLE things ADD status status DEFAULT 'new'").await;
    let tx = conn.transaction().await.expect("a transaction");
    let err = soon("an answer", tx.query(all, &[])).await.expect_err("no answer");
    assert!(matches!(err, Error::TransactionFailed), "{err:?}");
    tx.rollback().await.expect("an end");
    assert_eq!(conn.query(all, &[]).await.expect("rows").len(), 10_002);
    drop(conn);
    assert_whole(&line.db).await;
}

/// Behind a pooler in transaction mode the driver must not have looked anything up by itself: the session ends.
#[actix_web::test]
async fn an_enum_that_a_large_result_gets_later_costs_a_session_in_transaction_mode() {
    let line = Line::new(1, Pooler::Transaction).await;
    let conn = line.db.connection();
    line.change("INSERT INTO things SELECT n, repeat('x', 200) FROM generate_series(10, 10009) AS n").await;
    let all = "SELECT * FROM things";
    assert_eq!(conn.query(all, &[]).await.expect("rows").len(), 10_002);
    line.change("ALTER TABLE things ADD status status DEFAULT 'new'").await;
    let pid = backend(&conn).await;
    let err = soon("an answer", conn.query(all, &[])).await.expect_err("no answer");
    assert!(matches!(err, Error::SessionLost), "{err:?}");
    conn.release().expect("nobody uses it");
    assert_eq!(soon("the rows", conn.query(all, &[])).await.expect("rows").len(), 10_002);
    assert_ne!(backend(&conn).await, pid);
}
