//! COPY: what was copied is committed, and no answer of the session belongs to another question afterwards.

use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use actix_pg::{BinaryCopyIn, Connection, Database, Error, IsolationLevel, Reset};
use actix_web::web::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt};
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

const NAMED: &str = "CREATE TYPE mood AS ENUM ('calm', 'wild');
    CREATE TABLE named (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, name text, mood mood)";

async fn named(conn: &Connection) -> BinaryCopyIn {
    let copy = conn.copy_in("COPY named (id, name) FROM STDIN (FORMAT binary)").await.expect("a copy");
    copy.binary(&[Type::INT4, Type::TEXT])
}

#[tokio::test]
async fn rows_in_binary_arrive_as_they_were() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute(NAMED).await.unwrap();
    assert_eq!(named(&conn).await.finish().await.unwrap(), 0);

    let names = ["", "a\tb\\N\"\n\0".trim_end_matches('\0'), "ü"].map(Some).into_iter().chain([None]);
    let mut rows = named(&conn).await;
    for (id, name) in names.clone().enumerate() {
        rows.write(&[&(id as i32), &name]).await.unwrap();
    }
    // More than a piece, and a value that is more than one.
    let long = "x".repeat(100_000);
    for id in 100..5_100 {
        let name = if id == 3_000 { &long[..] } else { "y" };
        rows.write_raw([&id as &(dyn ToSql + Sync), &name]).await.unwrap();
    }
    assert_eq!(rows.finish().await.unwrap(), 5_004);
    let found: Vec<Option<String>> =
        conn.query_scalar("SELECT name FROM named WHERE id < 100 ORDER BY id", &[]).await.unwrap();
    assert!(found.iter().map(Option::as_deref).eq(names));
    let lengths = "SELECT sum(length(name)) FROM named WHERE id >= 100";
    assert_eq!(conn.query_one_scalar::<i64>(lengths, &[]).await.unwrap(), 104_999);

    // The type of a column that is not in the list.
    let client = conn.client().await.unwrap();
    let mood = client.prepare("SELECT $1::mood").await.unwrap().params()[0].clone();
    drop(client);
    let copy = conn.copy_in("COPY named (id, mood) FROM STDIN (FORMAT binary)").await.unwrap();
    let mut rows = copy.binary(&[Type::INT4, mood]);
    #[derive(Debug)]
    struct Mood(&'static str);
    impl ToSql for Mood {
        fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Wrote {
            out.extend_from_slice(self.0.as_bytes());
            Ok(IsNull::No)
        }
        fn accepts(ty: &Type) -> bool {
            ty.name() == "mood"
        }
        to_sql_checked!();
    }
    rows.write(&[&9_000, &Mood("wild")]).await.unwrap();
    assert_eq!(rows.finish().await.unwrap(), 1);
}

type Expected = fn(&Error) -> bool;

type Row<'a> = &'a [&'a (dyn ToSql + Sync)];

type Wrote = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

/// Text that cannot be written, when it has been written by half.
#[derive(Debug)]
enum Half {
    Refused,
    Panics,
}

impl ToSql for Half {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Wrote {
        out.extend_from_slice(b"half");
        match self {
            Self::Refused => Err("a secret".into()),
            Self::Panics => panic!("a value panics"),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// P17, P22.
#[tokio::test]
async fn a_row_that_cannot_be_written_fails_the_copy() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute(NAMED).await.unwrap();
    for many in [1, 2_000] {
        let wrong: [(Row<'_>, Expected); 4] = [
            (&[&1], |err| matches!(err, Error::CopyRow { expected: 2, found: 1 })),
            (&[&1, &"a", &"b"], |err| matches!(err, Error::CopyRow { expected: 2, found: 3 })),
            (&[&1_i64, &"a"], |err| matches!(err, Error::CopyValue { column: 0, .. })),
            (&[&1, &Half::Refused], |err| matches!(err, Error::CopyValue { column: 1, .. })),
        ];
        for (row, expected) in wrong {
            let mut rows = named(&conn).await;
            for id in 0..many {
                rows.write(&[&id, &"a longer name than one letter"]).await.unwrap();
            }
            let err = rows.write(row).await.unwrap_err();
            assert!(expected(&err), "{err:?}");
            assert!(!format!("{err:?}").contains("secret"), "{err:?}");
            assert!(matches!(rows.write(&[&-1, &"a"]).await, Err(Error::CopyFailed)));
            assert!(matches!(rows.finish().await, Err(Error::CopyFailed)));
            assert_eq!(count(&conn, "named").await, 0);
        }
        let mut rows = named(&conn).await;
        rows.write(&[&1, &"a"]).await.unwrap();
        let row: Row<'_> = &[&1, &Half::Panics];
        assert!(std::panic::AssertUnwindSafe(rows.write(row)).catch_unwind().await.is_err());
        assert!(matches!(rows.finish().await, Err(Error::CopyFailed)));
        assert_eq!(count(&conn, "named").await, 0);
    }
}

/// `Ok` is for rows that are committed.
#[tokio::test]
async fn rows_in_binary_that_the_server_does_not_keep_are_an_error() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    let observer = Observer::of(&database).await;
    conn.batch_execute(NAMED).await.unwrap();
    // Two of the same, which is checked by the commit.
    let mut rows = named(&conn).await;
    for _ in 0..2 {
        rows.write(&[&1, &"a"]).await.unwrap();
    }
    assert_eq!(rows.finish().await.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    // Another type than that of the column.
    let copy = conn.copy_in("COPY named (id, name) FROM STDIN (FORMAT binary)").await.unwrap();
    let mut rows = copy.binary(&[Type::INT8, Type::TEXT]);
    rows.write(&[&1_i64, &"a"]).await.unwrap();
    assert_eq!(rows.finish().await.unwrap_err().code(), Some(&SqlState::INVALID_BINARY_REPRESENTATION));
    assert_eq!(count(&conn, "named").await, 0);
    // Dropped, and lost.
    let mut rows = named(&conn).await;
    rows.write(&[&1, &"a"]).await.unwrap();
    drop(rows);
    assert_eq!(count(&conn, "named").await, 0);
    let pid = backend(&conn).await;
    let mut rows = named(&conn).await;
    observer.terminate(pid).await;
    let mut lost = Ok(());
    for id in 0..100_000 {
        lost = rows.write(&[&id, &"a"]).await;
        if lost.is_err() {
            break;
        }
    }
    let lost = lost.and(rows.finish().await.map(drop));
    assert!(lost.is_err());
    conn.release().unwrap();
    assert_eq!(count(&conn, "named").await, 0);
    // In a transaction it is for the commit to say.
    let tx = conn.transaction().await.unwrap();
    let mut rows = named(&conn).await;
    for _ in 0..2 {
        rows.write(&[&1, &"a"]).await.unwrap();
    }
    assert_eq!(rows.finish().await.unwrap(), 2);
    assert_eq!(tx.commit().await.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!(count(&conn, "named").await, 0);
}
