//! The example `migrations`, run: at the same time by several, and with a migration that fails.

use actix_pg::Database;
use futures_util::future::join_all;
use refinery::{Migration, Runner};
use test_support::{TestApp, assert_whole, database, elsewhere, pool, soon};

#[path = "../../examples/migrations.rs"]
mod example;

const APPLIED: &str = "SELECT count(*) FROM refinery_schema_history";

/// Each has a pool of its own, as processes have. One of them migrates, and the others find nothing to do.
#[actix_web::test]
async fn of_several_that_start_together_one_migrates() {
    let database = database().await;
    let dbs: Vec<Database> = join_all((0..6).map(|_| pool(&database, 1))).await;
    let runs = dbs.iter().map(|db| {
        let migrated = db.clone();
        elsewhere(db, async move |_| {
            example::migrate(&migrated, example::embedded::migrations::runner())
                .await
                .map_err(|err| err.to_string())
        })
    });
    let applied: Result<Vec<usize>, _> = soon("all of them", join_all(runs)).await.into_iter().collect();
    let mut applied = applied.expect("migrations that run");
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 0, 0, 2]);
    for db in &dbs {
        assert_whole(db).await;
    }
    let app = TestApp::with_workers(1, &dbs[0], example::routes);
    assert_eq!(app.get("/visits/ada").await.ok(), "1");
    assert_eq!(app.get("/visits/grace").await.status, 404);
    app.stop().await;
}

/// What is before it stays, nothing of it does, the error names the reason, and the lock is free.
#[actix_web::test]
async fn a_migration_that_fails_half_way_leaves_nothing() {
    let database = database().await;
    let db = pool(&database, 1).await;
    let migration = |name, sql| Migration::unapplied(name, sql).expect("a migration");
    let first = migration("V1__users", "CREATE TABLE users (name text)");
    let broken = migration("V2__visits", "CREATE TABLE visits (); INSERT INTO users VALUES (1 / 0)");
    let failed = example::migrate(&db, Runner::new(&[first.clone(), broken])).await.expect_err("by zero");
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&*failed);
    while let Some(err) = cause {
        causes.push(err.to_string());
        cause = err.source();
    }
    assert!(causes.iter().any(|cause| cause.contains("division by zero")), "{causes:?}");
    assert_whole(&db).await;
    assert_eq!(db.query_one_scalar::<i64>(APPLIED, &[]).await.expect("a count"), 1);
    let visits = db.query_one_scalar::<bool>("SELECT to_regclass('visits') IS NOT NULL", &[]).await;
    assert!(!visits.expect("a row"));

    let repaired = migration("V2__visits", "CREATE TABLE visits ()");
    let applied = soon("the lock", example::migrate(&db, Runner::new(&[first, repaired]))).await;
    assert_eq!(applied.expect("a migration"), 1);
    assert_whole(&db).await;
}
