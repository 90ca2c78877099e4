//! Transactions: all or nothing, whatever happens to the code in between.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_pg::tokio_postgres::{self, error::SqlState};
use actix_pg::{
    BusyWith, Config, Connection, Database, Error, GenericClient, IsolationLevel, Result, Transaction,
};
use futures_util::TryStreamExt;
use test_support::{Observer, Proxy, backend, connect, connected, database, eventually, sized};

/// A connection to a table `t (id int primary key)`, on a pool of one session.
async fn table() -> (actix_pg::testing::TestDatabase, Database, Connection) {
    let (database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table");
    (database, db, conn)
}

async fn insert(client: &impl GenericClient, id: i32) -> Result<u64> {
    client.execute("INSERT INTO t VALUES ($1)", &[&id]).await
}

async fn ids(conn: &Connection) -> Vec<i32> {
    conn.query_scalar("SELECT id FROM t ORDER BY id", &[]).await.expect("the ids")
}

/// Polls a future once, so that whatever it sends first is on its way, and drops it.
fn poll_once_and_drop<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
}

/// The session goes back and is lent again: it is in no transaction, and the database is as it was said to be.
async fn assert_clean(db: &Database, conn: &Connection) {
    conn.release().expect("a release");
    let other = db.connection();
    // The beginning of the transaction: the same in all statements of one.
    let first: String = other.query_one_scalar("SELECT now()::text", &[]).await.expect("an answer");
    let second: String = other.query_one_scalar("SELECT now()::text", &[]).await.expect("an answer");
    assert_ne!(first, second, "a transaction is open");
    other.release().expect("a release");
}

/// Conformance 17.
#[tokio::test]
async fn a_transaction_that_is_committed_stays() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    insert(&conn, 2).await.unwrap();
    assert_eq!(tx.query_scalar::<i32>("SELECT id FROM t ORDER BY id", &[]).await.unwrap(), [1, 2]);
    tx.commit().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1, 2]);
}

/// Conformance 17.
#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_nothing() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    tx.rollback().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [0; 0]);
}

/// Conformance 17, P17. The next statement is not even sent before the rollback is answered.
#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back_before_the_next_statement() {
    let (_database, db, conn) = table().await;
    for _ in 0..20 {
        let tx = conn.transaction().await.unwrap();
        insert(&tx, 1).await.unwrap();
        drop(tx);
        assert_eq!(ids(&conn).await, [0; 0]);
    }
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    drop((tx, conn));
    let conn = db.connection();
    assert_eq!(ids(&conn).await, [0; 0]);
    assert_clean(&db, &conn).await;
}

/// P5, P6, conformance 14.
#[tokio::test]
async fn release_and_close_are_refused_while_a_transaction_is_open() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Transaction))));
    assert!(matches!(conn.close(), Err(Error::Busy(BusyWith::Transaction))));
    insert(&tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1, 2]);
}

#[tokio::test]
async fn a_second_transaction_beside_an_open_one_is_refused() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    assert!(matches!(conn.transaction().await, Err(Error::Busy(BusyWith::Transaction))));
    let inner = tx.transaction().await.unwrap();
    assert!(matches!(tx.transaction().await, Err(Error::Busy(BusyWith::Transaction))));
    insert(&inner, 1).await.unwrap();
    inner.commit().await.unwrap();
    tx.commit().await.unwrap();
    conn.transaction().await.unwrap().rollback().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1]);
}

/// Conformance 17: nested is a savepoint.
#[tokio::test]
async fn a_nested_transaction_heals_an_error_in_it() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    let inner = tx.transaction().await.unwrap();
    let innermost = inner.transaction().await.unwrap();
    insert(&innermost, 2).await.unwrap();
    assert_eq!(insert(&innermost, 1).await.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    drop(innermost);
    insert(&inner, 3).await.unwrap();
    inner.commit().await.unwrap();
    let refused = tx.transaction().await.unwrap();
    insert(&refused, 1).await.unwrap_err();
    assert!(matches!(refused.commit().await, Err(Error::CommitRefused(_))));
    tx.transaction().await.unwrap().rollback().await.unwrap();
    tx.commit().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1, 3]);
}

/// Conformance 17: ending the outer one ends those in it.
#[tokio::test]
async fn a_guard_whose_outer_transaction_has_ended_fails() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    let inner = tx.transaction().await.unwrap();
    let innermost = inner.transaction().await.unwrap();
    insert(&innermost, 1).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(matches!(insert(&inner, 2).await, Err(Error::TransactionEnded)));
    assert!(matches!(inner.transaction().await, Err(Error::TransactionEnded)));
    // Another transaction at the same depth is not theirs.
    let tx = conn.transaction().await.unwrap();
    let other = tx.transaction().await.unwrap();
    assert!(matches!(innermost.commit().await, Err(Error::TransactionEnded)));
    assert!(matches!(inner.rollback().await, Err(Error::TransactionEnded)));
    insert(&other, 3).await.unwrap();
    other.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [3]);
}

#[tokio::test]
async fn a_commit_out_of_order_rolls_everything_back() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    let inner = tx.transaction().await.unwrap();
    insert(&inner, 2).await.unwrap();
    assert!(matches!(tx.commit().await, Err(Error::NestedTransactionOpen)));
    assert!(matches!(inner.commit().await, Err(Error::TransactionEnded)));
    assert_eq!(ids(&conn).await, [0; 0]);
    assert_clean(&db, &conn).await;
}

/// `COMMIT` of an aborted transaction answers well on the wire.
#[tokio::test]
async fn a_commit_that_the_server_turns_into_a_rollback_is_an_error() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    insert(&tx, 1).await.unwrap_err();
    let err = tx.commit().await.unwrap_err();
    assert!(matches!(err, Error::CommitRefused(_)), "{err:?}");
    assert_eq!(err.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    assert_eq!(ids(&conn).await, [0; 0]);
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_deferred_constraint_is_checked_by_commit() {
    let (_database, db, conn) = table().await;
    conn.batch_execute("CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
        .await
        .unwrap();
    let tx = conn.transaction().await.unwrap();
    tx.execute("INSERT INTO later VALUES (1), (1)", &[]).await.unwrap();
    let err = tx.commit().await.unwrap_err();
    assert!(matches!(err, Error::CommitRefused(_)), "{err:?}");
    assert_eq!(err.code(), Some(&SqlState::UNIQUE_VIOLATION));
    insert(&conn, 1).await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1]);
}

#[tokio::test]
async fn a_transaction_that_sql_has_ended_cannot_be_committed() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    tx.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(tx.commit().await, Err(Error::TransactionEnded)));
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_begin_that_the_server_refuses_is_an_error_and_the_connection_goes_on() {
    let (_database, db, conn) = table().await;
    conn.batch_execute("BEGIN; SELECT 1").await.unwrap();
    conn.query("SELECT 1 / 0", &[]).await.unwrap_err();
    let err =
        conn.build_transaction().isolation_level(IsolationLevel::Serializable).begin().await.unwrap_err();
    assert!(matches!(err, Error::Begin(_)), "{err:?}");
    conn.batch_execute("ROLLBACK").await.unwrap();
    insert(&conn, 1).await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1]);
}

#[tokio::test]
async fn the_options_of_a_transaction_reach_the_server() {
    let (_database, db, conn) = table().await;
    let tx = conn
        .build_transaction()
        .isolation_level(IsolationLevel::Serializable)
        .read_only(true)
        .deferrable(true)
        .begin()
        .await
        .unwrap();
    for (setting, expected) in [
        ("transaction_isolation", "serializable"),
        ("transaction_read_only", "on"),
        ("transaction_deferrable", "on"),
    ] {
        let sql = format!("SELECT current_setting('{setting}')");
        assert_eq!(tx.query_one_scalar::<String>(&sql, &[]).await.unwrap(), expected);
    }
    let err = insert(&tx, 1).await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    drop(tx);
    let tx = conn
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(false)
        .deferrable(false);
    insert(&tx.begin().await.unwrap(), 1).await.unwrap();
    assert_clean(&db, &conn).await;
}

/// P18.
#[tokio::test]
async fn a_statement_abandoned_in_a_transaction_fails_it() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    poll_once_and_drop(tx.batch_execute("SELECT pg_sleep(60)"));
    let err = insert(&tx, 2).await.unwrap_err();
    assert!(matches!(err, Error::TransactionFailed), "{err:?}");
    assert!(matches!(insert(&conn, 3).await, Err(Error::TransactionFailed)));
    assert!(matches!(tx.transaction().await, Err(Error::TransactionFailed)));
    assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));
    assert_eq!(ids(&conn).await, [0; 0]);

    // Even if the server had nothing to cancel any more.
    let tx = conn.transaction().await.unwrap();
    poll_once_and_drop(tx.batch_execute("INSERT INTO t VALUES (1)"));
    assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));

    // A savepoint confines it.
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    let inner = tx.transaction().await.unwrap();
    poll_once_and_drop(inner.batch_execute("SELECT pg_sleep(60)"));
    assert!(matches!(inner.commit().await, Err(Error::TransactionFailed)));
    insert(&tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1, 2]);
}

/// P18: it fails the level in which it was sent, whatever has begun since.
#[tokio::test]
async fn an_abandoned_statement_fails_the_transaction_it_was_sent_in() {
    let (_database, db, conn) = table().await;
    let cached = "INSERT INTO t SELECT $1 FROM pg_sleep(0.02)";
    conn.execute(cached, &[&-1]).await.unwrap();
    for round in 0..40 {
        let tx = conn.transaction().await.unwrap();
        let new = format!("INSERT INTO t SELECT {round} FROM pg_sleep(0.02)");
        let running = async {
            let patience = Duration::from_micros(100 * round as u64);
            let running = async {
                match round % 2 {
                    0 => tx.execute(&new, &[]).await,
                    _ => tx.execute(cached, &[&round]).await,
                }
            };
            tokio::time::timeout(patience, running).await
        };
        let (abandoned, inner) = tokio::join!(running, tx.transaction());
        assert!(abandoned.is_err(), "{abandoned:?}");
        match inner {
            Ok(inner) if round % 3 == 0 => inner.rollback().await.unwrap(),
            Ok(inner) => assert!(matches!(inner.commit().await, Err(Error::TransactionFailed))),
            Err(err) => assert!(matches!(err, Error::TransactionFailed | Error::Begin(_)), "{err:?}"),
        }
        let refused = insert(&tx, 1000).await;
        assert!(matches!(refused, Err(Error::TransactionFailed)), "{round}: {refused:?}");
        assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)), "{round}");
        assert_eq!(ids(&conn).await, [-1]);
    }
    assert_clean(&db, &conn).await;
}

/// A statement that has to be prepared first is sent where it was let in.
#[tokio::test]
async fn a_statement_does_not_slip_into_a_transaction_that_begins_beside_it() {
    let (_database, db, conn) = table().await;
    for id in 0..40 {
        let new = format!("INSERT INTO t VALUES ({id})");
        let (inserted, beside) = tokio::join!(conn.execute(&new, &[]), conn.transaction());
        inserted.unwrap();
        beside.unwrap().rollback().await.unwrap();

        let new = format!("INSERT INTO t VALUES (1000 + {id})");
        let tx = conn.transaction().await.unwrap();
        let (inserted, inner) = tokio::join!(tx.execute(&new, &[]), tx.transaction());
        inserted.unwrap();
        inner.unwrap().rollback().await.unwrap();
        tx.commit().await.unwrap();
        let both = "SELECT count(*) FROM t WHERE id IN ($1, 1000 + $1)";
        assert_eq!(conn.query_one_scalar::<i64>(both, &[&id]).await.unwrap(), 2, "{id}");
    }
    assert_clean(&db, &conn).await;
}

/// Nor out of one that is rolled back beside it.
#[tokio::test]
async fn a_statement_does_not_slip_out_of_a_transaction_that_is_rolled_back_beside_it() {
    let (_database, db, conn) = table().await;
    for id in 0..10 {
        let new = format!("INSERT INTO t VALUES ({id})");
        let tx = conn.transaction().await.unwrap();
        let (inserted, rolled_back) = tokio::join!(conn.execute(&new, &[]), tx.rollback());
        assert!(matches!(inserted, Err(Error::TransactionEnded)), "{inserted:?}");
        rolled_back.unwrap();

        let new = format!("INSERT INTO t VALUES (1000 + {id})");
        let tx = conn.transaction().await.unwrap();
        let inner = tx.transaction().await.unwrap();
        let (inserted, rolled_back) = tokio::join!(conn.execute(&new, &[]), inner.rollback());
        assert!(matches!(inserted, Err(Error::TransactionEnded)), "{inserted:?}");
        rolled_back.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(ids(&conn).await, [0; 0]);
    assert_clean(&db, &conn).await;
}

/// P18: a time-out is an abandoned statement.
#[tokio::test]
async fn a_statement_that_times_out_in_a_transaction_fails_it() {
    let database = database().await;
    let config = Config { command_timeout: Some(Duration::from_millis(100)), ..sized(database.config(), 1) };
    let db = Database::connect(config).await.unwrap();
    let conn = db.connection();
    let tx = conn.transaction().await.unwrap();
    assert!(matches!(tx.batch_execute("SELECT pg_sleep(60)").await, Err(Error::CommandTimeout(_))));
    assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));
    assert_clean(&db, &conn).await;
}

/// P17: nobody awaits the answer to BEGIN, and yet it is awaited.
#[tokio::test]
async fn a_begin_that_is_dropped_in_flight_leaves_nothing() {
    let (_database, db, conn) = table().await;
    let begins = async |begun: &str| {
        let tx = conn.transaction().await?;
        match begun {
            "before a write" => insert(&tx, 2).await.map(drop),
            "with a read" => tx.query("SELECT id FROM t ORDER BY id", &[]).await.map(drop),
            "before a savepoint" => tx.transaction().await.map(drop),
            _ => conn.client().await.map(drop),
        }
    };
    for begun in ["before a write", "with a read", "before a savepoint", "before a client"].repeat(10) {
        poll_once_and_drop(begins(begun));
        insert(&conn, 1).await.unwrap();
        conn.release().unwrap();
        assert_eq!(ids(&db.connection()).await, [1], "the insert ran in a transaction");
        assert_eq!(conn.execute("DELETE FROM t", &[]).await.unwrap(), 1);
        poll_once_and_drop(begins(begun));
        conn.transaction().await.unwrap().commit().await.unwrap();
    }
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_savepoint_that_is_dropped_in_flight_fails_the_transaction_around_it() {
    let (_database, db, conn) = table().await;
    for _ in 0..20 {
        let tx = conn.transaction().await.unwrap();
        insert(&tx, 1).await.unwrap();
        poll_once_and_drop(tx.transaction());
        assert!(matches!(insert(&tx, 2).await, Err(Error::TransactionFailed)));
        drop(tx);
        assert_eq!(ids(&conn).await, [0; 0]);
    }
    assert_clean(&db, &conn).await;
}

/// Whether it was committed, is not for this side to know; that the session is clean, is.
#[tokio::test]
async fn a_commit_that_is_dropped_in_flight_leaves_a_clean_session() {
    let (_database, db, conn) = table().await;
    for id in 0..20 {
        let tx = conn.transaction().await.unwrap();
        insert(&tx, id).await.unwrap();
        let inner = tx.transaction().await.unwrap();
        poll_once_and_drop(inner.commit());
        assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));

        let tx = conn.transaction().await.unwrap();
        insert(&tx, id).await.unwrap();
        poll_once_and_drop(tx.commit());
        insert(&conn, 100 + id).await.unwrap();
        assert_clean(&db, &conn).await;
        assert!(ids(&conn).await.contains(&(100 + id)));
    }
}

#[tokio::test]
async fn a_rollback_that_is_dropped_in_flight_is_carried_out() {
    let (_database, db, conn) = table().await;
    for _ in 0..20 {
        let tx = conn.transaction().await.unwrap();
        insert(&tx, 1).await.unwrap();
        poll_once_and_drop(tx.rollback());
        assert_eq!(ids(&conn).await, [0; 0]);
    }
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_statement_beside_a_commit_waits_for_its_answer() {
    let (_database, db, conn) = table().await;
    insert(&conn, 1).await.unwrap();
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap_err();
    let (committed, inserted) = tokio::join!(tx.commit(), insert(&conn, 2));
    assert!(matches!(committed, Err(Error::CommitRefused(_))));
    inserted.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1, 2]);
}

/// The rollback cannot be sent yet, and no statement before it.
#[tokio::test]
async fn a_transaction_dropped_beside_a_running_statement_takes_no_later_one_with_it() {
    let (_database, db, conn) = table().await;
    insert(&conn, 1).await.unwrap();
    let tx = conn.transaction().await.unwrap();
    assert_eq!(ids(&conn).await, [1]);
    let running = conn.batch_execute("INSERT INTO t SELECT 2 FROM pg_sleep(0.2)");
    let dropping = async {
        drop(tx);
        insert(&conn, 3).await
    };
    let (running, inserted) = tokio::join!(running, dropping);
    running.unwrap();
    inserted.unwrap();
    assert_clean(&db, &conn).await;
    assert_eq!(ids(&conn).await, [1, 3]);
}

#[tokio::test]
async fn a_connection_lost_during_commit_is_an_outcome_unknown() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    conn.batch_execute(
        "CREATE TABLE slow (id int);
         CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION linger()",
    )
    .await
    .unwrap();
    let dying: [&(dyn Fn() + Sync); 2] = [&|| proxy.cut(), &|| {}];
    for (cut, die) in dying.iter().enumerate() {
        let tx = conn.transaction().await.unwrap();
        let backend: i32 = tx.query_one_scalar("SELECT pg_backend_pid()", &[]).await.unwrap();
        tx.execute("INSERT INTO slow VALUES (1)", &[]).await.unwrap();
        let mut attempts = 0;
        let dying = async {
            eventually("COMMIT runs", async || observer.running("COMMIT").await == 1).await;
            die();
            if cut == 1 {
                observer.terminate(backend).await;
            }
            attempts += 1;
        };
        let (committed, ()) = tokio::join!(tx.commit(), dying);
        let err = committed.unwrap_err();
        assert!(matches!(err, Error::OutcomeUnknown(_)), "{err:?}");
        assert!(std::error::Error::source(&err).is_some());
        conn.release().unwrap();
        assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM slow", &[]).await.unwrap(), 0);
    }
    // The function is not run again.
    let runs = AtomicU32::new(0);
    let run = conn.transact(|tx: Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move { tx.execute("INSERT INTO slow VALUES (1)", &[]).await }
    });
    let cutting = async {
        eventually("COMMIT runs", async || observer.running("COMMIT").await == 1).await;
        proxy.cut();
    };
    let (run, ()) = tokio::join!(run, cutting);
    assert!(matches!(run, Err(Error::OutcomeUnknown(_))));
    assert_eq!(runs.into_inner(), 1);
}

/// Conformance 19.
#[tokio::test]
async fn a_session_lost_in_a_transaction_is_an_error_and_the_connection_goes_on_after_release() {
    let (database, _db, conn) = table().await;
    let observer = Observer::of(&database).await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    observer.terminate(backend(&conn).await).await;
    insert(&tx, 2).await.unwrap_err();
    assert!(tx.commit().await.is_err());
    conn.release().unwrap();
    assert_eq!(ids(&conn).await, [0; 0]);
}

#[tokio::test]
async fn a_row_stream_that_is_open_refuses_to_be_cut_off_by_commit() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    insert(&tx, 1).await.unwrap();
    let mut rows = tx.query_raw("SELECT generate_series(1, 100000)", &[]).await.unwrap();
    rows.try_next().await.unwrap();
    assert!(matches!(insert(&conn, 2).await, Err(Error::Busy(BusyWith::RowStream))));
    assert!(matches!(tx.commit().await, Err(Error::Busy(BusyWith::RowStream))));
    assert_eq!(rows.map_ok(|_| ()).try_fold(0, async |n, ()| Ok(n + 1)).await.unwrap(), 99_999);
    assert_eq!(ids(&conn).await, [0; 0]);
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn transact_commits_on_ok_and_rolls_back_on_err() {
    let (_database, db, conn) = table().await;
    let twice = conn
        .transact(async |tx: Transaction| {
            insert(&tx, 1).await?;
            tx.query_one_scalar::<i32>("SELECT id * 2 FROM t", &[]).await
        })
        .await;
    assert_eq!(twice.unwrap(), 2);

    #[derive(Debug)]
    enum Refused {
        Mine,
        Theirs(Error),
    }
    impl From<Error> for Refused {
        fn from(err: Error) -> Self {
            Self::Theirs(err)
        }
    }
    let refused = conn
        .transact(async |tx: Transaction| {
            insert(&tx, 2).await?;
            Err::<(), _>(Refused::Mine)
        })
        .await;
    assert!(matches!(refused, Err(Refused::Mine)));
    let refused = conn
        .transact(async |tx: Transaction| {
            insert(&tx, 3).await?;
            let _ = insert(&tx, 3).await;
            Ok::<_, Refused>(())
        })
        .await;
    assert!(matches!(refused, Err(Refused::Theirs(Error::CommitRefused(_)))));
    assert_eq!(ids(&conn).await, [1]);

    // Dropped half-way.
    poll_once_and_drop(conn.transact(async |tx: Transaction| {
        insert(&tx, 4).await?;
        std::future::pending::<Result<()>>().await
    }));
    assert_eq!(ids(&conn).await, [1]);
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_function_may_end_its_transaction_itself() {
    let (_database, db, conn) = table().await;
    conn.transact(async |tx: Transaction| {
        insert(&tx, 1).await?;
        tx.commit().await
    })
    .await
    .unwrap();
    conn.transact(async |tx: Transaction| {
        insert(&tx, 2).await?;
        tx.rollback().await
    })
    .await
    .unwrap();
    assert_eq!(ids(&conn).await, [1]);
    assert_clean(&db, &conn).await;
}

#[tokio::test]
async fn a_function_that_fails_for_another_reason_is_not_run_again() {
    let (_database, db, conn) = table().await;
    let runs = AtomicU32::new(0);
    let run = conn.build_transaction().retries(5).run(|tx: Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move {
            insert(&tx, 1).await?;
            insert(&tx, 1).await
        }
    });
    assert_eq!(run.await.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!(runs.into_inner(), 1);
    assert_clean(&db, &conn).await;

    // Nor one that has committed and then lost.
    let runs = AtomicU32::new(0);
    let lose = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$";
    let run = conn.build_transaction().retries(5).run(|tx: Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        let conn = conn.clone();
        async move {
            insert(&tx, 1).await?;
            tx.commit().await?;
            conn.batch_execute(lose).await
        }
    });
    assert!(run.await.is_err());
    assert_eq!(runs.into_inner(), 1);

    // One that loses every time is run as often as was said.
    let runs = AtomicU32::new(0);
    let run = conn.build_transaction().retries(2).run(|tx: Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move { tx.batch_execute(lose).await }
    });
    assert_eq!(run.await.unwrap_err().code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(runs.into_inner(), 3);
    assert_eq!(ids(&conn).await, [1]);
}

/// A commit that was not answered may have happened, whatever was lost before it.
#[tokio::test]
async fn a_function_is_not_run_again_when_its_outcome_is_unknown() {
    let database = database().await;
    let config = Config { command_timeout: Some(Duration::from_millis(200)), ..sized(database.config(), 1) };
    let db = Database::connect(config).await.unwrap();
    let conn = db.connection();
    conn.batch_execute(
        "CREATE TABLE t (id int);
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION wait()",
    )
    .await
    .unwrap();
    let runs = AtomicU32::new(0);
    let run = conn.build_transaction().retries(1).run(|tx: Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move {
            insert(&tx, 1).await?;
            let inner = tx.transaction().await?;
            let lose = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$";
            inner.batch_execute(lose).await.unwrap_err();
            inner.rollback().await
        }
    });
    let err = run.await.unwrap_err();
    assert!(matches!(err, Error::OutcomeUnknown(_)), "{err:?}");
    assert_eq!(runs.into_inner(), 1);
    assert_clean(&db, &conn).await;
}

/// Whatever the function does with its transaction.
#[tokio::test]
async fn a_function_that_hands_its_transaction_on_gets_its_own_error_back() {
    let (_database, db, conn) = table().await;
    let kept = std::sync::Mutex::new(Vec::new());
    let lose = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$";
    for (fail, runs, code) in
        [(lose, 3, SqlState::T_R_SERIALIZATION_FAILURE), ("SELECT 1 / 0", 1, SqlState::DIVISION_BY_ZERO)]
    {
        let run = conn.build_transaction().retries(2).run(|tx: Transaction| {
            let kept = &kept;
            async move {
                insert(&tx, 1).await?;
                let failed = tx.batch_execute(fail).await;
                kept.lock().expect("no panic").push(tx);
                failed
            }
        });
        let err = run.await.unwrap_err();
        assert_eq!(err.code(), Some(&code), "{err:?}");
        let kept = std::mem::take(&mut *kept.lock().expect("no panic"));
        assert_eq!(kept.len(), runs);
        // It is rolled back, although somebody holds it.
        assert_eq!(ids(&conn).await, [0; 0]);
        for tx in kept {
            assert!(matches!(insert(&tx, 2).await, Err(Error::TransactionEnded)));
        }
    }
    assert_clean(&db, &conn).await;
}

/// Sixteen clients on one row under serializable: every increment is counted exactly once. Its future is `Send`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contending_transactions_are_repeated_until_each_has_counted_once() {
    const CLIENTS: i32 = 16;
    const ROUNDS: i32 = 5;
    let (_database, db) = connect(CLIENTS as u32).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE hot (n int); INSERT INTO hot VALUES (0)").await.unwrap();
    conn.release().unwrap();
    let runs = std::sync::Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (db, runs) = (db.clone(), std::sync::Arc::clone(&runs));
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let conn = db.connection();
                    conn.build_transaction()
                        .isolation_level(IsolationLevel::Serializable)
                        .retries(1000)
                        .run(async |tx: Transaction| {
                            runs.fetch_add(1, Ordering::Relaxed);
                            let n: i32 = tx.query_one_scalar("SELECT n FROM hot", &[]).await?;
                            tx.execute("UPDATE hot SET n = $1", &[&(n + 1)]).await
                        })
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let n: i32 = conn.query_one_scalar("SELECT n FROM hot", &[]).await.unwrap();
    assert_eq!(n, CLIENTS * ROUNDS);
    assert!(runs.load(Ordering::Relaxed) > n as u32, "nobody ever lost");
}

/// P4: a handle that outlives its scope has no session to share, and transactions of their own.
#[tokio::test]
async fn the_statements_of_a_client_are_seen_by_a_transaction_and_it_by_them() {
    let (_database, db, conn) = table().await;
    let tx = conn.transaction().await.unwrap();
    let client = conn.client().await.unwrap();
    client.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    drop(client);
    tx.rollback().await.unwrap();
    assert_eq!(ids(&conn).await, [0; 0]);
    assert_clean(&db, &conn).await;
}
