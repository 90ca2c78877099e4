//! What is sent ahead of a statement in the same round trip, and what becomes of the statement when that fails (P27).

use std::future::Future;
use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Config, Connection, Database, Error, GenericClient, Reset, Result, Transaction};
use futures_util::{SinkExt, TryStreamExt, future};
use rand::RngExt;
use test_support::{Proxy, connected, database, eventually, sized, soon};

const READ: &str = "SELECT id FROM t ORDER BY id";
const WRITE: &str = "INSERT INTO t VALUES ($1)";

/// A connection to a table `t (id int primary key)`, on one session, through a proxy that counts and garbles.
struct Line {
    proxy: Proxy,
    db: Database,
    conn: Connection,
    _database: TestDatabase,
}

impl Line {
    async fn new(config: impl FnOnce(Config) -> Config) -> Self {
        let database = database().await;
        let (proxy, through) = Proxy::to(&database).await;
        let db = connected(config(sized(through, 1))).await;
        let conn = db.connection();
        conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table");
        let line = Self { proxy, db, conn, _database: database };
        // Both are prepared from now on.
        assert_eq!(ids(&line.conn).await, [0; 0]);
        insert(&line.conn, 0).await.expect("a row");
        line.conn.execute("DELETE FROM t WHERE id = $1", &[&0]).await.expect("no row");
        line
    }

    /// The round trips of something.
    async fn trips<T>(&self, future: impl Future<Output = T>) -> (usize, T) {
        let before = self.proxy.round_trips();
        let output = soon("an answer", future).await;
        (self.proxy.round_trips() - before, output)
    }

    /// Makes the next BEGIN fail, and nothing else.
    fn break_begin(&self) {
        self.proxy.replace("START TRANSACTION", "SELECT 1/0       ");
    }

    /// Makes the next settings fail, and nothing else.
    fn break_settings(&self) {
        // The name, because the statement may be prepared.
        self.proxy.replace("app.tenant", "app tenant");
    }

    /// The session goes back and is lent again: it is in no transaction, and the connection goes on.
    async fn assert_clean(&self) {
        self.conn.release().expect("a release");
        let other = self.db.connection();
        let now = "SELECT now()::text";
        let first: String = other.query_one_scalar(now, &[]).await.expect("an answer");
        let second: String = other.query_one_scalar(now, &[]).await.expect("an answer");
        assert_ne!(first, second, "a transaction is open");
        other.release().expect("a release");
    }
}

async fn insert(client: &impl GenericClient, id: i32) -> Result<u64> {
    client.execute(WRITE, &[&id]).await
}

async fn ids(client: &impl GenericClient) -> Vec<i32> {
    client.query_scalar(READ, &[]).await.expect("the ids")
}

fn is_refused_begin<T>(answer: &Result<T>) -> bool {
    let refused =
        |err: &Error| matches!(err, Error::Begin(_)) && err.code() == Some(&SqlState::DIVISION_BY_ZERO);
    answer.as_ref().is_err_and(refused)
}

/// P27: one round trip for each statement, and one for COMMIT.
#[tokio::test]
async fn a_transaction_that_begins_with_a_read_costs_no_round_trip_for_its_begin() {
    let line = Line::new(|config| config).await;
    let (trips, ()) = line
        .trips(async {
            let tx = line.conn.transaction().await.unwrap();
            assert_eq!(ids(&tx).await, [0; 0]);
            insert(&tx, 1).await.unwrap();
            tx.commit().await.unwrap();
        })
        .await;
    assert_eq!(trips, 3);
    let (trips, ()) = line
        .trips(async {
            let tx = line.conn.transaction().await.unwrap();
            insert(&tx, 2).await.unwrap();
            tx.commit().await.unwrap();
        })
        .await;
    assert_eq!(trips, 3, "BEGIN, INSERT, COMMIT");
    // To prepare a statement only reads.
    for new in ["SELECT id FROM t WHERE id = 1", "INSERT INTO t VALUES (3)"] {
        let (trips, ()) = line
            .trips(async {
                let tx = line.conn.transaction().await.unwrap();
                tx.execute(new, &[]).await.unwrap();
                tx.commit().await.unwrap();
            })
            .await;
        assert_eq!(trips, 3, "BEGIN and Parse, {new}, COMMIT");
    }
    assert_eq!(ids(&line.conn).await, [1, 2, 3]);
    line.assert_clean().await;
}

/// P27.
#[tokio::test]
async fn a_transaction_in_which_nothing_was_sent_ends_without_a_message() {
    for reset in [Reset::Auto, Reset::Always] {
        let line = Line::new(|config| Config { reset, ..config }).await;
        let conn = &line.conn;
        let (trips, ()) = line
            .trips(async {
                conn.transaction().await.unwrap().commit().await.unwrap();
                conn.transaction().await.unwrap().rollback().await.unwrap();
                drop(conn.transaction().await.unwrap());
                conn.transact(async |_: Transaction| Ok::<_, Error>(())).await.unwrap();
                conn.transact(async |tx: Transaction| tx.rollback().await).await.unwrap();
                let tx = conn.build_transaction().read_only(true).begin().await.unwrap();
                tx.commit().await.unwrap();
            })
            .await;
        assert_eq!(trips, 0);
        insert(conn, 1).await.unwrap();
        line.assert_clean().await;
    }
}

/// What a function or a view behind a SELECT does is not known there.
#[tokio::test]
async fn with_reset_always_a_begin_is_awaited() {
    let line = Line::new(|config| Config { reset: Reset::Always, ..config }).await;
    line.break_begin();
    let tx = line.conn.transaction().await.unwrap();
    let (trips, refused) = line.trips(tx.query(READ, &[])).await;
    assert!(is_refused_begin(&refused), "{refused:?}");
    assert_eq!(trips, 1);
    tx.rollback().await.unwrap();
    let tx = line.conn.transaction().await.unwrap();
    let (trips, _) = line.trips(ids(&tx)).await;
    assert_eq!(trips, 2);
}

/// P27: the read has run by itself, and nobody gets to know.
#[tokio::test]
async fn the_answer_to_a_read_behind_a_begin_that_fails_does_not_count() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    for new in ["", " LIMIT 1", " LIMIT 2"] {
        for through_the_connection in [false, true] {
            line.break_begin();
            let tx = conn.transaction().await.unwrap();
            let sql = format!("{READ}{new}");
            let refused = match through_the_connection {
                true => conn.query(&sql, &[]).await,
                false => tx.query(&sql, &[]).await,
            };
            assert!(is_refused_begin(&refused), "{refused:?}");
            // Nothing runs outside of the transaction that its user believes to be in.
            assert!(matches!(insert(&tx, 1).await, Err(Error::TransactionFailed)));
            assert!(matches!(insert(conn, 1).await, Err(Error::TransactionFailed)));
            assert!(matches!(conn.client().await, Err(Error::TransactionFailed)));
            assert!(matches!(tx.transaction().await, Err(Error::TransactionFailed)));
            match through_the_connection {
                true => tx.rollback().await.unwrap(),
                false => assert!(matches!(tx.commit().await, Err(Error::TransactionFailed))),
            }
            assert_eq!(ids(conn).await, [0; 0]);
            line.assert_clean().await;
        }
    }
    // Many rows, which nobody reads.
    let many = "SELECT generate_series(1, 100000)";
    conn.query(many, &[]).await.unwrap();
    line.break_begin();
    let tx = conn.transaction().await.unwrap();
    assert!(is_refused_begin(&tx.query(many, &[]).await));
    drop(tx);
    assert_eq!(ids(conn).await, [0; 0]);
    line.assert_clean().await;
}

/// P27: a write is not even sent.
#[tokio::test]
async fn nothing_that_may_write_is_sent_behind_a_begin_that_fails() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    let with = "WITH new AS (INSERT INTO t VALUES (7) RETURNING id) SELECT id FROM new";
    conn.batch_execute(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (8) RETURNING 8'",
    )
    .await
    .unwrap();
    for warm in [with, "SELECT f()", "SELECT id FROM t FOR UPDATE"] {
        conn.query(warm, &[]).await.unwrap();
    }
    conn.execute("DELETE FROM t", &[]).await.unwrap();
    for way in 0..12 {
        line.break_begin();
        let tx = conn.transaction().await.unwrap();
        let refused = match way {
            0 => insert(&tx, 1).await.map(drop),
            1 => tx.execute("INSERT INTO t VALUES (2)", &[]).await.map(drop),
            2 => tx.batch_execute("INSERT INTO t VALUES (3)").await,
            3 => conn.client().await.map(drop),
            4 => tx.copy_in("COPY t FROM STDIN").await.map(drop),
            5 => tx.copy_out("COPY t TO STDOUT").await.map(drop),
            6 => tx.query_raw(READ, &[]).await.map(drop),
            7 => tx.transaction().await.map(drop),
            8 => tx.query(with, &[]).await.map(drop),
            9 => tx.execute_many(WRITE, [[1], [2]]).await.map(drop),
            10 => conn.execute_many(WRITE, [[1], [2]]).await.map(drop),
            _ => tx.query("SELECT f()", &[]).await.map(drop),
        };
        assert!(is_refused_begin(&refused), "{way}: {refused:?}");
        assert!(line.proxy.has_replaced());
        assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));
        assert_eq!(ids(conn).await, [0; 0], "{way}");
        line.assert_clean().await;
    }
}

/// The transaction is there before anything that only it may contain.
#[tokio::test]
async fn whatever_comes_first_is_in_the_transaction() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    for way in 0..9 {
        let tx = conn.transaction().await.unwrap();
        match way {
            0 => insert(&tx, 1).await.map(drop).unwrap(),
            1 => tx.batch_execute("INSERT INTO t VALUES (1)").await.unwrap(),
            2 => {
                let client = conn.client().await.unwrap();
                client.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
            }
            3 => {
                let mut copy = tx.copy_in("COPY t FROM STDIN").await.unwrap();
                copy.send("1\n".into()).await.unwrap();
                assert_eq!(copy.finish().await.unwrap(), 1);
            }
            4 => {
                let rows = tx.query_raw("INSERT INTO t VALUES (1) RETURNING id", &[]).await.unwrap();
                assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
            }
            5 => {
                let inner = tx.transaction().await.unwrap();
                insert(&inner, 1).await.unwrap();
                inner.commit().await.unwrap();
            }
            6 => assert_eq!(tx.execute_many(WRITE, [[1], [2]]).await.unwrap(), 2),
            7 => assert_eq!(conn.execute_many(WRITE, [[1], [2]]).await.unwrap(), 2),
            _ => insert(conn, 1).await.map(drop).unwrap(),
        }
        tx.rollback().await.unwrap();
        assert_eq!(ids(conn).await, [0; 0], "{way}");
        line.assert_clean().await;
    }
}

/// It is sent in the transaction that it has begun, or not at all.
#[tokio::test]
async fn a_statement_that_waits_for_its_begin_slips_neither_out_of_a_transaction_nor_behind_its_commit() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    for _ in 0..20 {
        let tx = conn.transaction().await.unwrap();
        let (inserted, committed) = tokio::join!(insert(conn, 1), tx.commit());
        inserted.unwrap();
        committed.unwrap();
        assert_eq!(ids(conn).await, [1]);
        conn.execute("DELETE FROM t", &[]).await.unwrap();

        let tx = conn.transaction().await.unwrap();
        let (inserted, committed) = tokio::join!(conn.execute_many(WRITE, [[1], [2]]), tx.commit());
        inserted.unwrap();
        committed.unwrap();
        assert_eq!(ids(conn).await, [1, 2]);
        conn.execute("DELETE FROM t", &[]).await.unwrap();

        let tx = conn.transaction().await.unwrap();
        let (inserted, rolled_back) = tokio::join!(insert(conn, 1), tx.rollback());
        assert!(matches!(inserted, Err(Error::TransactionEnded)), "{inserted:?}");
        rolled_back.unwrap();
        assert_eq!(ids(conn).await, [0; 0]);

        let tx = conn.transaction().await.unwrap();
        let (inserted, ()) = tokio::join!(conn.batch_execute("INSERT INTO t VALUES (1)"), async { drop(tx) });
        assert!(matches!(inserted, Err(Error::TransactionEnded)), "{inserted:?}");
        assert_eq!(ids(conn).await, [0; 0]);
    }
    line.assert_clean().await;
}

#[tokio::test]
async fn the_options_of_a_transaction_are_in_force_for_its_first_read() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    let level = "SELECT current_setting('transaction_isolation')";
    assert_eq!(conn.query_one_scalar::<String>(level, &[]).await.unwrap(), "read committed");
    let (trips, ()) = line
        .trips(async {
            let serializable =
                conn.build_transaction().isolation_level(actix_pg::IsolationLevel::Serializable);
            let tx = serializable.read_only(true).begin().await.unwrap();
            assert_eq!(tx.query_one_scalar::<String>(level, &[]).await.unwrap(), "serializable");
            let refused = insert(&tx, 1).await.unwrap_err();
            assert_eq!(refused.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
            tx.rollback().await.unwrap();
        })
        .await;
    assert_eq!(trips, 3, "the read, the write, ROLLBACK");
    line.assert_clean().await;
}

fn is_refused_setting<T>(answer: &Result<T>) -> bool {
    let refused =
        |err: &Error| matches!(err, Error::Setting(_)) && err.code() == Some(&SqlState::UNDEFINED_OBJECT);
    answer.as_ref().is_err_and(refused)
}

/// P27: a setting costs none where what follows only reads or a transaction is open, and else one.
#[tokio::test]
async fn settings_cost_no_round_trip_ahead_of_a_read_or_in_a_transaction() {
    let line = Line::new(|config| config).await;
    let tenant = |name: &str| {
        line.conn.set_config("app.tenant", name).unwrap();
        &line.conn
    };
    let seen = "SELECT current_setting('app.tenant', true)";
    line.conn.query(seen, &[]).await.unwrap();
    let (trips, of) = line.trips(tenant("ada").query_one_scalar::<String>(seen, &[])).await;
    assert_eq!((trips, &*of.unwrap()), (1, "ada"), "settings and the read");
    let (trips, _) = line.trips(ids(&line.conn)).await;
    assert_eq!(trips, 1, "they are in force");
    let new = "SELECT current_setting('app.tenant')";
    let (trips, of) = line.trips(tenant("grace").query_one_scalar::<String>(new, &[])).await;
    assert_eq!((trips, &*of.unwrap()), (2, "grace"), "settings and Parse, the read");
    let (trips, _) = line.trips(insert(tenant("ada"), 1)).await;
    assert_eq!(trips, 2, "settings, the write");
    let (trips, _) = line.trips(tenant("grace").execute("DELETE FROM t", &[])).await;
    assert_eq!(trips, 2, "settings and Parse, the write");

    let (trips, ()) = line
        .trips(async {
            let tx = tenant("ada").transaction().await.unwrap();
            assert_eq!(tx.query_one_scalar::<String>(seen, &[]).await.unwrap(), "ada");
            tenant("grace");
            insert(&tx, 1).await.unwrap();
            assert_eq!(tx.query_one_scalar::<String>(seen, &[]).await.unwrap(), "grace");
            tx.commit().await.unwrap();
        })
        .await;
    assert_eq!(trips, 4, "settings, BEGIN and the read; settings and the write; the read; COMMIT");
    let (trips, ()) = line
        .trips(async {
            let tx = tenant("ada").transaction().await.unwrap();
            insert(&tx, 2).await.unwrap();
            assert_eq!(tx.query_one_scalar::<String>(seen, &[]).await.unwrap(), "ada");
            tx.commit().await.unwrap();
        })
        .await;
    assert_eq!(trips, 4, "settings and BEGIN; the write; the read; COMMIT");
    // Of a batch and a client nothing is known.
    let (trips, _) = line.trips(tenant("grace").batch_execute("SELECT 1")).await;
    assert_eq!(trips, 2);
    let (trips, _) = line.trips(async { drop(tenant("ada").client().await.unwrap()) }).await;
    assert_eq!(trips, 1);
}

#[tokio::test]
async fn with_reset_always_settings_are_awaited() {
    let line = Line::new(|config| Config { reset: Reset::Always, ..config }).await;
    let conn = &line.conn;
    conn.set_config("app.tenant", "ada").unwrap();
    let (trips, _) = line.trips(ids(conn)).await;
    assert_eq!(trips, 2);
    let tx = conn.transaction().await.unwrap();
    conn.set_config("app.tenant", "grace").unwrap();
    let (trips, _) = line.trips(insert(&tx, 1)).await;
    assert_eq!(trips, 2, "settings and BEGIN, the write");
    conn.set_config("app.tenant", "ada").unwrap();
    let (trips, _) = line.trips(insert(&tx, 2)).await;
    assert_eq!(trips, 2, "settings, the write");
}

/// P27: it read what the tenant before it, or nobody, may see.
#[tokio::test]
async fn the_answer_to_a_read_behind_settings_that_fail_does_not_count() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    insert(conn, 1).await.unwrap();
    for sql in [READ, "SELECT id + 1 FROM t"] {
        conn.set_config("app.tenant", "ada").unwrap();
        line.break_settings();
        assert!(is_refused_setting(&conn.query(sql, &[]).await));
        // From now on it is awaited.
        line.break_settings();
        let (trips, refused) = line.trips(conn.query(sql, &[])).await;
        assert!(is_refused_setting(&refused), "{refused:?}");
        assert_eq!(trips, 1);
        assert_eq!(ids(conn).await, [1]);
        line.assert_clean().await;
    }
    // One that the server refuses by itself.
    conn.set_config("role", "nobody of this name").unwrap();
    let (trips, refused) = line.trips(conn.query(READ, &[])).await;
    assert!(matches!(refused, Err(Error::Setting(_))), "{refused:?}");
    assert_eq!(trips, 1);
    assert!(matches!(conn.transaction().await, Err(Error::Setting(_))));
    conn.set_config("role", "none").unwrap();
    assert_eq!(ids(conn).await, [1]);
}

/// P27: by itself it is not sent, and in a transaction it fails with that.
#[tokio::test]
async fn no_write_takes_effect_behind_settings_that_fail() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    for (round, new) in ["INSERT INTO t VALUES (5)", "INSERT INTO t VALUES (6)"].into_iter().enumerate() {
        let tenant = |name: &str| conn.set_config("app.tenant", &format!("{name} {round}")).unwrap();
        let write = async |client: &Connection, tx: Option<&Transaction>| match (round, tx) {
            (0, Some(tx)) => insert(tx, 1).await,
            (0, None) => insert(client, 1).await,
            (_, Some(tx)) => tx.execute(new, &[]).await,
            (_, None) => client.execute(new, &[]).await,
        };
        // By itself.
        tenant("ada");
        line.break_settings();
        assert!(is_refused_setting(&write(conn, None).await));
        conn.release().unwrap();
        assert_eq!(ids(conn).await, [0; 0]);

        // In a transaction, in a savepoint.
        for savepoint in [false, true] {
            let tx = conn.transaction().await.unwrap();
            let inner = if savepoint { Some(tx.transaction().await.unwrap()) } else { None };
            assert_eq!(ids(&tx).await, [0; 0]);
            tenant(if savepoint { "grace" } else { "barbara" });
            line.break_settings();
            assert!(is_refused_setting(&write(conn, Some(inner.as_ref().unwrap_or(&tx))).await));
            assert!(line.proxy.has_replaced());
            if let Some(inner) = inner {
                let aborted = inner.commit().await.unwrap_err();
                assert_eq!(aborted.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
                assert_eq!(ids(&tx).await, [0; 0]);
                tx.commit().await.unwrap();
            } else {
                let aborted = write(conn, Some(&tx)).await.unwrap_err();
                assert_eq!(aborted.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
                let aborted = tx.commit().await.unwrap_err();
                assert_eq!(aborted.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
            }
            assert_eq!(ids(conn).await, [0; 0]);
            line.assert_clean().await;
        }

        // The transaction may be none any more: SQL has ended it.
        let tx = conn.transaction().await.unwrap();
        tx.batch_execute("COMMIT").await.unwrap();
        tenant("edith");
        line.break_settings();
        assert!(is_refused_setting(&write(conn, Some(&tx)).await));
        drop(tx);
        assert_eq!(ids(conn).await, [0; 0]);
        line.assert_clean().await;

        // A COMMIT of SQL is not aborted with the transaction.
        let tx = conn.transaction().await.unwrap();
        insert(&tx, 3).await.unwrap();
        tenant("joan");
        line.break_settings();
        assert!(is_refused_setting(&tx.execute("COMMIT", &[]).await));
        assert_eq!(insert(&tx, 4).await.unwrap_err().code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        drop(tx);
        assert_eq!(ids(conn).await, [0; 0]);
        line.assert_clean().await;
    }
}

/// P27: BEGIN went well, and yet there is no transaction.
#[tokio::test]
async fn settings_that_fail_ahead_of_a_begin_fail_the_transaction() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    for (round, first) in [READ, WRITE, "SELECT 1 FROM t"].into_iter().enumerate() {
        conn.set_config("app.tenant", &format!("ada {round}")).unwrap();
        let tx = conn.transaction().await.unwrap();
        line.break_settings();
        let refused = match first {
            WRITE => insert(&tx, 1).await.map(drop),
            _ => tx.query(first, &[]).await.map(drop),
        };
        assert!(is_refused_setting(&refused), "{refused:?}");
        assert!(matches!(insert(conn, 1).await, Err(Error::TransactionFailed)));
        assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));
        assert_eq!(ids(conn).await, [0; 0]);
        line.assert_clean().await;
    }
}

/// P18: what was sent ahead of it is abandoned with it.
#[tokio::test]
async fn a_statement_behind_settings_may_be_dropped_at_every_step() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    let seen = "SELECT current_setting('app.tenant', true)";
    conn.query(seen, &[]).await.unwrap();
    line.proxy.delay(Duration::from_millis(4));
    for step in 0..16 {
        for way in 0..3 {
            let tenant = format!("{step} {way}");
            conn.set_config("app.tenant", &tenant).unwrap();
            let new = format!("SELECT {step}, {way}");
            let running = async {
                match way {
                    0 => conn.query(seen, &[]).await.map(drop),
                    1 => conn.query(&new, &[]).await.map(drop),
                    _ => insert(conn, -1).await.map(drop),
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(step), running).await;
            assert_eq!(conn.query_one_scalar::<String>(seen, &[]).await.unwrap(), tenant);
            conn.execute("DELETE FROM t WHERE id = $1", &[&-1]).await.unwrap();
            conn.release().unwrap();
            let other = line.db.connection();
            assert_eq!(other.query_one_scalar::<String>(seen, &[]).await.unwrap(), "", "{step}, {way}");
        }
    }
    line.proxy.heal();
    line.assert_clean().await;
}

/// A first statement that fails fails the transaction, though BEGIN was under way with it.
#[tokio::test]
async fn a_first_statement_that_fails_fails_its_transaction() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    let failing = "SELECT 1 / $1::int";
    conn.query(failing, &[&1]).await.unwrap();
    for (sql, code) in
        [("SELECT 1 FROM nowhere", SqlState::UNDEFINED_TABLE), (failing, SqlState::DIVISION_BY_ZERO)]
    {
        let tx = conn.transaction().await.unwrap();
        let err = match sql == failing {
            true => tx.query(sql, &[&0]).await.unwrap_err(),
            false => tx.query(sql, &[]).await.unwrap_err(),
        };
        assert!(matches!(err, Error::Postgres(_)), "{err:?}");
        assert_eq!(err.code(), Some(&code));
        assert_eq!(insert(&tx, 1).await.unwrap_err().code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        assert!(matches!(tx.commit().await, Err(Error::CommitRefused(_))));
        assert_eq!(ids(conn).await, [0; 0]);
        line.assert_clean().await;
    }
    // A parameter that the driver refuses is no statement: the transaction has begun, and goes on.
    let tx = conn.transaction().await.unwrap();
    tx.query(failing, &[&"no number"]).await.unwrap_err();
    insert(&tx, 1).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(ids(conn).await, [0; 0]);
    line.assert_clean().await;
}

/// P18: dropped at any moment from before BEGIN until after the answer, it fails the transaction or has ended.
#[tokio::test]
async fn a_first_statement_that_is_dropped_fails_its_transaction_at_every_step() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    line.proxy.delay(Duration::from_millis(4));
    for step in 0..24 {
        for way in 0..4 {
            let tx = conn.transaction().await.unwrap();
            let new = format!("SELECT {step}, {way}");
            let first = async {
                match way {
                    0 => tx.query(READ, &[]).await.map(drop),
                    1 => tx.query(&new, &[]).await.map(drop),
                    2 => insert(&tx, 1).await.map(drop),
                    _ => tx.transaction().await.map(drop),
                }
            };
            let dropped = tokio::time::timeout(Duration::from_millis(step), first).await.is_err();
            let written = insert(&tx, 2).await;
            if dropped {
                assert!(matches!(written, Err(Error::TransactionFailed)), "{step}, {way}: {written:?}");
                assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)), "{step}, {way}");
            } else {
                written.unwrap();
                tx.rollback().await.unwrap();
            }
            assert_eq!(ids(conn).await, [0; 0], "{step}, {way}");
        }
    }
    line.proxy.heal();
    line.assert_clean().await;
}

/// P27: all or nothing, with several statements at once, some dropped, some BEGINs refused, and every end.
#[tokio::test]
async fn statements_at_once_are_in_the_transaction_all_or_none() {
    let line = Line::new(|config| config).await;
    let conn = &line.conn;
    let mut random = rand::rng();
    let (mut committed, mut refused) = (0, 0);
    for round in 0..300 {
        let broken = random.random_bool(0.25);
        if broken {
            line.break_begin();
        }
        // Of what a client has done nothing is known: a transaction begins at once after it.
        conn.release().unwrap();
        let tx = conn.transaction().await.unwrap();
        let statements = (1..=random.random_range(1..5)).map(|id| {
            let (way, patience) =
                (random.random_range(0..6), Duration::from_micros(random.random_range(0..3000)));
            // What a client has sent when its guard is dropped is not known.
            let patience =
                if way < 5 && random.random_bool(0.2) { patience } else { Duration::from_secs(20) };
            let tx = &tx;
            async move {
                let new = format!("INSERT INTO t SELECT {id} WHERE {round} >= 0");
                let running = async {
                    match way {
                        0 => tx.query(READ, &[]).await.map(|_| 0),
                        1 => conn.query(READ, &[]).await.map(|_| 0),
                        2 => insert(tx, id).await,
                        3 => insert(conn, id).await,
                        4 => tx.execute(&new, &[]).await,
                        _ => match conn.client().await {
                            Ok(client) => Ok(client.execute(WRITE, &[&id]).await?),
                            Err(err) => Err(err),
                        },
                    }
                };
                match tokio::time::timeout(patience, running).await {
                    Ok(Ok(0)) => Ok(None),
                    Ok(Ok(_)) => Ok(Some(id)),
                    Ok(Err(err)) => Err(Some(err)),
                    Err(_) => Err(None),
                }
            }
        });
        let ended = soon("every answer", future::join_all(statements.collect::<Vec<_>>())).await;
        let written: Vec<i32> =
            ended.iter().filter_map(|ended| ended.as_ref().ok().copied().flatten()).collect();
        let broken = broken && line.proxy.has_replaced();
        assert!(!broken || written.is_empty(), "{round}: {ended:?}");
        match random.random_range(0..3) {
            0 => tx.rollback().await.unwrap(),
            1 => drop(tx),
            _ => match soon("an end", tx.commit()).await {
                Ok(()) => {
                    assert!(!ended.iter().any(|ended| matches!(ended, Err(Some(_)))), "{round}: {ended:?}");
                    assert_eq!(ids(conn).await, written, "{round}: {ended:?}");
                    conn.execute("DELETE FROM t", &[]).await.unwrap();
                    committed += 1;
                }
                Err(err) => {
                    assert!(ended.iter().any(Result::is_err), "{round}: {err:?}");
                    refused += 1;
                }
            },
        }
        assert_eq!(ids(conn).await, [0; 0], "{round}: {ended:?}");
    }
    assert!(committed > 20 && refused > 10, "{committed} committed, {refused} refused");
    line.assert_clean().await;
    eventually("all is returned", async || line.db.status().used == 0).await;
}
