//! COPY: what was copied is committed, and no answer of the session belongs to another question afterwards.

use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Connection, Database, Error, IsolationLevel, Reset};
use actix_web::web::Bytes;
use futures_util::SinkExt;
use test_support::{Observer, backend, connect, copy_in, copy_out, database, eventually, sized};

/// Rows of this table are checked when their transaction ends.
const DEFERRED: &str = "
    CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE judged (id int);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON judged DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse();";

async fn count(conn: &Connection, table: &str) -> i64 {
    conn.query_one_scalar(&format!("SELECT count(*) FROM {table}"), &[]).await.expect("a count")
}

#[tokio::test]
async fn a_copy_that_cannot_be_committed_is_an_error() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute(DEFERRED).await.unwrap();
    for (table, code) in [("later", SqlState::UNIQUE_VIOLATION), ("judged", SqlState::RAISE_EXCEPTION)] {
        let into = format!("COPY {table} FROM STDIN");
        let err = copy_in(&conn, &into, "1\n1\n").await.expect_err(table);
        assert_eq!(err.code(), Some(&code), "{table}");
        assert_eq!(count(&conn, table).await, 0);

        let out = format!("COPY (INSERT INTO {table} VALUES (1), (1) RETURNING id) TO STDOUT");
        let err = copy_out(&conn, &out).await.expect_err(table);
        assert_eq!(err.code(), Some(&code), "{table}");
        assert_eq!(count(&conn, table).await, 0);

        // In a transaction it is for the commit to say.
        let tx = conn.transaction().await.unwrap();
        assert_eq!(copy_in(&conn, &into, "1\n1\n").await.unwrap(), 2);
        let err = tx.commit().await.expect_err(table);
        assert_eq!(err.code(), Some(&code), "{table}");
        assert_eq!(count(&conn, table).await, 0);
    }
    assert_eq!(copy_in(&conn, "COPY later FROM STDIN", "1\n2\n").await.unwrap(), 2);
    assert_eq!(copy_out(&conn, "COPY later TO STDOUT").await.unwrap(), b"1\n2\n");
    assert_eq!(count(&conn, "later").await, 2);
}

#[tokio::test]
async fn a_copy_that_loses_against_another_transaction_is_an_error() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute(
        "CREATE TABLE one (id int); CREATE TABLE other (id int);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM count(*) FROM other; RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE INSERT ON one FOR EACH ROW EXECUTE FUNCTION look();
         SET default_transaction_isolation = serializable",
    )
    .await
    .unwrap();
    let rival = Observer::of(&database).await.connection();
    let mut copy = conn.copy_in("COPY one FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\n")).await.unwrap();
    copy.flush().await.unwrap();
    let copied = "SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid) \
        WHERE relation = 'other'::regclass AND pid <> pg_backend_pid() AND wait_event = 'ClientRead'";
    eventually("the row is copied", async || rival.query_one_scalar::<i64>(copied, &[]).await.unwrap() > 0)
        .await;
    let tx = rival.build_transaction().isolation_level(IsolationLevel::Serializable).begin().await.unwrap();
    tx.execute("SELECT count(*) FROM one", &[]).await.unwrap();
    tx.execute("INSERT INTO other VALUES (1)", &[]).await.unwrap();
    tx.commit().await.unwrap();
    let err = copy.finish().await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{err:?}");
    assert_eq!(count(&conn, "one").await, 0);
}

/// What has ended stays as it ended.
#[tokio::test]
async fn a_copy_that_has_failed_does_not_finish_well_afterwards() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\n1\n")).await.unwrap();
    copy.close().await.unwrap_err();
    copy.finish().await.unwrap_err();
    let mut copy = conn.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
    copy.close().await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
}

/// A failed copy costs neither the request nor the sandbox its session, if its answers are known to be in step.
#[tokio::test]
async fn a_copy_with_wrong_data_costs_no_session() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let before = backend(&conn).await;
    copy_in(&conn, "COPY t FROM STDIN", "1\n1\n").await.unwrap_err();
    assert_eq!(backend(&conn).await, before);
    conn.release().unwrap();
    assert_eq!(backend(&conn).await, before);

    let tx = conn.transaction().await.unwrap();
    let inner = tx.transaction().await.unwrap();
    copy_in(&conn, "COPY t FROM STDIN", "one\n").await.unwrap_err();
    inner.rollback().await.unwrap();
    tx.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&conn, "t").await, 1);
    conn.release().unwrap();

    let sandbox = db.sandbox().await.unwrap();
    sandbox.connection().execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
    copy_in(&sandbox.connection(), "COPY t FROM STDIN", "1\n").await.unwrap_err();
    assert_eq!(copy_in(&sandbox.connection(), "COPY t FROM STDIN", "3\n").await.unwrap(), 1);
    assert_eq!(count(&sandbox.connection(), "t").await, 3);
}

/// By whatever verb it was started, `reset = "never"` or not.
#[tokio::test]
async fn a_session_on_which_a_copy_was_started_is_reset() {
    for reset in [Reset::Auto, Reset::Always, Reset::Never] {
        let database = database().await;
        let config = actix_pg::Config { reset, ..sized(database.config(), 1) };
        let db = Database::connect(config).await.unwrap();
        let conn = db.connection();
        conn.batch_execute("CREATE TABLE t (id int)").await.unwrap();
        for verb in 0..4 {
            conn.batch_execute("SET application_name = 'copying'").await.unwrap();
            match verb {
                0 => assert_eq!(copy_in(&conn, "COPY t FROM STDIN", "1\n").await.unwrap(), 1),
                1 => assert_eq!(copy_out(&conn, "COPY (SELECT 7) TO STDOUT").await.unwrap(), b"7\n"),
                2 => drop(conn.client().await.unwrap()),
                _ => conn.batch_execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'").await.unwrap(),
            }
            conn.release().unwrap();
            let name: String = conn.query_one_scalar("SHOW application_name", &[]).await.unwrap();
            assert_ne!(name, "copying", "{reset:?}, verb {verb}");
        }
    }
}

/// A verb that cannot copy says so; the session is in the middle of a copy then.
#[tokio::test]
async fn a_copy_by_a_verb_that_cannot_copy_breaks_the_session() {
    for reset in [Reset::Auto, Reset::Always, Reset::Never] {
        let database = database().await;
        let config = actix_pg::Config { reset, ..sized(database.config(), 1) };
        let db = Database::connect(config).await.unwrap();
        let conn = db.connection();
        conn.batch_execute("CREATE TABLE t (id int)").await.unwrap();
        for sql in ["COPY t FROM STDIN", "COPY t TO STDOUT", "SELECT 1; COPY t FROM STDIN"] {
            for verb in 0..3 {
                let failed = match verb {
                    0 => conn.batch_execute(sql).await.err(),
                    1 => conn.execute(sql, &[]).await.err(),
                    _ => conn.query(sql, &[]).await.err(),
                };
                failed.expect(sql);
                for question in 0..3 {
                    match conn.query_one_scalar::<i32>("SELECT $1::int", &[&question]).await {
                        Ok(answer) => assert_eq!(answer, question, "{reset:?} {sql} {verb}"),
                        Err(err) => assert!(matches!(err, Error::SessionLost), "{err:?}"),
                    }
                }
                conn.release().unwrap();
                let next = db.connection();
                for question in 0..3 {
                    let answer: i32 =
                        next.query_one_scalar("SELECT $1::int", &[&question]).await.expect("an answer");
                    assert_eq!(answer, question, "{reset:?} {sql} {verb}");
                }
                next.release().unwrap();
            }
        }
    }
}
