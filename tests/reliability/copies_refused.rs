//! `COPY … FROM STDIN` on a server that takes no writes any more. The session that is refused cannot be asked why: its driver is out of step.

use std::time::Duration;

use actix_pg::testing::Cluster;
use actix_pg::tokio_postgres::types::Type;
use actix_pg::{Config, Connection, Database, Error};
use actix_web::ResponseError;
use futures_util::future::join_all;
use test_support::{all_returned, connected, copy_in};
use tokio::time::timeout;

use crate::common::{HANG, sqlstate};

const COPY: &str = "COPY runs FROM STDIN (NULL '\\N')";
const SESSIONS: u32 = 4;

async fn started() -> (Cluster, Database) {
    // Not synchronous: what was the primary would wait for its standby.
    let cluster = Cluster::start().expect("a cluster");
    let db = connected(Config {
        dsn: Some(format!("{}?sslmode=disable&target_session_attrs=read-write", cluster.dsn())),
        pool_min_size: 0,
        pool_max_size: SESSIONS,
        ..Config::default()
    })
    .await;
    let schema = "CREATE TABLE runs (id bigint); \
        CREATE VIEW hidden AS SELECT set_config('default_transaction_read_only', 'on', false)";
    db.batch_execute(schema).await.expect("a schema");
    all_returned(&db).await;
    (cluster, db)
}

fn code_and_status(err: &Error) -> (&str, u16) {
    (sqlstate(err), err.status_code().as_u16())
}

/// By the text and the binary format, alone and in a transaction.
async fn copied(conn: &Connection, way: usize) -> Result<(), Error> {
    match way {
        0 => copy_in(conn, COPY, "1\n").await.map(drop),
        1 => {
            let copy = conn.copy_in("COPY runs FROM STDIN (FORMAT binary)").await?;
            let mut rows = copy.binary(&[Type::INT8]);
            rows.write(&[&1_i64]).await?;
            rows.finish().await.map(drop)
        }
        _ => {
            let tx = conn.transaction().await?;
            copy_in(conn, COPY, "1\n").await?;
            tx.commit().await
        }
    }
}

/// The others are lent while the first is refused. They are not lent again, and the request that waits for a place gets a session of
/// the other server.
#[tokio::test]
async fn a_server_that_became_read_only_is_asked_on_another_connection() {
    for way in 0..3 {
        let (cluster, db) = started().await;
        let conns: Vec<_> = (0..SESSIONS).map(|_| db.connection()).collect();
        join_all(conns.iter().map(|conn| conn.query("SELECT 1", &[]))).await;
        assert_eq!(db.status().open, SESSIONS);
        cluster.caught_up(0).expect("a standby that has all");
        cluster.promote(0).expect("a promotion");
        cluster
            .primary()
            .write("postgresql.auto.conf", "default_transaction_read_only = on\n")
            .expect("a file");
        cluster.primary().reload().expect("a reload");
        let (waiting, conn) = (db.connection(), &conns[0]);
        // Until the backend has read its file.
        let refused = async {
            loop {
                match copied(conn, way).await {
                    Ok(()) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(err) => return err,
                }
            }
        };
        let err = timeout(HANG, refused).await.expect("a refusal");
        conn.release().expect("a return");
        assert_eq!(code_and_status(&err), ("25006", 503), "{err:#}");
        timeout(HANG, copied(&waiting, way)).await.expect("an end").expect("a copy");
        drop((conns, waiting));
        all_returned(&db).await;
        for _ in 0..SESSIONS {
            copied(&db.connection(), way).await.expect("a copy");
        }
        all_returned(&db).await;
        let ended = db.status().counters.ended;
        assert_eq!((ended.read_only, ended.unusable), (u64::from(SESSIONS) - 1, 1), "{ended:?}");
        db.close().await;
    }
}

/// What the application has asked for stays its own error. What it has hidden is asked about. Neither costs another session.
#[tokio::test]
async fn a_copy_that_the_application_forbade_costs_its_session_alone() {
    let (_cluster, db) = started().await;
    let other = db.connection();
    other.query("SELECT 1", &[]).await.expect("an answer");
    for (way, status) in
        [("begun", 500), ("set", 500), ("configured", 500), ("after a copy", 500), ("hidden", 503)]
    {
        let before = db.status().counters.ended;
        let conn = db.connection();
        let tx = match way {
            "begun" => Some(conn.build_transaction().read_only(true).begin().await.expect("a transaction")),
            _ => None,
        };
        let set =
            async || conn.execute("SET default_transaction_read_only = on", &[]).await.expect("a setting");
        match way {
            "set" => drop(set().await),
            "configured" => conn.set_config("Default_Transaction_Read_Only", "on").expect("a setting"),
            "after a copy" => {
                copy_in(&conn, COPY, "1\n").await.expect("a copy");
                set().await;
            }
            "hidden" => drop(conn.query("SELECT * FROM hidden", &[]).await.expect("an answer")),
            _ => {}
        }
        let err = copy_in(&conn, COPY, "1\n").await.expect_err(way);
        assert_eq!(code_and_status(&err), ("25006", status), "{way}: {err:#}");
        drop((tx, conn));
        assert_eq!(copy_in(&db.connection(), COPY, "1\n").await.expect("a copy"), 1, "{way}");
        let after = db.status().counters.ended;
        assert_eq!((after.read_only, after.unusable - before.unusable), (0, 1), "{way}: {after:?}");
        if way == "configured" {
            let conn = db.connection();
            conn.set_config("default_transaction_read_only", "on").expect("a setting");
            let err = conn.execute("INSERT INTO runs VALUES (1)", &[]).await.expect_err(way);
            assert_eq!(code_and_status(&err), ("25006", 500), "{way}: {err:#}");
        }
    }
    assert_eq!(other.execute("INSERT INTO runs VALUES (1)", &[]).await.expect("a write"), 1);
}
