//! Batches: all of their statements take effect or none does, in one round trip.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use actix_pg::{BusyWith, Config, Connection, Database, Error, GenericClient, RequestTransaction, Result};
use actix_web::{HttpResponse, web};
use futures_util::{FutureExt, TryStreamExt};
use test_support::{
    FakeServer, Fault, Observer, Phase, Proxy, TestApp, all_returned, assert_whole, backend, connect,
    connected, database, eventually, sized, soon,
};

type Wrote = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

const INSERT: &str = "INSERT INTO t VALUES ($1)";

/// A row of `slow` sleeps when it is inserted or when it is committed, so that somebody can be in time.
const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY);
    CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE slow (id int, at_commit bool);
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
    CREATE TRIGGER at_once AFTER INSERT ON slow FOR EACH ROW WHEN (NOT NEW.at_commit) EXECUTE FUNCTION linger();
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.at_commit) EXECUTE FUNCTION linger();";

async fn table() -> (TestDatabase, Database, Connection) {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute(SCHEMA).await.expect("a schema");
    (database, db, conn)
}

fn rows(ids: impl IntoIterator<Item = i32, IntoIter: Send>) -> impl Iterator<Item = [i32; 1]> + Send {
    ids.into_iter().map(|id| [id])
}

async fn insert(
    client: &impl GenericClient,
    ids: impl IntoIterator<Item = i32, IntoIter: Send>,
) -> Result<u64> {
    client.execute_many(INSERT, rows(ids)).await
}

async fn count(conn: &Connection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    soon("a count", conn.query_one_scalar(&sql, &[])).await.expect("a count")
}

/// The index at which a batch has failed, and why.
fn failed_at(err: &Error) -> (usize, &Error) {
    match err {
        Error::Batch { index, source } => (*index, source),
        other => panic!("{other:?}"),
    }
}

/// The session is in no transaction, and no answer belongs to another question.
async fn assert_clean(db: &Database, conn: &Connection) {
    conn.release().expect("a release");
    let other = db.connection();
    let mut moments = Vec::new();
    for question in 0..2 {
        let sql = "SELECT $1::int, now()::text";
        let row = soon("an answer", other.query_one(sql, &[&question])).await.expect("an answer");
        assert_eq!(row.get::<_, i32>(0), question);
        moments.push(row.get::<_, String>(1));
    }
    assert_ne!(moments[0], moments[1], "a transaction is open");
}

#[tokio::test]
async fn all_rows_take_effect_and_are_counted() {
    let (_database, db, conn) = table().await;
    assert_eq!(insert(&conn, 0..1_000).await.unwrap(), 1_000);
    assert_eq!(
        conn.execute_many("UPDATE t SET id = -id WHERE id BETWEEN $1 AND $1 + 9", rows([1, 500]))
            .await
            .unwrap(),
        20
    );
    assert_eq!(conn.execute_many("DELETE FROM t WHERE id = $1", rows([7_000, 2_000])).await.unwrap(), 0);
    assert_eq!(count(&conn, "t").await, 1_000);
    assert_clean(&db, &conn).await;
}

/// Owned or borrowed, of one type or of several.
#[tokio::test]
async fn a_row_is_any_slice_of_parameters() {
    let (_database, _db, conn) = table().await;
    conn.batch_execute("CREATE TABLE named (id int, name text)").await.unwrap();
    let sql = "INSERT INTO named VALUES ($1, $2)";
    let borrowed = [(1, "ada"), (2, "grace")];
    let arrays = borrowed.iter().map(|(id, name)| [id as &(dyn ToSql + Sync), name]);
    assert_eq!(conn.execute_many(sql, arrays).await.unwrap(), 2);
    let slices: [&[&(dyn ToSql + Sync)]; 2] = [&[&3, &"edsger"], &[&4, &None::<&str>]];
    assert_eq!(conn.execute_many(sql, slices).await.unwrap(), 2);
    assert_eq!(conn.execute_many(sql, &slices).await.unwrap(), 2);
    let owned = (5..7)
        .map(|id| -> Vec<Box<dyn ToSql + Sync + Send>> { vec![Box::new(id), Box::new(id.to_string())] });
    assert_eq!(conn.execute_many(sql, owned).await.unwrap(), 2);
    assert_eq!(conn.execute_many("INSERT INTO named VALUES (7, 'x')", [[0_i32; 0]; 3]).await.unwrap(), 3);
    assert_eq!(count(&conn, "named").await, 11);
}

#[tokio::test]
async fn different_statements_take_effect_together() {
    let (_database, db, conn) = table().await;
    let affected = conn
        .batch(&[
            ("CREATE TABLE made (id int, name text)", &[]),
            ("INSERT INTO made VALUES ($1, $2), (2, 'grace')", &[&1, &"ada"]),
            ("UPDATE made SET id = $1 WHERE name = 'nobody'", &[&3]),
            (INSERT, &[&1]),
            ("SELECT * FROM made", &[]),
        ])
        .await;
    assert_eq!(affected.unwrap(), [0, 2, 0, 1, 2]);
    let err =
        conn.batch(&[(INSERT, &[&2]), ("DROP TABLE made", &[]), (INSERT, &[&1]), (INSERT, &[&3])]).await;
    let err = err.unwrap_err();
    assert_eq!((failed_at(&err).0, err.code()), (2, Some(&SqlState::UNIQUE_VIOLATION)));
    assert_eq!(err.postgres().unwrap().sql(), Some(INSERT));
    // One that cannot be prepared.
    let err = conn.batch(&[(INSERT, &[&2]), ("SELECT nothing", &[])]).await.unwrap_err();
    assert_eq!((failed_at(&err).0, err.code()), (1, Some(&SqlState::UNDEFINED_COLUMN)));
    assert_eq!((count(&conn, "t").await, count(&conn, "made").await), (1, 2));
    assert_clean(&db, &conn).await;
}

/// P1.
#[tokio::test]
async fn an_empty_batch_borrows_nothing() {
    let (_database, db, conn) = table().await;
    conn.release().unwrap();
    all_returned(&db).await;
    assert_eq!(insert(&conn, []).await.unwrap(), 0);
    assert_eq!(conn.batch(&[]).await.unwrap(), [0; 0]);
    assert_eq!(db.status().used, 0);
}

#[tokio::test]
async fn a_batch_is_one_round_trip_and_one_for_begin() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let conn = db.connection();
    conn.batch_execute(SCHEMA).await.unwrap();
    insert(&conn, [-1]).await.unwrap();
    let before = proxy.round_trips();
    insert(&conn, 0..256).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 2);

    let before = proxy.round_trips();
    conn.batch(&[(INSERT, &[&1_000]), ("DELETE FROM t WHERE id = 1000", &[])]).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 4, "a statement was prepared, behind the one before it");
    let before = proxy.round_trips();
    conn.batch(&[(INSERT, &[&1_000]), ("DELETE FROM t WHERE id = 1000", &[])]).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 2);

    let tx = conn.transaction().await.unwrap();
    assert_eq!(count(&conn, "t").await, 257);
    let before = proxy.round_trips();
    insert(&tx, 256..512).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 1);
    insert(&conn, [513]).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 2, "the connection's statements are in the transaction, too");
    let savepoint = tx.transaction().await.unwrap();
    let before = proxy.round_trips();
    insert(&savepoint, 514..600).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 1);
    savepoint.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&conn, "t").await, 600);
}

/// A transaction begins with its first statement, which may be a batch, also one of the connection beside it.
#[tokio::test]
async fn a_batch_begins_a_transaction_that_was_put_off_and_is_a_part_of_it() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let conn = db.connection();
    conn.batch_execute(SCHEMA).await.unwrap();
    conn.release().unwrap();
    insert(&conn, [-1]).await.unwrap();
    for beside in [false, true] {
        let before = proxy.round_trips();
        let tx = conn.transaction().await.unwrap();
        assert_eq!(proxy.round_trips(), before);
        let ran = if beside { insert(&conn, 0..256).await } else { insert(&tx, 0..256).await };
        assert_eq!((ran.unwrap(), proxy.round_trips() - before), (256, 2));
        tx.rollback().await.unwrap();
        assert_eq!(count(&conn, "t").await, 1);
    }
    assert_clean(&db, &conn).await;
}

/// A number of so many bytes.
#[derive(Debug, Clone, Copy)]
struct Long(usize);

impl ToSql for Long {
    fn to_sql(&self, _: &Type, out: &mut web::BytesMut) -> Wrote {
        out.extend(std::iter::repeat_n(0, self.0));
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What the input is ahead of the answers: the fake server answers when it is told to.
#[tokio::test]
async fn so_many_rows_are_unanswered_and_no_more() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let conn = db.connection();
    conn.execute("INSERT INTO t VALUES ($1)", &[&0_i64]).await.unwrap();
    for (bytes, most, rows) in [(8, 257, 2_000), (32 * 1024, 10, 100), (1024 * 1024, 2, 10)] {
        server.hold(Phase::Statement);
        let taken = AtomicUsize::new(0);
        let many =
            std::iter::repeat_n([Long(bytes)], rows).inspect(|_| _ = taken.fetch_add(1, Ordering::Relaxed));
        let mut running = std::pin::pin!(conn.execute_many(INSERT, many));
        let waiting = eventually("the first row is there", async || server.before(Phase::Statement) == 1);
        tokio::select! {
            ran = &mut running => panic!("{ran:?}"),
            () = waiting => {}
        }
        assert_eq!(taken.load(Ordering::Relaxed), most);
        server.open(Phase::Statement);
        assert_eq!(soon("the rows", running).await.unwrap(), rows as u64);
    }
}

#[tokio::test]
async fn a_row_that_fails_is_named_and_none_is_kept() {
    let (_database, db, conn) = table().await;
    insert(&conn, [5_000]).await.unwrap();
    for wrong in [0, 1, 255, 256, 257, 700, 999] {
        let ids = (0..1_000).map(move |id| if id == wrong { 5_000 } else { id });
        let err = insert(&conn, ids).await.unwrap_err();
        let (index, source) = failed_at(&err);
        assert_eq!(index, wrong as usize);
        assert!(matches!(source, Error::Postgres(_)), "{source:?}");
        assert_eq!(err.code(), Some(&SqlState::UNIQUE_VIOLATION));
        assert_eq!(err.constraint(), Some("t_pkey"));
        assert_eq!(err.postgres().unwrap().sql(), Some(INSERT));
        assert_eq!(count(&conn, "t").await, 1);
    }
    assert_eq!(insert(&conn, 0..1_000).await.unwrap(), 1_000);
    assert_clean(&db, &conn).await;
}

/// What the end of a batch relies on.
#[tokio::test]
async fn a_commit_behind_a_savepoint_that_fails_is_not_run() {
    let (_database, _db, conn) = table().await;
    let client = conn.client().await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    client.batch_execute("SELECT 1 / 0").await.unwrap_err();
    let err = client.batch_execute("SAVEPOINT actix_pg; COMMIT").await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    let err = client.batch_execute("SELECT 1").await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "the transaction has not ended");
    client.batch_execute("ROLLBACK").await.unwrap();
    // Outside of a transaction.
    let err = client.batch_execute("SAVEPOINT actix_pg; COMMIT").await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION));
}

#[tokio::test]
async fn behind_a_begin_that_fails_nothing_is_sent() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let conn = db.connection();
    conn.execute_many(INSERT, [[1_i64]]).await.unwrap();
    let before = server.passed(Phase::Statement);
    for fault in [Fault::Error("57014"), Fault::HangUp] {
        server.script(Phase::Simple, "START TRANSACTION", fault);
        let err = conn.execute_many(INSERT, [[1_i64]; 1_000]).await.unwrap_err();
        assert!(matches!(err, Error::Begin(_)), "{err:?}");
        conn.release().unwrap();
        // Begun by the batch, through either handle.
        let tx = conn.transaction().await.unwrap();
        server.script(Phase::Simple, "START TRANSACTION", fault);
        let ran = match fault {
            Fault::HangUp => conn.execute_many(INSERT, [[1_i64]; 1_000]).await,
            _ => tx.execute_many(INSERT, [[1_i64]; 1_000]).await,
        };
        assert!(matches!(ran, Err(Error::Begin(_))), "{ran:?}");
        drop(tx);
        conn.release().unwrap();
    }
    assert_eq!(server.passed(Phase::Statement), before);
    conn.execute_many(INSERT, [[1_i64]]).await.unwrap();
    assert_eq!(server.passed(Phase::Statement), before + 1);
}

#[tokio::test]
async fn a_commit_that_is_refused_keeps_nothing() {
    let (_database, db, conn) = table().await;
    let err = conn.execute_many("INSERT INTO later VALUES ($1)", rows([1, 2, 1])).await.unwrap_err();
    assert!(matches!(err, Error::CommitRefused(_)), "{err:?}");
    assert_eq!(err.code(), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!(count(&conn, "later").await, 0);
    assert_clean(&db, &conn).await;
}

const SLOW: &str = "INSERT INTO slow VALUES (1, $1)";

/// The batch sleeps in a row, with the commit on its way or not, or in the commit.
#[tokio::test]
async fn a_batch_that_is_cancelled_or_cut_off_keeps_nothing() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let conn = db.connection();
    let observer = Observer::of(&database).await;
    conn.batch_execute(SCHEMA).await.unwrap();
    for (at_commit, rows) in [(true, 3), (false, 3), (false, 1_000)] {
        for how in ["cancel", "terminate", "cut"] {
            let pid = backend(&conn).await;
            let running = if at_commit { "COMMIT" } else { "slow" };
            let hit = async {
                eventually(running, async || observer.running(running).await == 1).await;
                eventually("it sleeps", async || observer.sleeping().await == 1).await;
                match how {
                    "cancel" => {
                        _ = observer.connection().execute("SELECT pg_cancel_backend($1)", &[&pid]).await
                    }
                    "terminate" => observer.terminate(pid).await,
                    _ => proxy.cut(),
                }
            };
            let (ran, ()) = tokio::join!(conn.execute_many(SLOW, vec![[at_commit]; rows]), hit);
            let err = ran.unwrap_err();
            let case = format!("{at_commit} {rows} {how}: {err:?}");
            match (at_commit, how, rows) {
                (true, "cancel", _) => assert!(matches!(err, Error::CommitRefused(_)), "{case}"),
                (false, "cancel", _) | (false, _, 1_000) => assert_eq!(failed_at(&err).0, 0, "{case}"),
                // The commit may have been carried out.
                _ => assert!(matches!(err, Error::OutcomeUnknown(_)), "{case}"),
            }
            conn.release().unwrap();
            assert_eq!(count(&conn, "slow").await, 0, "{case}");
        }
    }
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_batch_that_is_dropped_at_any_moment_keeps_all_or_nothing() {
    let (database, db, conn) = table().await;
    let observer = Observer::of(&database).await.connection();
    for (rows, step) in [(3, 1), (600, 1)] {
        let (mut polls, mut kept, mut dropped) = (0, false, 0);
        while !kept {
            let mut batch = Box::pin(insert(&conn, 0..rows));
            let mut left = polls;
            let ended = std::future::poll_fn(|cx| match batch.as_mut().poll(cx) {
                Poll::Ready(ran) => Poll::Ready(Some(ran)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            });
            let ended = soon("a poll", ended).await;
            drop(batch);
            conn.execute("INSERT INTO later VALUES ($1)", &[&-1]).await.unwrap();
            assert_clean(&db, &conn).await;
            let found = count(&observer, "t").await;
            assert!(found == 0 || found == i64::from(rows), "{found} after {polls} polls");
            kept = ended.is_some();
            if let Some(ran) = ended {
                assert_eq!((ran.unwrap(), found), (rows as u64, i64::from(rows)));
            } else {
                dropped += 1;
            }
            conn.batch_execute("TRUNCATE t, later").await.unwrap();
            polls += step;
        }
        assert!(dropped > 2, "{dropped}");
    }
    drop(conn);
    assert_whole(&db).await;
}

#[tokio::test]
async fn a_batch_that_sleeps_is_cancelled_when_it_is_dropped() {
    let (database, db, conn) = table().await;
    let observer = Observer::of(&database).await;
    for (at_commit, part) in [(true, "COMMIT"), (false, "slow")] {
        {
            let mut batch = Box::pin(conn.execute_many(SLOW, [[at_commit]; 3]));
            tokio::select! {
                ran = &mut batch => panic!("{ran:?}"),
                () = observer.sees(part) => {}
            }
        }
        assert_eq!(count(&conn, "slow").await, 0);
        assert_clean(&db, &conn).await;
    }
}

#[tokio::test]
async fn a_batch_that_takes_too_long_keeps_nothing() {
    let database = database().await;
    let config = Config { command_timeout: Some(Duration::from_millis(200)), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    conn.batch_execute(SCHEMA).await.unwrap();
    let err = conn.execute_many(SLOW, [[false]; 1_000]).await.unwrap_err();
    assert!(matches!(failed_at(&err), (0, Error::CommandTimeout(_))), "{err:?}");
    assert_eq!(actix_web::ResponseError::status_code(&err), 504);
    let err = conn.execute_many(SLOW, [[true]; 3]).await.unwrap_err();
    assert!(matches!(err, Error::OutcomeUnknown(_)), "{err:?}");
    assert_eq!(count(&conn, "slow").await, 0);
    // Longer in all than any of its statements.
    let naps = conn.execute_many("SELECT pg_sleep($1)", [[0.05]; 8]).await;
    assert_eq!(naps.unwrap(), 8);
    // The bound of a call bounds all of it.
    let bounded = conn.with_timeout(Duration::from_millis(150));
    let err = bounded.execute_many("SELECT pg_sleep($1)", [[0.05]; 8]).await.unwrap_err();
    let Error::OutcomeUnknown(err) = err else { panic!("its commit had been sent: {err:?}") };
    assert!(matches!(failed_at(&err), (1.., Error::TimedOut { sent: true, .. })), "{err:?}");
    assert_clean(&db, &conn).await;
}

/// A number that does as it is told when it is written.
#[derive(Debug, Clone, Copy)]
enum Odd {
    Number(i32),
    Refuses,
    Panics,
}

impl ToSql for Odd {
    fn to_sql(&self, ty: &Type, out: &mut web::BytesMut) -> Wrote {
        out.extend_from_slice(&[0; 3]);
        match self {
            Self::Number(number) => {
                out.truncate(out.len() - 3);
                number.to_sql(ty, out)
            }
            Self::Refuses => Err("no".into()),
            Self::Panics => panic!("a parameter panics"),
        }
    }

    fn accepts(ty: &Type) -> bool {
        i32::accepts(ty)
    }

    to_sql_checked!();
}

fn odd_at(wrong: i32, odd: Odd) -> impl Iterator<Item = [Odd; 1]> + Send {
    (0..700).map(move |id| [if id == wrong { odd } else { Odd::Number(id) }])
}

#[tokio::test]
async fn a_parameter_that_cannot_be_written_is_an_error_of_its_row() {
    let (_database, db, conn) = table().await;
    for wrong in [0, 1, 100, 600] {
        let err = conn.execute_many(INSERT, odd_at(wrong, Odd::Refuses)).await.unwrap_err();
        assert_eq!(failed_at(&err).0, wrong as usize, "{err:?}");
        assert_eq!(count(&conn, "t").await, 0);
        // An earlier row that the server refuses comes first.
        if wrong > 1 {
            let rows = odd_at(wrong, Odd::Refuses)
                .map(|[id]| [if matches!(id, Odd::Number(1)) { Odd::Number(0) } else { id }]);
            let err = conn.execute_many(INSERT, rows).await.unwrap_err();
            assert_eq!((failed_at(&err).0, err.code()), (1, Some(&SqlState::UNIQUE_VIOLATION)));
        }
        // Half of it has been done in the transaction, so that it cannot be committed.
        let tx = conn.transaction().await.unwrap();
        let err = tx.execute_many(INSERT, odd_at(wrong, Odd::Refuses)).await.unwrap_err();
        assert_eq!(failed_at(&err).0, wrong as usize, "{err:?}");
        match tx.commit().await {
            Ok(()) => assert_eq!(wrong, 0),
            Err(err) => assert!(matches!(err, Error::TransactionFailed), "{err:?}"),
        }
        assert_eq!(count(&conn, "t").await, 0);
    }
    let numbers: [Vec<i32>; 3] = [vec![1], vec![2, 3], vec![4]];
    assert_eq!(failed_at(&conn.execute_many(INSERT, numbers).await.unwrap_err()).0, 1);
    assert_eq!(count(&conn, "t").await, 0);
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_parameter_or_an_iterator_that_panics_keeps_nothing() {
    let (_database, db, conn) = table().await;
    for wrong in [0, 1, 100, 600] {
        let ran =
            AssertUnwindSafe(conn.execute_many(INSERT, odd_at(wrong, Odd::Panics))).catch_unwind().await;
        assert!(ran.is_err());
        conn.release().unwrap();
        assert_eq!(count(&conn, "t").await, 0);
        let ids = (0..700).map(|id| if id == wrong { panic!("an iterator panics") } else { id });
        let ran = AssertUnwindSafe(insert(&conn, ids)).catch_unwind().await;
        assert!(ran.is_err());
        conn.release().unwrap();
        assert_eq!(count(&conn, "t").await, 0);
        assert_clean(&db, &conn).await;
    }
    drop(conn);
    assert_whole(&db).await;
}

#[tokio::test]
async fn what_would_tear_a_batch_apart_is_refused() {
    let (_database, db, conn) = table().await;
    for sql in ["COMMIT", "ROLLBACK TO SAVEPOINT s", "SAVEPOINT s", "/* */ begin", "COPY t FROM STDIN"] {
        let err = conn.batch(&[(INSERT, &[&1]), (sql, &[])]).await.unwrap_err();
        assert!(matches!(failed_at(&err), (1, Error::NotInBatch)), "{err:?}");
        let err = conn.execute_many(sql, [[0_i32; 0]]).await.unwrap_err();
        assert!(matches!(failed_at(&err), (0, Error::NotInBatch)), "{err:?}");
    }
    assert_eq!(count(&conn, "t").await, 0);
    assert_clean(&db, &conn).await;
}

/// P8. A statement beside a batch is not in its transaction: neither is undone or spoilt by the other.
#[tokio::test]
async fn a_statement_beside_a_batch_stands_alone() {
    let (_database, db, conn) = table().await;
    insert(&conn, [5_000]).await.unwrap();
    for wrong in [0, 600] {
        let ids = || (0..700).map(move |id| if id == wrong { 5_000 } else { id });
        let alone = async { conn.execute("INSERT INTO later VALUES ($1)", &[&wrong]).await };
        let (many, alone, other) = tokio::join!(insert(&conn, ids()), alone, insert(&conn, [6_000 + wrong]));
        assert_eq!(failed_at(&many.unwrap_err()).0, wrong as usize);
        assert_eq!((alone.unwrap(), other.unwrap()), (1, 1));
    }
    assert_eq!((count(&conn, "later").await, count(&conn, "t").await), (2, 3));
    let wrong = conn.execute(INSERT, &[&5_000]);
    let (many, wrong, read) = tokio::join!(insert(&conn, 0..700), wrong, conn.query("SELECT 1", &[]));
    assert_eq!(many.unwrap(), 700);
    assert!(wrong.is_err() && read.is_ok());
    let (many, tx) = tokio::join!(insert(&conn, 700..1_400), conn.transaction());
    many.unwrap();
    tx.unwrap().rollback().await.unwrap();
    assert_eq!(count(&conn, "t").await, 1_403);
    assert_clean(&db, &conn).await;
}

/// P5, P8.
#[tokio::test]
async fn a_batch_is_a_statement_of_its_request() {
    let (_database, db, conn) = table().await;
    let mut batch = Box::pin(insert(&conn, 0..700));
    assert!(futures_util::poll!(&mut batch).is_pending());
    assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Statement))));
    batch.await.unwrap();
    let rows = conn.query_raw("SELECT 1", &[]).await.unwrap();
    assert!(matches!(insert(&conn, [701]).await, Err(Error::Busy(BusyWith::RowStream))));
    drop(rows);
    assert_eq!(count(&conn, "t").await, 700);
    // A stream beside it comes after it.
    let stream = async { conn.query_raw("SELECT id FROM t", &[]).await?.try_collect::<Vec<_>>().await };
    let (many, read) = tokio::join!(insert(&conn, 700..1_400), stream);
    assert_eq!((many.unwrap(), read.unwrap().len()), (700, 1_400));
    assert_clean(&db, &conn).await;
}

/// The transaction that a batch is a part of does not end between its rows.
#[tokio::test]
async fn a_batch_does_not_slip_out_of_a_transaction_that_ends_beside_it() {
    let (_database, db, conn) = table().await;
    for (round, kept) in [(0, 700), (1, 700), (2, 1_400), (3, 1_400)] {
        conn.release().unwrap();
        let ids = round * 2_000..round * 2_000 + 700;
        let tx = conn.transaction().await.unwrap();
        // The transaction has begun.
        let _ = count(&conn, "t").await;
        let (many, ended) = match round {
            0 => tokio::join!(insert(&conn, ids), tx.commit()),
            1 => tokio::join!(insert(&conn, ids), tx.rollback()),
            2 => tokio::join!(insert(&conn, ids), async {
                conn.batch_execute("COMMIT").await?;
                assert!(matches!(tx.commit().await, Err(Error::TransactionEnded)));
                Ok(())
            }),
            _ => tokio::join!(insert(&conn, ids), async {
                drop(tx);
                Ok(())
            }),
        };
        ended.unwrap();
        match round {
            0 | 2 => assert_eq!(many.unwrap(), 700),
            _ => assert!(matches!(failed_at(&many.unwrap_err()).1, Error::TransactionEnded)),
        }
        assert_eq!(count(&conn, "t").await, kept);
        assert_clean(&db, &conn).await;
    }
}

/// Nor does a row stream come between them, which would keep their answers back.
#[tokio::test]
async fn a_row_stream_beside_a_batch_in_a_transaction_comes_behind_it() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    let mut batch = Box::pin(insert(&tx, 0..2_000));
    assert!(futures_util::poll!(&mut batch).is_pending());
    let stream = async {
        let rows = conn.query_raw("SELECT id FROM t, generate_series(1, 100)", &[]).await?;
        rows.map_ok(drop).try_fold(0, async |rows, ()| Ok(rows + 1)).await
    };
    let (many, read) = tokio::join!(batch, stream);
    assert_eq!((many.unwrap(), read.unwrap()), (2_000, 200_000));
    tx.commit().await.unwrap();
    assert_clean(&db, &conn).await;
}

/// P18.
#[tokio::test]
async fn a_batch_that_is_dropped_fails_the_transaction_that_it_is_in() {
    let (database, db, conn) = table().await;
    let observer = Observer::of(&database).await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, [1]).await.unwrap();
    let inner = tx.transaction().await.unwrap();
    {
        let mut batch = Box::pin(inner.execute_many(SLOW, [[false]; 300]));
        tokio::select! {
            ran = &mut batch => panic!("{ran:?}"),
            () = observer.sees("slow") => {}
        }
    }
    assert!(matches!(insert(&inner, [2]).await, Err(Error::TransactionFailed)));
    inner.rollback().await.unwrap();
    insert(&tx, [3]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((count(&conn, "t").await, count(&conn, "slow").await), (2, 0));
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_batch_that_fails_in_a_savepoint_fails_no_more() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 0..300).await.unwrap();
    let inner = tx.transaction().await.unwrap();
    assert_eq!(failed_at(&insert(&inner, [300, 301, 1, 302]).await.unwrap_err()).0, 2);
    inner.rollback().await.unwrap();
    let inner = tx.transaction().await.unwrap();
    insert(&inner, 300..600).await.unwrap();
    inner.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&conn, "t").await, 600);
    let tx = conn.transaction().await.unwrap();
    assert_eq!(failed_at(&insert(&tx, [1_000, 1]).await.unwrap_err()).0, 1);
    assert!(matches!(tx.commit().await, Err(Error::CommitRefused(_))));
    assert_eq!(count(&conn, "t").await, 600);
    assert_clean(&db, &conn).await;
}

async fn create(ids: web::Path<(i32, i32)>, tx: RequestTransaction) -> Result<HttpResponse> {
    tx.execute_many(INSERT, rows(ids.0..ids.1)).await?;
    tx.batch(&[("DELETE FROM t WHERE id = $1", &[&ids.0]), (INSERT, &[&ids.0])]).await?;
    Ok(HttpResponse::Created().finish())
}

#[actix_web::test]
async fn a_batch_in_the_transaction_of_a_request() {
    let (_database, db, conn) = table().await;
    conn.release().unwrap();
    let app = TestApp::start(&db, |config| {
        config.route("/{from}/{to}", web::post().to(create));
    });
    for (path, status) in [("/1/500", 201), ("/500/1000", 201), ("/400/600", 500)] {
        assert_eq!(app.post(path, &serde_json::Value::Null).await.status, status);
    }
    assert_eq!(count(&conn, "t").await, 999);
}

#[tokio::test]
async fn a_batch_in_the_sandbox_is_a_savepoint() {
    let (_database, db, conn) = table().await;
    conn.release().unwrap();
    let sandbox = db.sandbox().await.unwrap();
    let conn = sandbox.connection();
    assert_eq!(insert(&conn, 0..300).await.unwrap(), 300);
    assert_eq!(failed_at(&insert(&conn, [300, 301, 1, 302]).await.unwrap_err()).0, 2);
    assert_eq!(count(&conn, "t").await, 300);
    for wrong in [0, 2, 600] {
        let err = conn.execute_many(
            INSERT,
            odd_at(wrong, Odd::Refuses).map(|[id]| match id {
                Odd::Number(id) => [Odd::Number(id + 1_000)],
                odd => [odd],
            }),
        );
        assert_eq!(failed_at(&err.await.unwrap_err()).0, wrong as usize);
        assert_eq!(count(&conn, "t").await, 300);
    }
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 300..400).await.unwrap();
    tx.rollback().await.unwrap();
    let (mut polls, mut kept) = (0, false);
    while !kept {
        let mut batch = Box::pin(insert(&conn, 1_000..1_600));
        for _ in 0..=polls {
            if futures_util::poll!(&mut batch).is_ready() {
                kept = true;
                break;
            }
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        drop(batch);
        let found = count(&conn, "t").await;
        assert!(found == 300 || found == 900, "{found} after {polls} polls");
        conn.execute("DELETE FROM t WHERE id >= 1000", &[]).await.unwrap();
        polls += 1;
    }
    sandbox.close().await;
    let conn = db.connection();
    assert_eq!(count(&conn, "t").await, 0);
}

/// What the owner of a lent client sends would be undone with a batch that fails, so there is none meanwhile.
#[tokio::test]
async fn there_is_no_batch_while_a_client_is_lent() {
    let (_database, db, conn) = table().await;
    let client = conn.client().await.unwrap();
    let err = soon("a refusal", insert(&conn, 0..3)).await.unwrap_err();
    assert!(matches!(err, Error::Busy(BusyWith::ClientGuard)), "{err:?}");
    drop(client);
    assert_eq!(insert(&conn, 0..3).await.unwrap(), 3);
    assert_clean(&db, &conn).await;
}
