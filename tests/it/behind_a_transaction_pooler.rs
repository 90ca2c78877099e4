//! `pooler = "transaction"`: what is sent, and what becomes of it when BEGIN or a setting fails. The poolers themselves are in
//! `tests/reliability/transaction_pooler`.

use actix_pg::{Config, Connection, Database, Error, Pooler, Reset, Result};
use futures_util::future::{join_all, try_join_all};
use test_support::{Proxy, connected, database, sized, soon};

const READ: &str = "SELECT id FROM t ORDER BY id";
const WRITE: &str = "INSERT INTO t VALUES ($1)";
const TENANT: &str = "SELECT current_setting('app.tenant', true) FROM t LIMIT 1";

struct Line {
    proxy: Proxy,
    db: Database,
    conn: Connection,
    _database: actix_pg::testing::TestDatabase,
}

impl Line {
    async fn new(reset: Reset) -> Self {
        let database = database().await;
        let (proxy, through) = Proxy::to(&database).await;
        let db = connected(Config { pooler: Pooler::Transaction, reset, ..sized(through, 1) }).await;
        let conn = db.connection();
        conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)")
            .await
            .expect("a table");
        // Their types are known from now on.
        conn.query(READ, &[]).await.expect("rows");
        conn.query(TENANT, &[]).await.expect("a row");
        conn.execute(WRITE, &[&-1]).await.expect("a row");
        Self { proxy, db, conn, _database: database }
    }

    /// The round trips of something.
    async fn trips<T>(&self, future: impl Future<Output = Result<T>>) -> (usize, T) {
        let before = self.proxy.round_trips();
        let output = soon("an answer", future).await.expect("no failure");
        (self.proxy.round_trips() - before, output)
    }

    async fn ids(&self) -> Vec<i32> {
        self.db.connection().query_scalar(READ, &[]).await.expect("the ids")
    }
}

#[tokio::test]
async fn a_statement_whose_types_are_known_costs_one_round_trip_and_with_settings_no_more_if_it_reads() {
    let line = Line::new(Reset::Auto).await;
    assert_eq!(line.trips(line.conn.query(READ, &[])).await.0, 1);
    assert_eq!(line.trips(line.conn.execute(WRITE, &[&1])).await.0, 1);
    assert_eq!(line.trips(line.conn.batch_execute("SELECT 1; SELECT 2")).await.0, 1);
    line.conn.set_config("app.tenant", "seven").expect("a setting");
    let (trips, tenant) = line.trips(line.conn.query_one_scalar::<String>(TENANT, &[])).await;
    assert_eq!((trips, &*tenant), (1, "seven"));
    assert_eq!(line.trips(line.conn.execute(WRITE, &[&2])).await.0, 2, "BEGIN, INSERT and COMMIT");
    // The setting has ended with the statement.
    line.conn.release().expect("a release");
    let nobody: Option<String> = line.db.query_one_scalar(TENANT, &[]).await.expect("an answer");
    assert!(nobody.is_none_or(|tenant| tenant.is_empty()));
}

#[tokio::test]
async fn nothing_takes_effect_and_nothing_is_answered_where_begin_or_a_setting_fails() {
    let begin = ("START TRANSACTION", "SELECT 1/0       ");
    let setting = ("pg_catalog.set_config", "pg_catalog.set_konfig");
    // With `always`, a rollback sets something too.
    for (reset, breaks) in [(Reset::Auto, vec![begin, setting]), (Reset::Always, vec![begin])] {
        let line = Line::new(reset).await;
        line.conn.set_config("app.tenant", "seven").expect("a setting");
        for (what, with) in breaks {
            line.proxy.replace(what, with);
            let written = line.conn.execute(WRITE, &[&7]).await.expect_err(what);
            assert!(matches!(written, Error::Begin(_) | Error::Setting(_)), "{written:?}");
            line.proxy.replace(what, with);
            let read = line.conn.query(TENANT, &[]).await.expect_err(what);
            assert!(matches!(read, Error::Begin(_) | Error::Setting(_)), "{read:?}");
            line.proxy.replace(what, with);
            let many = line.conn.execute_many(WRITE, [[8], [9]]).await.expect_err(what);
            assert!(matches!(many, Error::Begin(_) | Error::Setting(_)), "{many:?}");
            line.proxy.replace(what, with);
            let several = line.conn.batch_execute("INSERT INTO t VALUES (10)").await.expect_err(what);
            assert!(matches!(several, Error::Begin(_) | Error::Setting(_)), "{several:?}");
            line.proxy.replace(what, with);
            let tx = line.conn.transaction().await.expect("put off");
            assert!(tx.execute(WRITE, &[&11]).await.is_err());
            assert!(tx.execute(WRITE, &[&12]).await.is_err());
            assert!(tx.commit().await.is_err());
            let tenant: String =
                line.conn.query_one_scalar(TENANT, &[]).await.expect("the next one is as ever");
            assert_eq!(tenant, "seven");
        }
        line.conn.release().expect("a release");
        assert_eq!(line.ids().await, [-1, 0], "{reset}");
    }
}

/// They are prepared one after the other, and none takes another's doubt for its own.
#[tokio::test]
async fn statements_that_run_together_are_prepared_together() {
    let line = Line::new(Reset::Auto).await;
    let schema = "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TYPE pair AS (one mood, other mood)";
    line.conn.batch_execute(schema).await.expect("types");
    let texts: Vec<String> = (0..12)
        .map(|number| format!("SELECT {number}, 'glad'::mood, NULL::pair, ARRAY['sad']::mood[]"))
        .collect();
    for settings in [false, true] {
        if settings {
            line.conn.set_config("app.tenant", "7").expect("a setting");
        }
        let answers = join_all(texts.iter().map(|sql| line.conn.query_one(sql, &[]))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let tx = line.conn.transaction().await.expect("a transaction");
        let rows = try_join_all(texts.iter().map(|sql| tx.query_one(sql, &[]))).await.expect("all");
        assert!(rows.iter().zip(0..).all(|(row, number)| row.get::<_, i32>(0) == number));
        tx.commit().await.expect("a commit");
    }
}

/// Columns that changed their order or their type are found again.
#[tokio::test]
async fn a_row_is_read_by_the_columns_that_it_has() {
    let line = Line::new(Reset::Auto).await;
    let sql = "SELECT * FROM pairs";
    line.conn
        .batch_execute("CREATE TABLE pairs (a int, b int); INSERT INTO pairs VALUES (1, 2)")
        .await
        .expect("a table");
    #[derive(actix_pg::FromRow, Debug, PartialEq)]
    struct Pair {
        a: i32,
        b: i32,
    }
    for _ in 0..2 {
        assert_eq!(line.conn.query_as::<Pair>(sql, &[]).await.expect("rows"), [Pair { a: 1, b: 2 }]);
    }
    let turned = "DROP TABLE pairs; CREATE TABLE pairs (b int, a int); INSERT INTO pairs VALUES (2, 1)";
    line.conn.batch_execute(turned).await.expect("another table");
    for _ in 0..2 {
        assert_eq!(line.conn.query_as::<Pair>(sql, &[]).await.expect("rows"), [Pair { a: 1, b: 2 }]);
    }
    let typed = "CREATE TYPE mood AS ENUM ('glad'); DROP TABLE pairs; CREATE TABLE pairs (a mood, b int)";
    line.conn.batch_execute(typed).await.expect("another table");
    // The driver looks the type up by itself, so the session ends with the request.
    assert!(line.conn.query("SELECT a FROM pairs", &[]).await.expect("rows").is_empty());
    line.conn.batch_execute("INSERT INTO pairs VALUES ('glad', 1)").await.expect("a row");
    assert_eq!(line.conn.query(sql, &[]).await.expect("a row").len(), 1);
    line.conn.release().expect("a release");
    assert_eq!(line.db.query(sql, &[]).await.expect("a row").len(), 1);
}

/// The driver cannot go on after it.
#[tokio::test]
async fn a_copy_by_a_verb_that_cannot_copy_costs_the_session_and_nothing_else() {
    let line = Line::new(Reset::Auto).await;
    for sql in ["COPY t TO STDOUT", "COPY t FROM STDIN"] {
        assert!(soon("an error", line.conn.execute(sql, &[])).await.is_err());
        line.conn.release().expect("a release");
        assert!(soon("an error", line.conn.batch_execute(sql)).await.is_err());
        line.conn.release().expect("a release");
        assert_eq!(soon("the ids", line.ids()).await, [-1, 0]);
    }
}
