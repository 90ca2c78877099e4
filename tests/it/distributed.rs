//! Servers that speak PostgreSQL's protocol and know less of it: a scripted server stands in for them.

use std::sync::atomic::{AtomicU32, Ordering};

use actix_pg::{Config, Database, Error, Reset, Result};
use test_support::{FakeServer, Fault, Phase, all_returned, backend, connect, connected, eventually};

fn resets(server: &FakeServer) -> Vec<String> {
    server.simple_queries().into_iter().filter(|sql| sql.contains("RESET ALL")).collect()
}

async fn dirty(db: &Database) {
    let conn = db.connection();
    conn.batch_execute("SET work_mem = '8MB'").await.expect("a setting");
    drop(conn);
    all_returned(db).await;
}

/// A session that went through a reset is lent again, whatever the server lacks.
#[actix_web::test]
async fn a_reset_leaves_out_what_the_server_lacks() {
    for (name, value) in
        [("crdb_version", "CockroachDB CCL v24.1.0"), ("server_version", "11.2-YB-2.18.0.0-b0")]
    {
        let server = FakeServer::start().await;
        server.reports(name, value);
        server.lacks("CLOSE ALL", "42601");
        server.lacks("UNLISTEN", "42601");
        server.lacks("pg_advisory_unlock_all", "42883");
        server.lacks("DISCARD SEQUENCES", "0A000");
        server.lacks("pg_prepared_statements", "42P01");
        let db = connected(server.config(1)).await;
        for _ in 0..3 {
            dirty(&db).await;
        }
        assert_eq!(
            (server.passed(Phase::Connect), db.status().counters.ended.reset_failed),
            (1, 0),
            "{name}"
        );
        let resets = resets(&server);
        assert_eq!(resets.len(), 3, "{resets:?}");
        for sql in &resets {
            let kept = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DISCARD TEMP";
            assert!(sql.starts_with(&format!(";{kept}")), "{sql}");
        }
        db.close().await;
    }
}

/// The next sessions of the pool are not asked again.
#[actix_web::test]
async fn it_is_found_out_once() {
    let server = FakeServer::start().await;
    server.reports("crdb_version", "CockroachDB CCL v24.1.0");
    let db = connected(Config { pool_min_size: 3, ..server.config(3) }).await;
    assert_eq!(server.passed(Phase::Connect), 3);
    for part in ["CLOSE ALL", "UNLISTEN *", "DISCARD TEMP"] {
        let asked = server.simple_queries().iter().filter(|sql| *sql == part).count();
        assert_eq!(asked, 1, "{part}: {:?}", server.simple_queries());
    }
    db.close().await;
}

/// PostgreSQL costs no round trip for this, and gets a whole reset.
#[actix_web::test]
async fn postgresql_is_asked_nothing() {
    let server = FakeServer::start().await;
    server.reports("server_version", "15.8 (Debian 15.8-0+deb12u1)");
    let db = connected(server.config(1)).await;
    assert_eq!((server.simple_queries().len(), server.syncs()), (0, 0));
    dirty(&db).await;
    let [reset] = &*resets(&server) else { panic!("one reset: {:?}", resets(&server)) };
    assert!(reset.contains("UNLISTEN *") && reset.contains("DISCARD SEQUENCES"), "{reset}");
    db.close().await;
}

/// P17: a server that cannot reset settings lends no session twice on which some were made.
#[actix_web::test]
async fn without_a_reset_of_settings_a_session_is_not_lent_again() {
    let server = FakeServer::start().await;
    server.reports("crdb_version", "CockroachDB CCL v24.1.0");
    server.lacks("RESET ALL", "42601");
    let db = connected(server.config(1)).await;
    dirty(&db).await;
    eventually("it has ended", async || db.status().counters.ended.reset_failed == 1).await;
    dirty(&db).await;
    assert_eq!(server.passed(Phase::Connect), 2);
    db.close().await;
}

/// The parts are those that PostgreSQL knows.
#[actix_web::test]
async fn the_real_server_knows_all_of_it() {
    let (database, db) = connect(1).await;
    let always =
        connected(Config { reset: Reset::Always, pool_max_size: 1, pool_min_size: 0, ..database.config() })
            .await;
    let pid = backend(&always.connection()).await;
    for _ in 0..3 {
        assert_eq!(backend(&always.connection()).await, pid);
    }
    assert_eq!(always.status().counters.ended.reset_failed, 0);
    db.close().await;
    always.close().await;
}

/// What the engines say of a transaction that lost against another one, at a statement and at the commit.
#[actix_web::test]
async fn a_transaction_that_lost_is_run_again() {
    let server = FakeServer::start().await;
    server.reports("crdb_version", "CockroachDB CCL v24.1.0");
    server.lacks("pg_extension", "42P01");
    let db = connected(server.config(1)).await;
    for (phase, part, fault, runs) in [
        (Phase::Statement, "INSERT", Fault::Error("40001"), 2),
        (Phase::Statement, "INSERT", Fault::Error("40P01"), 2),
        (Phase::Simple, "COMMIT", Fault::Error("40001"), 2),
        (Phase::Simple, "COMMIT", Fault::Error("40P01"), 2),
        (Phase::Statement, "INSERT", Fault::Error("23505"), 1),
        // Nobody knows whether it was committed.
        (Phase::Simple, "COMMIT", Fault::Error("40003"), 1),
        (Phase::Simple, "COMMIT", Fault::Error("08006"), 1),
        (Phase::Simple, "COMMIT", Fault::Fatal("40001"), 1),
        // Citus says so of a worker that is lost, also where that has committed.
        (Phase::Simple, "COMMIT", Fault::Error("XX000"), 1),
    ] {
        server.script(phase, part, fault);
        let ran = AtomicU32::new(0);
        let done: Result<()> = db
            .transact(async |tx| {
                ran.fetch_add(1, Ordering::Relaxed);
                tx.execute("INSERT INTO a VALUES ($1)", &[&1_i64]).await?;
                Ok(())
            })
            .await;
        assert_eq!(ran.into_inner(), runs, "{fault:?} at {part}: {done:?}");
        assert_eq!(done.is_ok(), runs == 2, "{fault:?} at {part}: {done:?}");
        if part == "COMMIT" && runs == 1 {
            assert!(matches!(done, Err(Error::OutcomeUnknown(_))), "{done:?}");
        }
    }
    db.close().await;
}

/// A coordinator of Citus refuses what a worker has committed: it says of itself that it is one, and nothing is run again.
#[actix_web::test]
async fn what_a_worker_may_have_committed_is_not_run_again() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    const INSERT: &str = "INSERT INTO a VALUES ($1)";
    for (code, asked) in [("40001", 1), ("40P01", 1), ("23505", 0)] {
        let questions = || server.simple_queries().iter().filter(|sql| sql.contains("pg_extension")).count();
        let before = questions();
        server.script(Phase::Simple, "COMMIT", Fault::Error(code));
        let ran = AtomicU32::new(0);
        let done: Result<u64> = db
            .transact(async |tx| {
                ran.fetch_add(1, Ordering::Relaxed);
                tx.execute(INSERT, &[&1_i64]).await
            })
            .await;
        assert_eq!((ran.into_inner(), questions() - before), (1, asked), "{code}: {done:?}");
        assert_eq!(matches!(done, Err(Error::OutcomeUnknown(_))), asked == 1, "{code}: {done:?}");
        server.script(Phase::Simple, "COMMIT", Fault::Error(code));
        let done = db.execute_many(INSERT, [[1_i64]]).await;
        assert_eq!(matches!(done, Err(Error::OutcomeUnknown(_))), asked == 1, "batch, {code}: {done:?}");
    }
    db.close().await;
}
