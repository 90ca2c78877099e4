//! With `statement_cache_size = 0` a text is prepared once for all sessions. From then on it goes out without a name, in one message.

mod changes;
mod types;

use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::types::ToSql;
use actix_pg::{Config, Database, Error, FromRow, GenericClient, Pooler};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use test_support::{Observer, Proxy, all_returned, assert_whole, backend, connected, database, sized, soon};
use tokio::time::timeout;

const SCHEMA: &str = "
    CREATE TYPE status AS ENUM ('new', 'paid', 'sent');
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE DOMAIN price AS numeric CHECK (value >= 0);
    CREATE TYPE place AS (street text, number int, mood mood);
    CREATE TABLE things (id int PRIMARY KEY, name text NOT NULL DEFAULT '');
    CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, status status NOT NULL, mood mood, price price, home place);
    CREATE SEQUENCE runs;
    INSERT INTO things VALUES (1, 'one'), (2, 'two')";

const READ: &str = "SELECT id, name FROM things WHERE id = $1";
const WRITE: &str = "INSERT INTO things (id, name) VALUES ($1, $2)";
const NAMES: &str = "SELECT statement FROM pg_prepared_statements WHERE NOT from_sql";

struct Line {
    db: Database,
    proxy: Proxy,
    database: TestDatabase,
}

impl Line {
    async fn new(size: u32, pooler: Pooler) -> Self {
        Self::keeping(0, size, pooler).await
    }

    /// With so many prepared statements.
    async fn keeping(statement_cache_size: u32, size: u32, pooler: Pooler) -> Self {
        let database = database().await;
        Observer::of(&database).await.connection().batch_execute(SCHEMA).await.expect("a schema");
        let (proxy, through) = Proxy::to(&database).await;
        let config = Config { statement_cache_size, pooler, ..sized(through, size) };
        Self { db: connected(config).await, proxy, database }
    }

    async fn one() -> Self {
        Self::new(1, Pooler::None).await
    }

    /// Runs DDL beside the pool.
    async fn change(&self, sql: &str) {
        Observer::of(&self.database).await.connection().batch_execute(sql).await.expect("a change");
    }

    /// The round trips of something.
    async fn trips<T, E: std::fmt::Debug>(&self, future: impl Future<Output = Result<T, E>>) -> (usize, T) {
        let before = self.proxy.round_trips();
        let output = soon("an answer", future).await.expect("no failure");
        (self.proxy.round_trips() - before, output)
    }

    async fn count(&self) -> i64 {
        let observer = Observer::of(&self.database).await;
        observer.connection().query_one_scalar("SELECT count(*) FROM things", &[]).await.expect("a count")
    }
}

/// What is prepared on a session by name, but for the driver's look-ups of types.
async fn names(conn: &impl GenericClient) -> Vec<String> {
    let mut names: Vec<String> = conn.query_scalar(NAMES, &[]).await.expect("names");
    names.retain(|sql| sql != NAMES && !sql.contains("pg_catalog"));
    names
}

#[derive(Debug, PartialEq, FromRow)]
struct Thing {
    id: i32,
    name: String,
}

fn thing(id: i32, name: &str) -> Thing {
    Thing { id, name: name.to_owned() }
}

/// P19: on every session, by every verb, in and out of transactions, behind settings, and before and after a release.
#[actix_web::test]
async fn a_text_that_is_known_costs_one_round_trip_on_every_session() {
    for pooler in [Pooler::None, Pooler::Session] {
        let line = Line::new(2, pooler).await;
        let (first, second) = (line.db.connection(), line.db.connection());
        assert_ne!(backend(&first).await, backend(&second).await);
        assert_eq!(line.trips(first.query(READ, &[&1])).await.0, 2, "it is prepared once");
        assert_eq!(line.trips(first.execute(WRITE, &[&3, &"three"])).await.0, 2);
        for conn in [&second, &first] {
            // What was prepared by name is closed before this is answered.
            backend(conn).await;
            assert_eq!(line.trips(conn.query_as::<Thing>(READ, &[&1])).await, (1, vec![thing(1, "one")]));
            assert_eq!(line.trips(conn.query_opt(READ, &[&9])).await.0, 1);
            assert_eq!(line.trips(conn.query_one_as::<Thing>(READ, &[&3])).await, (1, thing(3, "three")));
            let id = if std::ptr::eq(conn, &first) { 10 } else { 20 };
            assert_eq!(line.trips(conn.execute(WRITE, &[&id, &"ten"])).await, (1, 1));
            let rows = line.trips(conn.query_raw_as::<Thing>(READ, &[&2])).await;
            assert_eq!(
                (rows.0, rows.1.try_collect::<Vec<_>>().await.expect("a row")),
                (1, vec![thing(2, "two")])
            );

            let tx = conn.transaction().await.expect("a transaction");
            assert_eq!(line.trips(tx.query(READ, &[&1])).await.0, 1, "with its BEGIN");
            assert_eq!(line.trips(tx.execute(WRITE, &[&(id + 1), &"ten"])).await, (1, 1));
            let rows = line.trips(tx.query_raw(READ, &[&1])).await;
            assert_eq!((rows.0, rows.1.try_collect::<Vec<_>>().await.expect("a row").len()), (1, 1));
            tx.commit().await.expect("a commit");

            conn.set_config("app.tenant", "seven").expect("a setting");
            assert_eq!(line.trips(conn.query(READ, &[&1])).await.0, 1, "with the setting");
            conn.set_config("app.tenant", "eight").expect("a setting");
            assert_eq!(
                line.trips(conn.execute(WRITE, &[&(id + 2), &"ten"])).await.0,
                2,
                "behind the setting"
            );
            assert!(names(conn).await.is_empty());
        }
        first.release().expect("nobody uses it");
        second.release().expect("nobody uses it");
        all_returned(&line.db).await;
        first.query("SELECT 1", &[]).await.expect("a row");
        assert_eq!(line.trips(first.query(READ, &[&1])).await.0, 1);
        assert!(names(&first).await.is_empty());
    }
}

/// Behind a pooler that gives each transaction another backend, too.
#[actix_web::test]
async fn behind_a_pooler_in_transaction_mode_it_is_as_many() {
    let line = Line::new(1, Pooler::Transaction).await;
    let conn = line.db.connection();
    let batch: [(&str, &[&(dyn ToSql + Sync)]); 3] = [(READ, &[&1]), (WRITE, &[&5, &"five"]), (READ, &[&5])];
    conn.batch(&batch).await.expect("all");
    conn.execute("DELETE FROM things WHERE id > 2", &[]).await.expect("rows");
    // What was prepared by name is closed before this is answered.
    conn.query(READ, &[&1]).await.expect("a row");
    assert_eq!(line.trips(conn.query_as::<Thing>(READ, &[&1])).await, (1, vec![thing(1, "one")]));
    assert_eq!(line.trips(conn.execute(WRITE, &[&7, &"seven"])).await, (1, 1));
    assert_eq!(line.trips(conn.batch(&batch)).await, (2, vec![1, 1, 1]));
    let tx = conn.transaction().await.expect("a transaction");
    tx.query(READ, &[&1]).await.expect("a row");
    let rows = line.trips(tx.query_raw_as::<Thing>(READ, &[&1])).await;
    assert_eq!((rows.0, rows.1.try_collect::<Vec<_>>().await.expect("a row")), (1, vec![thing(1, "one")]));
    assert!(names(&tx).await.is_empty());
    tx.commit().await.expect("a commit");
    drop(conn);
    line.db.close().await;
}

/// Different statements of a batch need not be prepared one after the other; many rows of one are prepared once.
#[actix_web::test]
async fn a_batch_of_texts_that_are_known_is_one_message_behind_its_begin() {
    let line = Line::one().await;
    let conn = line.db.connection();
    let rename = "UPDATE things SET name = $2 WHERE id = $1";
    let batch: [(&str, &[&(dyn ToSql + Sync)]); 4] =
        [(WRITE, &[&5, &"five"]), (rename, &[&5, &"FIVE"]), (WRITE, &[&6, &"six"]), (READ, &[&6])];
    let affected = conn.batch(&batch).await.expect("all");
    assert_eq!(affected, [1, 1, 1, 1]);
    conn.execute("DELETE FROM things WHERE id > 2", &[]).await.expect("rows");
    assert_eq!(line.trips(conn.batch(&batch)).await, (2, vec![1, 1, 1, 1]));
    assert_eq!(line.trips(conn.execute_many(WRITE, [[&7 as &(dyn ToSql + Sync), &"seven"]])).await, (2, 1));
    let rows = (10..500).map(|id| (id, "many")).collect::<Vec<_>>();
    let rows = rows.iter().map(|(id, name)| [id as &(dyn ToSql + Sync), name]);
    assert_eq!(line.trips(conn.execute_many(WRITE, rows)).await.1, 490);
    // A parameter that does not fit, and too few of them.
    let wrong: [(&str, &[&(dyn ToSql + Sync)]); 2] = [(WRITE, &[&8, &"eight"]), (WRITE, &[&"9", &"nine"])];
    assert!(matches!(conn.batch(&wrong).await, Err(Error::Batch { index: 1, .. })));
    let few: [(&str, &[&(dyn ToSql + Sync)]); 2] = [(rename, &[&8, &"eight"]), (WRITE, &[&9])];
    assert!(matches!(conn.batch(&few).await, Err(Error::Batch { index: 1, .. })));
    assert!(names(&conn).await.is_empty());
    drop(conn);
    assert_eq!(line.count().await, 2 + 3 + 490);
    assert_whole(&line.db).await;
}

/// What a batch does to a table holds for its statements behind that.
#[actix_web::test]
async fn a_batch_that_changes_a_table_knows_it() {
    let line = Line::one().await;
    let conn = line.db.connection();
    for id in [5, 6] {
        conn.execute(WRITE, &[&id, &"known"]).await.expect("a row");
    }
    let batch: [(&str, &[&(dyn ToSql + Sync)]); 2] =
        [("ALTER TABLE things ALTER id TYPE text", &[]), (WRITE, &[&"7", &"seven"])];
    assert_eq!(conn.batch(&batch).await.expect("all"), [0, 1]);
}

/// The server sends a long description in pieces, the last one with the first row.
#[actix_web::test]
async fn a_wide_answer_may_take_its_time() {
    let line = Line::one().await;
    let conn = line.db.connection();
    let columns = (0..600).map(|column| format!("1 AS a_column_with_a_name_{column}")).collect::<Vec<_>>();
    let sql = format!("SELECT {} FROM (SELECT pg_sleep($1)) AS slept", columns.join(", "));
    conn.query(&sql, &[&0.0]).await.expect("a row");
    conn.query("SELECT 1", &[]).await.expect("a row");
    let (trips, rows) = line.trips(conn.query(&sql, &[&1.5])).await;
    assert_eq!((trips, rows[0].len()), (2, 600), "it is prepared each time");
}

#[actix_web::test]
async fn what_is_refused_leaves_the_session_as_it_was() {
    let line = Line::one().await;
    let conn = line.db.connection();
    for _ in 0..2 {
        conn.query(READ, &[&1]).await.expect("a row");
        conn.execute("DELETE FROM things WHERE id = $1 AND name = $2", &[&9, &"nine"]).await.expect("none");
    }
    let too_few = conn.query(READ, &[]).await.expect_err("a parameter is missing");
    let too_many = conn.query(READ, &[&1, &2]).await.expect_err("a parameter too many");
    for (err, found) in [(too_few, 0), (too_many, 2)] {
        assert!(format!("{err:#}").contains(&format!("expected 1 parameters but got {found}")), "{err}");
    }
    let wrong = conn.query(READ, &[&"1"]).await.expect_err("no number");
    assert!(format!("{wrong:#}").contains("parameter 0"), "{wrong:#}");
    conn.query(READ, &[&1]).await.expect("a row");
    assert_eq!(line.trips(conn.query(READ, &[&1])).await.0, 1);
    for number in 5..7 {
        conn.execute(WRITE, &[&number, &"five"]).await.expect("a row");
    }
    let before = line.proxy.round_trips();
    let twice = conn.execute(WRITE, &[&5, &"five"]).await.expect_err("it is there");
    assert_eq!((twice.constraint(), line.proxy.round_trips() - before), (Some("things_pkey"), 1));
    let divided = "SELECT 1 / (3 - id) FROM generate_series(1, $1) AS id";
    assert_eq!(conn.query(divided, &[&2]).await.expect("rows").len(), 2);
    let err = conn.query(divided, &[&3]).await.expect_err("in the middle of the answer");
    assert_eq!(err.code().map(|code| code.code()), Some("22012"));
    assert!(matches!(conn.query_opt(divided, &[&2]).await, Err(Error::TooManyRows)));
    let many = "SELECT id FROM generate_series(1, $1) AS id";
    conn.query(many, &[&2]).await.expect("rows");
    assert!(matches!(conn.query_opt(many, &[&10_000_000]).await, Err(Error::TooManyRows)));
    drop(conn);
    assert_whole(&line.db).await;
}

/// P18: an abandoned statement is cancelled, wherever it was left.
#[actix_web::test]
async fn a_statement_that_is_dropped_is_cancelled() {
    let line = Line::one().await;
    let conn = line.db.connection();
    let sleep = "SELECT pg_sleep($1)::text";
    conn.query(sleep, &[&0.0]).await.expect("a row");
    for pause in [0, 1, 5, 50] {
        let dropped = timeout(Duration::from_millis(pause), conn.query(sleep, &[&60.0])).await;
        assert!(dropped.is_err());
        assert_eq!(soon("a row", conn.query(READ, &[&1])).await.expect("a row").len(), 1);
    }
    let long = "SELECT repeat('x', 1000) FROM generate_series(1, $1)";
    conn.query(long, &[&1]).await.expect("a row");
    let mut rows = conn.query_raw(long, &[&1_000_000]).await.expect("rows");
    rows.try_next().await.expect("a row");
    drop(rows);
    assert_eq!(soon("a row", conn.query(READ, &[&1])).await.expect("a row").len(), 1);
    assert!(names(&conn).await.is_empty());
    drop(conn);
    assert_whole(&line.db).await;
}

/// Many texts and many users of one session at a time.
#[actix_web::test]
async fn statements_that_run_together_get_their_own_answers() {
    let line = Line::new(2, Pooler::None).await;
    for round in 0..3 {
        let conn = line.db.connection();
        let texts = (0..100).map(|number| format!("SELECT $1::int + {}", number % 30)).collect::<Vec<_>>();
        let params: [&(dyn ToSql + Sync); 1] = [&round];
        let answers = join_all(texts.iter().map(|sql| conn.query_one_scalar::<i32>(sql, &params))).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.expect("a number"), round + number as i32 % 30);
        }
    }
    assert_whole(&line.db).await;
}
