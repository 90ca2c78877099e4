//! COPY in every way in which it fails, and who borrows next: each answer belongs to its question (P17).

use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::{Config, Connection, Database, Error, Reset};
use actix_web::web::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use test_support::{Observer, Proxy, backend, connected, copy_in, copy_out, database, eventually, sized};

use crate::common::{lends_all, soon, times};

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, note text CHECK (note <> 'bad'));
    INSERT INTO t VALUES (1);
    CREATE VIEW v AS SELECT id FROM t;
    CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE TABLE closed (id int);
    CREATE TRIGGER refuse BEFORE INSERT ON closed FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    CREATE TABLE judged (id int);
    CREATE TRIGGER refuse AFTER INSERT ON judged FOR EACH STATEMENT EXECUTE FUNCTION refuse();";

/// A way in which a copy does not end well.
#[derive(Debug, Clone, Copy)]
enum Way {
    View,
    BeforeStatement,
    AfterStatement,
    Constraint,
    Check,
    Deferred,
    WrongColumns,
    NoTable,
    Dropped,
    DroppedView,
    Cancelled,
    Terminated,
    Cut,
    OutFails,
    OutDeferred,
    OutDropped,
    Batch,
    Execute,
    Client,
    Succeeds,
}

const WAYS: &[Way] = &[
    Way::View,
    Way::BeforeStatement,
    Way::AfterStatement,
    Way::Constraint,
    Way::Check,
    Way::Deferred,
    Way::WrongColumns,
    Way::NoTable,
    Way::Dropped,
    Way::DroppedView,
    Way::Cancelled,
    Way::Terminated,
    Way::Cut,
    Way::OutFails,
    Way::OutDeferred,
    Way::OutDropped,
    Way::Batch,
    Way::Execute,
    Way::Client,
    Way::Succeeds,
];

/// Copies so that it goes wrong in one way.
async fn go_wrong(way: Way, conn: &Connection, observer: &Observer, proxy: &Proxy) {
    let failed = match way {
        Way::View => copy_in(conn, "COPY v FROM STDIN", "1\n").await.is_err(),
        Way::BeforeStatement => copy_in(conn, "COPY closed FROM STDIN", "1\n").await.is_err(),
        Way::AfterStatement => copy_in(conn, "COPY judged FROM STDIN", "1\n").await.is_err(),
        Way::Constraint => copy_in(conn, "COPY t (id) FROM STDIN", "1\n").await.is_err(),
        Way::Check => copy_in(conn, "COPY t FROM STDIN", "2\tbad\n").await.is_err(),
        Way::Deferred => copy_in(conn, "COPY later FROM STDIN", "1\n1\n").await.is_err(),
        Way::WrongColumns => copy_in(conn, "COPY t FROM STDIN", "1\t2\t3\n").await.is_err(),
        Way::NoTable => copy_in(conn, "COPY nowhere FROM STDIN", "1\n").await.is_err(),
        Way::OutFails => {
            copy_out(conn, "COPY (SELECT 1 / (2000 - n) FROM generate_series(1, 3000) n) TO STDOUT")
                .await
                .is_err()
        }
        Way::OutDeferred => {
            copy_out(conn, "COPY (INSERT INTO later VALUES (1), (1) RETURNING id) TO STDOUT").await.is_err()
        }
        Way::Batch => conn.batch_execute("COPY t FROM STDIN").await.is_err(),
        Way::Execute => conn.execute("COPY t FROM STDIN", &[]).await.is_err(),
        Way::Dropped | Way::DroppedView => {
            let table = if matches!(way, Way::Dropped) { "t" } else { "v" };
            if let Ok(mut copy) = conn.copy_in(&format!("COPY {table} FROM STDIN")).await {
                let _ = copy.send(Bytes::from_static(b"2\n")).await;
            }
            true
        }
        Way::OutDropped => {
            let mut copy =
                conn.copy_out("COPY (SELECT generate_series(1, 10000000)) TO STDOUT").await.expect("data");
            copy.next().await.expect("a piece").expect("a piece");
            true
        }
        Way::Cancelled | Way::Terminated | Way::Cut => {
            let pid = backend(conn).await;
            let mut copy = conn.copy_in("COPY t (id) FROM STDIN").await.expect("a copy");
            copy.send(Bytes::from_static(b"2\n")).await.expect("a piece");
            copy.flush().await.expect("a piece");
            match way {
                Way::Cancelled => {
                    let sql = "SELECT pg_cancel_backend($1)";
                    observer.connection().execute(sql, &[&pid]).await.expect("a cancel");
                }
                Way::Terminated => observer.terminate(pid).await,
                _ => proxy.cut(),
            }
            copy.finish().await.is_err()
        }
        Way::Client => {
            let client = conn.client().await.expect("a client");
            let refused = client.copy_in::<_, Bytes>("COPY nowhere FROM STDIN").await.is_err();
            drop(client);
            // The driver's own client is not watched while it is lent: the session is checked at its return.
            conn.release().expect("nothing runs");
            refused
        }
        Way::Succeeds => copy_in(conn, "COPY (SELECT 1) TO STDOUT", "").await.is_err(),
    };
    // A cancel that comes between two messages of a copy is lost.
    assert!(failed || matches!(way, Way::Cancelled), "{way:?} went well");
}

/// Whoever asks gets the answer to the question, or is told that the session is lost.
async fn ask(conn: &Connection, from: i32, may_be_lost: bool, case: &str) {
    for question in from..from + 4 {
        match soon(case, conn.query_scalar::<i32>("SELECT $1::int4", &[&question])).await {
            Ok(answer) => assert_eq!(answer, [question], "{case}: the answer to another question"),
            Err(Error::SessionLost) if may_be_lost => {}
            Err(err) if may_be_lost && err.code().is_none() => {}
            Err(err) => panic!("{case}: {err:?}"),
        }
    }
}

struct World {
    _database: TestDatabase,
    db: Database,
    observer: Observer,
    proxy: Proxy,
}

async fn world(reset: Reset, size: u32) -> World {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(Config { reset, ..sized(config, size) }).await;
    observer.connection().batch_execute(SCHEMA).await.expect("a schema");
    World { _database: database, db, observer, proxy }
}

#[tokio::test]
async fn no_answer_is_anothers_however_a_copy_fails() {
    for reset in [Reset::Auto, Reset::Always, Reset::Never] {
        let World { _database, db, observer, proxy } = world(reset, 1).await;
        for delay in [Duration::ZERO, Duration::from_millis(5)] {
            if delay > Duration::ZERO {
                proxy.delay(delay);
            }
            for &way in WAYS {
                let case = format!("{way:?}, {reset:?}, {delay:?}");
                let conn = db.connection();
                go_wrong(way, &conn, &observer, &proxy).await;
                // The same request, before and after it gives the session back, and another one.
                ask(&conn, 10, true, &case).await;
                go_wrong_again(way, &conn, &observer, &proxy).await;
                conn.release().expect("nothing runs");
                ask(&conn, 20, false, &case).await;
                drop(conn);
                ask(&db.connection(), 30, false, &case).await;
            }
        }
        let rows: i64 =
            observer.connection().query_one_scalar("SELECT count(*) FROM t", &[]).await.expect("rows");
        assert_eq!(rows, 1, "of a copy that failed");
    }
}

/// A second time in the same request, if the first has left it a session.
async fn go_wrong_again(way: Way, conn: &Connection, observer: &Observer, proxy: &Proxy) {
    if conn.query("SELECT 1", &[]).await.is_ok() {
        go_wrong(way, conn, observer, proxy).await;
    }
}

/// The same under load: who borrows next waits already, and the answers of several sessions cross.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_anothers_while_others_wait() {
    for reset in [Reset::Auto, Reset::Never] {
        let World { _database, db, observer: _observer, proxy: _proxy } = world(reset, 3).await;
        let rounds = times(25, 500);
        let copying = (0..6).map(|client| {
            let db = db.clone();
            tokio::spawn(async move {
                for round in 0..rounds {
                    let conn = db.connection();
                    let way = (client + round) % 5;
                    let failed = match way {
                        0 => copy_in(&conn, "COPY v FROM STDIN", "1\n").await.is_err(),
                        1 => copy_in(&conn, "COPY closed FROM STDIN", "1\n").await.is_err(),
                        2 => copy_in(&conn, "COPY nowhere FROM STDIN", "1\n").await.is_err(),
                        3 => copy_in(&conn, "COPY later FROM STDIN", "1\n1\n").await.is_err(),
                        _ => conn.batch_execute("COPY t FROM STDIN").await.is_err(),
                    };
                    assert!(failed, "{way}");
                }
            })
        });
        let asking = (0..12).map(|client| {
            let db = db.clone();
            tokio::spawn(async move {
                for round in 0..rounds {
                    let question = (client * 100_000 + round) as i32;
                    ask(&db.connection(), question, false, "a stranger").await;
                }
            })
        });
        let tasks: Vec<_> = copying.chain(asking).collect();
        join_all(tasks).await.into_iter().for_each(|task| task.expect("no panic"));
        lends_all(&db).await.expect("no place was lost");
        eventually("nothing is lent", || async { db.status().used == 0 }).await;
    }
}
