//! Tables that change under texts that are known.

use std::error;
use std::time::Duration;

use actix_pg::tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use actix_pg::{Connection, Error, FromRow, Pooler};
use actix_web::web::BytesMut;
use futures_util::TryStreamExt;
use futures_util::future::join;

use super::{Line, READ, Thing, WRITE, thing};

type Boxed = Box<dyn error::Error + Sync + Send>;

/// A number that is written as what the server asks for.
#[derive(Debug)]
struct Number(i32);

impl ToSql for Number {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match *of {
            Type::INT8 => i64::from(self.0).to_sql(of, out),
            Type::TEXT => self.0.to_string().to_sql(of, out),
            _ => self.0.to_sql(of, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The server refuses the type that was known, and has run nothing.
#[actix_web::test]
async fn a_parameter_whose_type_has_changed_is_looked_up_again() {
    let line = Line::one().await;
    let conn = line.db.connection();
    for _ in 0..2 {
        assert_eq!(conn.query_one_as::<Thing>(READ, &[&Number(1)]).await.expect("a thing"), thing(1, "one"));
        conn.execute(WRITE, &[&Number(7), &"seven"]).await.expect("a row");
        conn.execute("DELETE FROM things WHERE id = $1", &[&Number(7)]).await.expect("a row");
    }
    let read = "SELECT name FROM things WHERE id = $1";
    let name: String = conn.query_one_scalar(read, &[&Number(1)]).await.expect("a name");
    assert_eq!(name, "one");
    line.change("ALTER TABLE things ALTER id TYPE text").await;
    assert_eq!(line.trips(conn.query(read, &[&Number(1)])).await.0, 3, "refused, prepared, sent");
    assert_eq!(line.trips(conn.query(read, &[&Number(1)])).await.0, 1);
    assert_eq!(conn.execute("DELETE FROM things WHERE id = $1", &[&Number(2)]).await.expect("a row"), 1);
    // The driver refuses a parameter that fits the table as it is.
    let tx = conn.transaction().await.expect("a transaction");
    tx.execute(WRITE, &[&"7", &"seven"]).await.expect("a row");
    tx.commit().await.expect("a commit");
    // In a transaction the first refusal stands, once.
    line.change("ALTER TABLE things ALTER id TYPE int USING id::int").await;
    let tx = conn.transaction().await.expect("a transaction");
    let err = tx.query(read, &[&Number(1)]).await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("42883"));
    tx.rollback().await.expect("an end");
    let tx = conn.transaction().await.expect("a transaction");
    assert_eq!(tx.query(read, &[&Number(1)]).await.expect("a row").len(), 1);
    tx.commit().await.expect("a commit");
    // Also in one that SQL has begun.
    line.change("ALTER TABLE things ALTER id TYPE text").await;
    conn.batch_execute("BEGIN").await.expect("a transaction");
    let err = conn.query(read, &[&Number(1)]).await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("42883"));
    conn.batch_execute("ROLLBACK").await.expect("an end");
    assert_eq!(conn.query(read, &[&Number(1)]).await.expect("a row").len(), 1);
    // A batch fails once, as a whole.
    let batch: [(&str, &[&(dyn ToSql + Sync)]); 2] =
        [("DELETE FROM things", &[]), ("DELETE FROM things WHERE id = $1", &[&Number(1)])];
    conn.batch(&batch[1..]).await.expect("a row");
    conn.execute(WRITE, &[&"1", &"one"]).await.expect("a row");
    line.change("ALTER TABLE things ALTER id TYPE int USING id::int").await;
    let before = line.count().await;
    assert!(matches!(conn.batch(&batch).await, Err(Error::Batch { index: 1, .. })));
    assert_eq!(line.count().await, before);
    conn.batch(&batch).await.expect("all");
    assert_eq!(line.count().await, 0);
}

/// A statement that is refused, and is prepared and sent again, is in the transaction in which it was sent, or does not run. Also one that was
/// prepared before the change.
#[actix_web::test]
async fn a_text_that_is_refused_changes_no_transaction() {
    for (kept, sql, change) in [
        (0, "DELETE FROM things WHERE id = $1", "ALTER TABLE things ALTER id TYPE text"),
        (100, "DELETE FROM things WHERE id = $1 RETURNING *", "ALTER TABLE things ADD COLUMN more int"),
    ] {
        for begins_behind in [true, false] {
            let line = Line::keeping(kept, 1, Pooler::None).await;
            let conn = line.db.connection();
            conn.execute(sql, &[&Number(9)]).await.expect("no row");
            line.change(change).await;
            line.proxy.delay(Duration::from_millis(100));
            let deleted = if begins_behind {
                // It is on its way when the transaction begins.
                let rolled_back = async {
                    let tx = conn.transaction().await.expect("a transaction");
                    tx.query("SELECT 1", &[]).await.expect("a row");
                    tx.rollback().await.expect("an end");
                };
                join(conn.execute(sql, &[&Number(1)]), rolled_back).await.0
            } else {
                // It is on its way in the transaction when that is given up.
                let tx = conn.transaction().await.expect("a transaction");
                tx.execute("DELETE FROM things WHERE name = 'two'", &[]).await.expect("a row");
                join(conn.execute(sql, &[&Number(1)]), async { drop(tx) }).await.0
            };
            line.proxy.heal();
            let count = line.count().await;
            match deleted {
                Ok(deleted) => assert_eq!((deleted, count), (1, 1), "{sql}"),
                Err(err) => {
                    let code = err.code().map(|code| code.code().to_owned());
                    assert!(matches!(code.as_deref(), Some("42883" | "0A000")), "{err:?}");
                    assert_eq!(count, 2, "{sql}");
                }
            }
            assert!(begins_behind || count == 2, "the transaction was rolled back");
        }
    }
}

/// What a function says in the server's words comes from something that has run.
#[actix_web::test]
async fn a_statement_that_refuses_itself_runs_once() {
    let line = Line::one().await;
    let functions = ["42883", "42804", "42846", "0A000", "42704"].map(|code| {
        format!(
            "CREATE FUNCTION raises_{code}(int, stops bool) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
                 PERFORM nextval('runs');
                 IF stops THEN RAISE EXCEPTION 'operator does not exist' USING ERRCODE = '{code}'; END IF;
                 RETURN 1;
             END $$;"
        )
    });
    line.change(&functions.concat()).await;
    let conn = line.db.connection();
    for code in ["42883", "42804", "42846", "0A000", "42704"] {
        for sql in [format!("SELECT raises_{code}(1, $1)"), format!("SELECT raises_{code}($2, $1)")] {
            let params: &[&(dyn ToSql + Sync)] = if sql.contains("$2") { &[&false, &1] } else { &[&false] };
            let failing: &[&(dyn ToSql + Sync)] = if sql.contains("$2") { &[&true, &1] } else { &[&true] };
            conn.query(&sql, params).await.expect("a row");
            let before: i64 = conn.query_one_scalar("SELECT nextval('runs')", &[]).await.expect("a number");
            let err = conn.query(&sql, failing).await.expect_err("a refusal");
            assert_eq!(err.code().map(|code| code.code()), Some(code));
            let after: i64 = conn.query_one_scalar("SELECT nextval('runs')", &[]).await.expect("a number");
            assert_eq!(after, before + 2, "{sql}");
        }
    }
}

/// A row's own columns count. Where they do not fit, that is found out once.
#[actix_web::test]
async fn rows_are_read_by_the_columns_that_they_have() {
    let line = Line::one().await;
    let conn = line.db.connection();
    let all = "SELECT * FROM things WHERE id = 1";
    let written = "UPDATE things SET name = 'one' WHERE id = 1 RETURNING *";
    let read = async |conn: &Connection| {
        let rows = conn.query_raw_as::<Thing>(all, &[]).await.expect("rows");
        let rows = rows.try_collect::<Vec<_>>().await.expect("a row");
        assert_eq!(rows, [thing(1, "one")]);
        assert_eq!(conn.query_as::<Thing>(all, &[]).await.expect("a row"), rows);
        assert_eq!(conn.query_opt_as::<Thing>(written, &[]).await.expect("a row").as_ref(), rows.first());
    };
    read(&conn).await;
    for columns in ["name text, id int", "x int, name varchar(10), y int, id int", "id int, name text"] {
        line.change(&format!(
            "CREATE TABLE others ({columns}); INSERT INTO others (id, name) VALUES (1, 'one');
             DROP TABLE things; ALTER TABLE others RENAME TO things"
        ))
        .await;
        read(&conn).await;
        read(&conn).await;
    }
    // One whose name is gone.
    line.change("ALTER TABLE things RENAME name TO title").await;
    let mut rows = conn.query_raw_as::<Thing>(all, &[]).await.expect("known columns");
    assert!(matches!(rows.try_next().await, Err(Error::Row(_))));
    drop(rows);
    assert!(matches!(conn.query_raw_as::<Thing>(all, &[]).await.err(), Some(Error::Row(_))));
    assert_eq!(line.count().await, 1);
}

/// A struct that does not fit is found out before the statement has run, whether the text is known or not.
#[actix_web::test]
async fn a_statement_whose_columns_do_not_fit_is_not_sent() {
    #[derive(Debug, FromRow)]
    struct Other {
        #[expect(dead_code)]
        size: i32,
    }
    let line = Line::one().await;
    let conn = line.db.connection();
    let sql = "INSERT INTO things VALUES ($1, 'x') RETURNING id, name";
    let refused = async || matches!(conn.query_as::<Other>(sql, &[&9]).await, Err(Error::Row(_)));
    assert!(refused().await);
    assert_eq!(conn.query_one_as::<Thing>(sql, &[&3]).await.expect("a row"), thing(3, "x"));
    assert!(refused().await);
    assert!(matches!(conn.query_raw_as::<Other>(sql, &[&9]).await, Err(Error::Row(_))));
    assert_eq!(line.count().await, 3);
    // The column has come since.
    line.change("CREATE TABLE others AS SELECT id, id AS size FROM things; DROP TABLE things; ALTER TABLE others RENAME TO things").await;
    conn.query("SELECT * FROM things", &[]).await.expect("rows");
    assert_eq!(conn.query_as::<Other>("SELECT * FROM things", &[]).await.expect("rows").len(), 3);
}

/// Behind a pooler in transaction mode nothing fails either, but what is in a transaction, once.
#[actix_web::test]
async fn behind_a_pooler_in_transaction_mode_a_parameter_is_looked_up_again() {
    let line = Line::new(1, Pooler::Transaction).await;
    let conn = line.db.connection();
    let (read, write) =
        ("SELECT name FROM things WHERE id = $1", "UPDATE things SET name = name WHERE id = $1");
    let mut is_text = false;
    for settings in [false, true] {
        if settings {
            conn.set_config("app.tenant", "seven").expect("a setting");
        }
        for _ in 0..2 {
            for _ in 0..2 {
                assert_eq!(conn.query(read, &[&Number(1)]).await.expect("a row").len(), 1);
                assert_eq!(conn.execute(write, &[&Number(1)]).await.expect("a row"), 1);
            }
            let of = if is_text { "int USING id::int" } else { "text" };
            line.change(&format!("ALTER TABLE things ALTER id TYPE {of}")).await;
            is_text = !is_text;
        }
    }
    assert_eq!(conn.query(read, &[&Number(1)]).await.expect("a row").len(), 1);
    let tx = conn.transaction().await.expect("a transaction");
    for _ in 0..2 {
        let rows = tx.query_raw(READ, &[&1]).await.expect("rows");
        assert_eq!(rows.try_collect::<Vec<_>>().await.expect("a row").len(), 1);
    }
    tx.commit().await.expect("a commit");
    line.change("ALTER TABLE things ALTER id TYPE text").await;
    let tx = conn.transaction().await.expect("a transaction");
    let rows = tx.query_raw(READ, &[&"1"]).await.expect("nothing was sent before");
    assert_eq!(rows.try_collect::<Vec<_>>().await.expect("a row").len(), 1);
    let err = tx.query(read, &[&Number(1)]).await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("42883"));
    tx.rollback().await.expect("an end");
    let tx = conn.transaction().await.expect("a transaction");
    assert_eq!(tx.query(read, &[&Number(1)]).await.expect("a row").len(), 1);
    tx.commit().await.expect("a commit");
}

/// A text means the tables of the search path. What is known of it for one tenant is not what another one has.
#[actix_web::test]
async fn a_search_path_has_types_of_its_own() {
    let line = Line::one().await;
    line.change("CREATE EXTENSION IF NOT EXISTS citext").await;
    for (tenant, of) in [("one", "text"), ("two", "citext")] {
        line.change(&format!(
            "CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.users (email public.{of}); INSERT INTO {tenant}.users VALUES ('Ada')"
        ).replace("public.text", "text"))
        .await;
    }
    let sql = "SELECT count(*) FROM users WHERE email = $1";
    for _ in 0..2 {
        for (tenant, found) in [("one", 0), ("two", 1)] {
            let conn = line.db.connection();
            conn.set_config("search_path", &format!("{tenant}, public")).expect("a setting");
            let count: i64 = conn.query_one_scalar(sql, &[&"ADA"]).await.expect("a count");
            assert_eq!(count, found, "{tenant}");
            conn.close().expect("nothing runs");
            let conn = line.db.connection();
            conn.batch_execute(&format!("SET search_path = {tenant}, public")).await.expect("a setting");
            let count: i64 = conn.query_one_scalar(sql, &[&"ADA"]).await.expect("a count");
            assert_eq!(count, found, "{tenant}");
        }
    }
}
