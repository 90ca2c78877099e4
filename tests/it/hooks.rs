//! The application's own steps in the life of a session.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database, Error, Reset};
use test_support::{all_returned, eventually};

const ROLE: &str =
    "DO $$ BEGIN CREATE ROLE hooked; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

fn small(config: Config) -> Config {
    Config { pool_min_size: 0, pool_max_size: 2, reset_timeout: Duration::from_millis(500), ..config }
}

/// What a reset undoes is done again before anybody has the session.
#[actix_web::test]
async fn a_session_is_set_up_again_after_every_reset() {
    let database = Postgres::shared().expect("a server").database_with(ROLE).await.expect("a database");
    let config = Config { reset: Reset::Always, ..small(database.config()) };
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let db = Database::builder(config)
        .after_connect(move |client| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { client.batch_execute("SET ROLE hooked").await })
        })
        .connect()
        .await
        .expect("a connected database");
    for borrow in 0..1_000 {
        let conn = db.connection();
        if borrow % 3 == 0 {
            conn.set_config("role", "none").expect("a setting");
            conn.execute("SELECT 1", &[]).await.expect("a row");
        } else {
            let role: String = conn.query_one_scalar("SELECT current_user::text", &[]).await.expect("a role");
            assert_eq!(role, "hooked", "borrow {borrow}");
        }
    }
    all_returned(&db).await;
    let counters = db.status().counters;
    assert!(counters.resets >= 999);
    assert_eq!(runs.load(Ordering::Relaxed), counters.opened + counters.resets, "once each");
    db.close().await;
}

/// A session that cannot be set up is lent to nobody.
#[actix_web::test]
async fn a_hook_that_fails_panics_or_hangs_costs_the_session() {
    let database = Postgres::shared().expect("a server").database().await.expect("a database");
    let failing = Database::builder(Config { retry_limit: 1, ..small(database.config()) })
        .after_connect(|client| Box::pin(async move { client.batch_execute("SELECT nonsense").await }))
        .connect()
        .await;
    assert!(matches!(failing, Err(Error::Connect(_))), "{failing:?}");

    for hangs in [false, true] {
        let armed = Arc::new(AtomicBool::new(false));
        let hook = Arc::clone(&armed);
        let config = Config { reset: Reset::Always, ..small(database.config()) };
        let db = Database::builder(config)
            .after_connect(move |_| {
                let armed = hook.swap(false, Ordering::Relaxed);
                Box::pin(async move {
                    if armed && hangs {
                        pending::<()>().await;
                    }
                    assert!(!armed, "a hook that panics");
                    Ok(())
                })
            })
            .connect()
            .await
            .expect("a connected database");
        let conn = db.connection();
        let pid: i32 = conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("a session");
        armed.store(true, Ordering::Relaxed);
        conn.release().expect("nothing runs");
        let next: i32 =
            db.connection().query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("another");
        assert_ne!(pid, next, "hangs: {hangs}");
        while db.status().counters.ended.reset_failed != 1 {
            tokio::task::yield_now().await;
        }
        drop(conn);
        db.close().await;
    }
}

/// Plain functions may refuse a session before it is lent and when it comes back.
#[actix_web::test]
async fn a_session_that_is_refused_is_ended() {
    let database = Postgres::shared().expect("a server").database().await.expect("a database");
    let refusals = Arc::new(AtomicU32::new(0));
    let (before, after) = (Arc::clone(&refusals), Arc::new(AtomicBool::new(false)));
    let returns = Arc::clone(&after);
    let db = Database::builder(small(database.config()))
        .before_acquire(move |_| match before.fetch_add(1, Ordering::Relaxed) {
            0 => false,
            1 => panic!("a hook that panics"),
            _ => true,
        })
        .after_release(move |_| !returns.load(Ordering::Relaxed))
        .connect()
        .await
        .expect("a connected database");
    let conn = db.connection();
    let pid: i32 = conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("the third session");
    assert_eq!((refusals.load(Ordering::Relaxed), db.status().counters.ended.refused), (3, 2));
    conn.release().expect("nothing runs");
    let same: i32 = conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("the same");
    assert_eq!(pid, same);
    after.store(true, Ordering::Relaxed);
    conn.release().expect("nothing runs");
    let other: i32 = conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("another");
    assert_ne!(pid, other);
    drop(conn);
    db.close().await;
}

/// A hook that refuses every session makes the pool log in now and then, not all the time.
#[actix_web::test]
async fn a_hook_that_refuses_every_session_costs_a_few_logins() {
    let database = Postgres::shared().expect("a server").database().await.expect("a database");
    for floor in [0, 2] {
        let refuses = Arc::new(AtomicBool::new(true));
        let hook = Arc::clone(&refuses);
        let config = Config {
            pool_min_size: floor,
            pool_max_size: 4,
            acquire_timeout: Duration::from_millis(1_500),
            ..database.config()
        };
        let builder = Database::builder(config).before_acquire(move |_| !hook.load(Ordering::Relaxed));
        let db = builder.connect().await.expect("a connected database");
        let asked = futures_util::future::join_all((0..3).map(|_| db.query("SELECT 1", &[]))).await;
        assert!(asked.iter().all(Result::is_err), "{asked:?}");
        // 100 ms, 200 ms, 400 ms, 800 ms later, each up to a fifth earlier, and not more than two at a time; and the floor.
        let opened = db.status().counters.opened;
        assert!(opened <= 10 + u64::from(floor), "{opened} logins with a floor of {floor}");
        refuses.store(false, Ordering::Relaxed);
        eventually("a session", async || db.query("SELECT 1", &[]).await.is_ok()).await;
        // And as many as there are places.
        let all = futures_util::future::join_all((0..4).map(|_| db.query("SELECT pg_sleep(0.1)", &[]))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        db.close().await;
    }
}

/// A turn of a sandbox that fails is undone, and what the hook set up is not.
#[actix_web::test]
async fn a_sandbox_stays_set_up() {
    let database = Postgres::shared().expect("a server").database_with(ROLE).await.expect("a database");
    let db = Database::builder(small(database.config()))
        .after_connect(|client| Box::pin(async move { client.batch_execute("SET ROLE hooked").await }))
        .connect()
        .await
        .expect("a connected database");
    let sandbox = db.sandbox().await.expect("a sandbox");
    let role = async || -> String {
        let conn = sandbox.connection();
        conn.query_one_scalar("SELECT current_user::text", &[]).await.expect("a role")
    };
    assert_eq!(role().await, "hooked");
    let marked = sandbox.connection();
    marked.set_config("app.tenant", "ada").expect("a setting");
    marked.execute("SELECT 1", &[]).await.expect("a row");
    drop(marked);
    // Cleans the session first, and is undone.
    sandbox.connection().execute("SELECT 1 FROM nowhere", &[]).await.expect_err("no such table");
    assert_eq!(role().await, "hooked");
    sandbox.close().await;
    db.close().await;
}
