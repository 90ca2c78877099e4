//! Cancel requests by way of a pooler, which is less patient with them than the server itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_pg::{Config, Database, Error, Pooler, Result};
use futures_util::future::{try_join, try_join_all};
use rand::RngExt;
use test_support::{connected, database, sized};
use tokio::time::timeout;

use crate::bouncer::{Bouncer, Clients};
use crate::common::{lends_all, rng, seed, soon, times};

/// PgBouncer 1.18 crashes where a client closes its side before a cancel request has been carried out.
async fn survives_cancels(clients: Clients, ssl_mode: &str) {
    let database = database().await;
    let Some(mut bouncer) = Bouncer::before(&database, clients).await else { return };
    let seed = seed("survives_cancels");
    let config = Config { dsn: Some(bouncer.dsn(&database, ssl_mode)), ..Config::default() };
    let db = connected(sized(config, 8)).await;
    let wanted = times(600, 5_000);
    let (cancels, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let leaving = async {
        let left =
            try_join_all((0..6).map(|stream| abandon_until(&db, &cancels, wanted, seed, stream))).await;
        done.store(true, Ordering::Relaxed);
        left
    };
    let staying = try_join_all((0..2).map(|number| answers_until(&db, &done, number)));
    let answered = try_join(leaving, staying).await;
    bouncer.assert_alive();
    answered.expect("no failure");
    soon("all sessions", lends_all(&db)).await.expect("no session was lost");
    db.close().await;
    bouncer.assert_alive();
}

async fn abandon_until(
    db: &Database,
    cancels: &AtomicUsize,
    wanted: usize,
    seed: u64,
    stream: u64,
) -> Result<()> {
    let mut rng = rng(seed, stream);
    while cancels.fetch_add(1, Ordering::Relaxed) < wanted {
        let conn = db.connection();
        let pause = Duration::from_micros(rng.random_range(500..4_000));
        // The first statement borrows, so that what is abandoned is a statement and not a wait.
        conn.query_one("SELECT 1", &[]).await?;
        if let Ok(ended) = timeout(pause, conn.execute("SELECT pg_sleep(60)", &[])).await {
            ended?;
            panic!("a minute has not passed");
        }
    }
    Ok(())
}

async fn answers_until(db: &Database, done: &AtomicBool, mut number: i32) -> Result<()> {
    while !done.load(Ordering::Relaxed) {
        let sql = "SELECT $1::int4 FROM pg_sleep(0.002)";
        let answer: i32 = db.connection().query_one_scalar(sql, &[&number]).await?;
        assert_eq!(answer, number);
        number = number.wrapping_add(2);
    }
    Ok(())
}

#[tokio::test]
async fn pgbouncer_survives_our_cancels() {
    survives_cancels(Clients::Plain, "disable").await;
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn pgbouncer_survives_our_encrypted_cancels() {
    survives_cancels(Clients::Encrypted, "require").await;
}

/// What is set by a start-up parameter would not be set behind it. It says so, at once, and what to do.
#[tokio::test]
async fn a_pooler_that_refuses_start_up_parameters_is_named() {
    let database = database().await;
    let Some(bouncer) = Bouncer::start(database.dsn(), Clients::Plain, "pool_mode = session").await else {
        return;
    };
    let config = |pooler| Config {
        statement_timeout: Some(Duration::from_secs(7)),
        ..bouncer.config(&database, pooler, 1)
    };
    let Err(Error::Connect(err)) = Database::connect(config(Pooler::None)).await else {
        panic!("the parameter is refused");
    };
    assert!(err.is_final());
    let text = format!("{err:#}");
    assert!(text.contains("set `pooler` to its mode: FATAL: unsupported startup parameter"), "{text}");
    let db = connected(config(Pooler::Session)).await;
    let set: String = db.query_one_scalar("SHOW statement_timeout", &[]).await.expect("a setting");
    assert_eq!(set, "7s");
}

/// A pooler that is told to ignore them says nothing. A setting that the application asks for is in force, or the start fails.
#[tokio::test]
async fn a_pooler_that_drops_start_up_parameters_is_found_out() {
    let database = database().await;
    let Some(bouncer) = Bouncer::before(&database, Clients::Plain).await else { return };
    let settings = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let given = [
        ("work_mem", "7MB"),
        ("Work_Mem", "4MB"),
        ("app.tenant", "7"),
        ("role", "pg_monitor"),
        ("search_path", "a\\b'c"),
    ];
    for (name, value) in given {
        let config = |pooler, dsn: String| Config {
            server_settings: settings(name, value),
            dsn: Some(dsn),
            ..bouncer.config(&database, pooler, 1)
        };
        let behind = |pooler| config(pooler, bouncer.dsn(&database, "disable"));
        let Err(Error::Connect(err)) = Database::connect(behind(Pooler::None)).await else {
            panic!("`{name}` is dropped");
        };
        assert!(err.is_final());
        let text = format!("{err:#}");
        assert!(text.contains(&format!("has not got the setting `{name}`")), "{text}");
        assert!(text.contains("(set `pooler` to its mode)"), "{text}");
        for config in [behind(Pooler::Session), config(Pooler::None, database.dsn().to_owned())] {
            let db = connected(config).await;
            let set: String =
                db.query_one_scalar("SELECT current_setting($1)", &[&name]).await.expect("a setting");
            assert_eq!(set, value, "{name}");
        }
    }
}
