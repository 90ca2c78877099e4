//! What is abandoned is cancelled, and nothing else is (P18).

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use actix_pg::tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use actix_pg::{BusyWith, Config, Connection, Database, Error};
use futures_util::future::join_all;
use futures_util::{FutureExt, SinkExt, StreamExt, TryStreamExt};
use rand::RngExt;
use test_support::{Observer, backend, connect, connected, database, eventually, pool, sized};
use tokio::runtime;
use tokio::time::{Instant, timeout};

use crate::common::{abandon, at_rest, lends_all, rng, seed, soon, sqlstate, times};

/// Whoever borrows after an abandoned statement runs one that must not notice.
async fn next_borrower(db: &Database, number: i32) {
    let conn = db.connection();
    let answer = match number % 3 {
        0 => conn.query_one_scalar::<i32>("SELECT $1::int4", &[&number]).await,
        1 => conn.query_one_scalar("SELECT $1::int4 FROM pg_sleep(0)", &[&number]).await,
        _ => conn.query_one_scalar("SELECT $1::int4 FROM pg_sleep(0.0005)", &[&number]).await,
    };
    assert_eq!(answer.expect("a statement that nobody abandoned"), number);
}

async fn abandon_and_borrow(db: Database, seed: u64, stream: u64, rounds: usize) {
    let mut rng = rng(seed, stream);
    for round in 0..rounds {
        let conn = db.connection();
        let seconds = f64::from(rng.random_range(0..2_500)) / 1e6;
        match rng.random_range(0..5) {
            0 => drop(abandon(conn.query("SELECT 1", &[]), &mut rng).await),
            1 => drop(abandon(conn.query("SELECT pg_sleep($1)", &[&seconds]), &mut rng).await),
            2 => drop(abandon(conn.execute("SELECT pg_sleep(10)", &[]), &mut rng).await),
            3 => drop(abandon(conn.batch_execute("SELECT 1; SELECT pg_sleep(0.001)"), &mut rng).await),
            _ => {
                let rows = abandon(conn.query_raw("SELECT generate_series(1, 3000)", &[]), &mut rng).await;
                if let Some(Ok(mut rows)) = rows {
                    drop(abandon(rows.next(), &mut rng).await);
                }
            }
        }
        // Half of them go on in the same request, and meet what they abandoned.
        if rng.random_bool(0.5) {
            let number: i32 =
                conn.query_one_scalar("SELECT 7", &[]).await.expect("a statement of the same request");
            assert_eq!(number, 7);
        }
        drop(conn);
        next_borrower(&db, i32::try_from(round).expect("few rounds")).await;
    }
}

/// The statement is abandoned at every moment there is, its last included.
#[tokio::test]
async fn a_cancel_never_reaches_the_next_borrower() {
    let seed = seed("a_cancel_never_reaches_the_next_borrower");
    let database = database().await;
    // As many borrowers as sessions: each waits for the one who abandoned something.
    let db = pool(&database, 4).await;
    let rounds = times(200, 10_000);
    join_all((0..5).map(|stream| abandon_and_borrow(db.clone(), seed, stream, rounds))).await;
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("no session was lost");
}

/// The same among threads, where a repair can begin at any instruction of another user.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_never_reaches_the_next_borrower_of_another_thread() {
    let seed = seed("a_cancel_never_reaches_the_next_borrower_of_another_thread");
    let database = database().await;
    let db = pool(&database, 4).await;
    let rounds = times(120, 5_000);
    let tasks = (0..8).map(|stream| tokio::spawn(abandon_and_borrow(db.clone(), seed, stream, rounds)));
    join_all(tasks).await.into_iter().for_each(|task| task.expect("no panic"));
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("no session was lost");
}

/// One session, many users at once: those who stay get their answer, whatever the others leave behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_never_reaches_a_living_sibling() {
    let seed = seed("a_cancel_never_reaches_a_living_sibling");
    let database = database().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    let same = backend(&conn).await;
    let rounds = times(150, 5_000);
    let stay = |stream: u64| {
        let conn = conn.clone();
        tokio::spawn(async move {
            let mut rng = rng(seed, stream);
            for number in 0..rounds as i32 {
                let sleep = f64::from(rng.random_range(0..500)) / 1e6;
                let answer = conn
                    .query_one_scalar::<i32>("SELECT $1::int4 FROM pg_sleep($2)", &[&number, &sleep])
                    .await;
                assert_eq!(answer.expect("a statement that nobody abandoned"), number);
                tokio::task::yield_now().await;
            }
        })
    };
    let leave = |stream: u64| {
        let conn = conn.clone();
        tokio::spawn(async move {
            let mut rng = rng(seed, stream);
            for _ in 0..rounds {
                drop(abandon(conn.query("SELECT pg_sleep(0.001)", &[]), &mut rng).await);
            }
        })
    };
    let tasks: Vec<_> = [stay(1), leave(2), stay(3), leave(4)].into();
    for task in tasks {
        soon("siblings of one session", task).await.expect("no panic");
    }
    assert_eq!(backend(&conn).await, same, "the session was lost");
}

/// A repair must not begin between the moment a statement has been let in and that at which it is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repair_never_begins_under_a_statement_that_was_let_in() {
    let database = database().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    conn.query("SELECT pg_sleep(0.0001)", &[]).await.expect("a cached statement");
    let rounds = times(800, 4_000);
    let (one, other) = (conn.clone(), conn.clone());
    let stay = tokio::spawn(async move {
        for _ in 0..rounds {
            let stays = one.query("SELECT pg_sleep(0.0001)", &[]);
            soon("a statement beside abandoned ones", stays)
                .await
                .expect("a statement that nobody abandoned");
        }
    });
    let leave = tokio::spawn(async move {
        while !stay.is_finished() {
            // Sent by the first poll, abandoned at once: the session is idle but for this one most of the time.
            assert!(Box::pin(other.query("SELECT 1", &[])).now_or_never().is_none_or(|rows| rows.is_ok()));
            tokio::task::yield_now().await;
        }
        stay.await
    });
    leave.await.expect("no panic").expect("no panic");
}

#[tokio::test]
async fn what_runs_on_a_lent_client_is_not_cancelled_for_another() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    let client = conn.client().await.expect("a client");
    let running = client.query_one("SELECT 7 FROM pg_sleep(1.5)", &[]);
    let abandoned = async {
        eventually("it runs", || async { observer.running("pg_sleep(1.5)").await == 1 }).await;
        let mut abandoned = Box::pin(conn.query("SELECT pg_sleep(600)", &[]));
        assert!(futures_util::poll!(&mut abandoned).is_pending());
    };
    let (row, ()) = tokio::join!(running, abandoned);
    assert_eq!(row.expect("nobody abandoned this").get::<_, i32>(0), 7);
    drop(client);
    // Now it is cancelled.
    let number: i32 =
        soon("the session is repaired", conn.query_one_scalar("SELECT 7", &[])).await.expect("a session");
    assert_eq!(number, 7);
}

#[tokio::test]
async fn an_abandoned_statement_ends_on_the_server() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let same = backend(&conn).await;
    for part in ["pg_sleep(600)", "pg_sleep(601)"] {
        let sql = format!("SELECT {part}");
        let mut running = Box::pin(conn.query(&sql, &[]));
        tokio::select! {
            _ = &mut running => panic!("ended"),
            () = eventually("it runs", || async { observer.running(part).await == 1 }) => {}
        }
        drop(running);
        eventually("it was cancelled", || async { observer.running(part).await == 0 }).await;
        // The first time within the request, the second time after it.
        if part == "pg_sleep(601)" {
            drop(conn);
            break;
        }
        assert_eq!(backend(&conn).await, same);
    }
    let conn = db.connection();
    assert_eq!(backend(&conn).await, same, "the session was lost");
}

#[tokio::test]
async fn a_statement_past_its_command_timeout_is_cancelled() {
    let database = database().await;
    let bound = Duration::from_millis(200);
    let db = connected(Config { command_timeout: Some(bound), ..sized(database.config(), 1) }).await;
    let conn = db.connection();
    let same = backend(&conn).await;
    for _ in 0..3 {
        let err =
            soon("a bounded statement", conn.query("SELECT pg_sleep(600)", &[])).await.expect_err("too long");
        assert!(matches!(err, Error::CommandTimeout(at) if at == bound), "{err:?}");
    }
    assert_eq!(backend(&conn).await, same);
    at_rest(
        &{
            drop(conn);
            db
        },
        &Observer::of(&database).await,
    )
    .await;
}

#[tokio::test]
async fn a_transaction_that_was_hit_is_failed_and_not_carried_on() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int)").await.expect("a table");
    conn.batch_execute("BEGIN").await.expect("a transaction");
    conn.execute("INSERT INTO t VALUES (1)", &[]).await.expect("a row");
    {
        let mut running = Box::pin(conn.query("SELECT pg_sleep(600)", &[]));
        tokio::select! {
            _ = &mut running => panic!("ended"),
            () = eventually("it runs", || async { observer.running("pg_sleep(600)").await == 1 }) => {}
        }
    }
    let err = conn.execute("INSERT INTO t VALUES (2)", &[]).await.expect_err("a failed transaction");
    assert_eq!(sqlstate(&err), "25P02");
    conn.release().expect("nothing runs");
    let rows: i64 = conn.query_one_scalar("SELECT count(*) FROM t", &[]).await.expect("a count");
    assert_eq!(rows, 0);
}

/// All or nothing, whenever a statement of the transaction was abandoned.
#[tokio::test]
async fn a_transaction_with_an_abandoned_statement_is_kept_whole() {
    let seed = seed("a_transaction_with_an_abandoned_statement_is_kept_whole");
    let database = database().await;
    let db = pool(&database, 4).await;
    db.connection().batch_execute("CREATE TABLE t (id int, part int)").await.expect("a table");
    let rounds = times(80, 2_000) as i32;
    let committed = join_all((0..4).map(|stream| {
        let db = db.clone();
        async move {
            let mut rng = rng(seed, stream);
            let mut committed = Vec::new();
            for round in 0..rounds {
                let id = round * 4 + stream as i32;
                let conn = db.connection();
                let whole: Result<(), Error> = async {
                    conn.batch_execute("BEGIN").await?;
                    conn.execute("INSERT INTO t VALUES ($1, 1)", &[&id]).await?;
                    drop(abandon(conn.query("SELECT pg_sleep(0.0005)", &[]), &mut rng).await);
                    conn.execute("INSERT INTO t VALUES ($1, 2)", &[&id]).await?;
                    // Alone, COMMIT would answer well and roll back.
                    conn.batch_execute("SELECT 1; COMMIT").await
                }
                .await;
                match whole {
                    Ok(()) => committed.push(id),
                    Err(err) => assert_eq!(sqlstate(&err), "25P02", "{err:?}"),
                }
            }
            committed
        }
    }));
    let committed: Vec<i32> = soon("transactions", committed).await.concat();
    let sql = "SELECT id FROM t GROUP BY id HAVING array_agg(part ORDER BY part) = '{1,2}' ORDER BY id";
    let conn = db.connection();
    let whole: Vec<i32> = conn.query_scalar(sql, &[]).await.expect("rows");
    let all: i64 = conn.query_one_scalar("SELECT count(DISTINCT id) FROM t", &[]).await.expect("a count");
    let mut committed = committed;
    committed.sort_unstable();
    assert_eq!(whole, committed);
    assert_eq!(all, whole.len() as i64, "parts of a transaction");
    eprintln!("{} of {} were committed", committed.len(), rounds * 4);
}

#[tokio::test]
async fn unread_rows_go_with_their_stream() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    let same = backend(&conn).await;
    for read in [0, 1, 1_000] {
        let mut rows = conn.query_raw("SELECT generate_series(1, 100000000)", &[]).await.expect("rows");
        for _ in 0..read {
            rows.next().await.expect("a row").expect("a row");
        }
        assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::Busy(BusyWith::RowStream))));
        assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::RowStream))));
        drop(rows);
        assert_eq!(soon("the next statement", backend(&conn)).await, same);
    }
    let rows = conn.query_raw("SELECT generate_series(1, 100000000)", &[]).await.expect("rows");
    // The request ends first, the stream later.
    drop(conn);
    drop(rows);
    let conn = db.connection();
    assert_eq!(soon("the next borrower", backend(&conn)).await, same);
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

#[tokio::test]
async fn a_copy_left_half_way_leaves_no_row_and_no_trace() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int)").await.expect("a table");
    for forgotten in [false, true] {
        let client = conn.client().await.expect("a client");
        let mut sink =
            Box::pin(client.copy_in::<_, &'static [u8]>("COPY t FROM STDIN").await.expect("a sink"));
        sink.send(b"1\n2\n").await.expect("two rows");
        drop(client);
        let held = forgotten.then_some(sink);
        conn.release().expect("nothing of ours is alive");
        let rows: i64 = soon("the next borrower", conn.query_one_scalar("SELECT count(*) FROM t", &[]))
            .await
            .expect("rows");
        assert_eq!(rows, 0);
        if let Some(mut sink) = held {
            // Its end was decided without it.
            assert!(sink.as_mut().finish().await.is_err());
        }
        assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[]).await.expect("rows"), 0);
    }
    let client = conn.client().await.expect("a client");
    let mut rows = Box::pin(
        client.copy_out("COPY (SELECT generate_series(1, 10000000)) TO STDOUT").await.expect("rows"),
    );
    rows.next().await.expect("a piece").expect("a piece");
    drop(client);
    drop(rows);
    conn.release().expect("nothing of ours is alive");
    soon("the next borrower", backend(&conn)).await;
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

/// The driver takes one end of an answer too many for the end of the next: everything after it would be shifted by one.
#[tokio::test]
async fn a_copy_that_is_refused_does_not_shift_the_answers_of_the_next_borrower() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int)").await.expect("a table");
    conn.release().expect("nothing runs");
    for number in 0..20_i32 {
        let client = conn.client().await.expect("a client");
        client.batch_execute("SET default_transaction_read_only = on").await.expect("a setting");
        assert!(client.copy_in::<_, &'static [u8]>("COPY t FROM STDIN").await.is_err());
        drop(client);
        conn.release().expect("nothing of ours is alive");
        for number in number..number + 3 {
            let sql = format!("SELECT {number}");
            let answer: i32 =
                soon("the next borrower", conn.query_one_scalar(&sql, &[])).await.expect("an answer");
            assert_eq!(answer, number, "somebody else's answer");
        }
        let read_only: String = conn
            .query_one_scalar("SELECT current_setting('transaction_read_only')", &[])
            .await
            .expect("a setting");
        assert_eq!(read_only, "off");
        conn.release().expect("nothing runs");
    }
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

/// The session cannot be had back from a stream that nobody reads; what can be had back is its place.
#[tokio::test]
async fn raw_rows_that_outlive_their_client_keep_no_place() {
    let database = database().await;
    let config = Config { reset_timeout: Duration::from_millis(500), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    let first = backend(&conn).await;
    let client = conn.client().await.expect("a client");
    let nothing: [i32; 0] = [];
    let rows = client.query_raw("SELECT generate_series(1, 100000000)", nothing).await.expect("rows");
    drop(client);
    drop(conn);
    let conn = db.connection();
    assert_ne!(soon("a place", backend(&conn)).await, first, "lent with unread rows on it");
    let mut rows = pin!(rows);
    let mut expected = 1;
    // What had arrived is theirs, then it ends; never another borrower's answer.
    while let Ok(Some(row)) = rows.try_next().await {
        assert_eq!(row.get::<_, i32>(0), expected);
        expected += 1;
    }
    assert!(expected < 100_000_000);
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

#[tokio::test]
async fn a_statement_of_the_client_that_was_left_does_not_meet_the_next_borrower() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    let same = backend(&conn).await;
    for _ in 0..times(20, 500) {
        let client = conn.client().await.expect("a client");
        {
            let mut running = Box::pin(client.query("SELECT pg_sleep(600)", &[]));
            // Prepared by the first polls, then run.
            let _ = timeout(Duration::from_millis(5), &mut running).await;
        }
        drop(client);
        conn.release().expect("nothing of ours is alive");
        assert_eq!(soon("the next borrower", backend(&conn)).await, same);
    }
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

#[tokio::test]
async fn a_query_that_was_polled_once_and_left_alone_blocks_nobody_for_ever() {
    let database = database().await;
    let bound = Duration::from_millis(300);
    let db = connected(Config { command_timeout: Some(bound), ..sized(database.config(), 1) }).await;
    let conn = db.connection();
    let large = "SELECT repeat('x', 1000) FROM generate_series(1, 50000)";
    conn.query_opt("SELECT 1 WHERE false", &[]).await.expect("no row");
    let mut alone = Box::pin(conn.query(large, &[]));
    assert!(futures_util::poll!(&mut alone).is_pending());
    let behind = soon("a statement behind it", conn.query("SELECT 1", &[])).await;
    assert!(behind.is_ok() || matches!(behind, Err(Error::CommandTimeout(_))), "{behind:?}");
    drop(alone);
    soon("a statement after it", async { while conn.query("SELECT 1", &[]).await.is_err() {} }).await;
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

/// Panics when it is sent.
#[derive(Debug)]
struct Explosive;

impl ToSql for Explosive {
    fn to_sql(
        &self,
        _: &Type,
        _: &mut actix_web::web::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        panic!("in the middle of a statement");
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[tokio::test]
async fn a_panic_within_a_statement_costs_its_session_and_nothing_else() {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    for raw in [false, true, false, true] {
        let panicked = AssertUnwindSafe(async {
            match raw {
                false => drop(conn.query("SELECT $1::text", &[&Explosive]).await),
                true => {
                    drop(conn.client().await.expect("a client").query("SELECT $1::text", &[&Explosive]).await)
                }
            }
        });
        assert!(panicked.catch_unwind().await.is_err());
        // The driver may have half a message in its buffer: no other statement may follow it.
        let err = conn.query("SELECT 1", &[]).await.expect_err("a lost session");
        assert!(matches!(err, Error::SessionLost), "{err:?}");
        conn.release().expect("nothing runs");
        soon("the next borrower", backend(&conn)).await;
    }
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

/// Runs something on a runtime of its own, which is then stopped under it.
fn on_a_runtime_that_stops<F>(work: impl FnOnce() -> F + Send + 'static, started: mpsc::Receiver<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.spawn(work());
    started.recv().expect("it began");
    runtime.shutdown_timeout(Duration::from_secs(10));
}

#[tokio::test]
async fn what_was_running_on_a_runtime_that_stopped_is_repaired_at_home() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let same = backend(&conn).await;
    for _ in 0..5 {
        let (begun, started) = mpsc::channel();
        let theirs = conn.clone();
        let other = thread::spawn(move || {
            let work = || async move {
                let mut running = Box::pin(theirs.query("SELECT pg_sleep(600)", &[]));
                assert!(futures_util::poll!(&mut running).is_pending());
                begun.send(()).expect("a listener");
                let _ = running.await;
            };
            on_a_runtime_that_stops(work, started);
        });
        eventually("the runtime has stopped", || async { other.is_finished() }).await;
        other.join().expect("no panic");
        assert_eq!(soon("the session", backend(&conn)).await, same);
        assert_eq!(observer.running("pg_sleep(600)").await, 0);
    }
    drop(conn);
    at_rest(&db, &observer).await;
}

#[tokio::test]
async fn a_handle_outlives_the_runtime_it_was_used_on() {
    let (database, db) = connect(1).await;
    let (send, receive) = mpsc::channel::<Connection>();
    let theirs = db.clone();
    let other = thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let conn = theirs.connection();
            backend(&conn).await;
            send.send(conn).expect("a listener");
        });
    });
    // Home is this very thread, and must go on.
    eventually("the runtime has stopped", || async { other.is_finished() }).await;
    other.join().expect("no panic");
    let conn = receive.recv().expect("a handle");
    soon("a statement", backend(&conn)).await;
    // And dropped where no runtime is.
    thread::spawn(move || drop(conn)).join().expect("no panic");
    let at = Instant::now();
    at_rest(&db, &Observer::of(&database).await).await;
    assert!(at.elapsed() < Duration::from_secs(10));
}
