//! What servers and networks do, under load.

use std::sync::Arc;
use std::time::Duration;

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::tokio_postgres::{self, NoTls};
use actix_pg::{Config, Database};
use test_support::{Observer, Proxy, backend, connected, eventually};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::common::{at_rest, healed, lends_all, soon};
use crate::load::Load;

/// How soon after the fault the pool is back to full size.
const HEALED: Duration = Duration::from_secs(2);

const ACQUIRE: Duration = Duration::from_secs(3);
const COMMAND: Duration = Duration::from_secs(2);

/// A request borrows at most twice and has one statement that runs into its time-out; the rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(3 + 3 + 2 + 4);

fn config(dsn: &str) -> Config {
    Config {
        dsn: Some(dsn.to_owned()),
        pool_min_size: 2,
        pool_max_size: 8,
        acquire_timeout: ACQUIRE,
        command_timeout: Some(COMMAND),
        connect_timeout: Duration::from_secs(1),
        reset_timeout: Duration::from_secs(1),
        ..Config::default()
    }
}

/// A server of our own, whose commits survive its crash.
async fn server(settings: &[(&str, &str)]) -> (Arc<Postgres>, TestDatabase) {
    let builder = Postgres::builder().setting("synchronous_commit", "on");
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.setting(*name, *value));
    let postgres = spawn_blocking(move || builder.start()).await.expect("no panic").expect("a server");
    let database = postgres.database().await.expect("a database");
    (Arc::new(postgres), database)
}

/// The fault, then what has to hold after it.
async fn survives(
    name: &str,
    db: &Database,
    database: &TestDatabase,
    statuses: &[u16],
    fault: impl AsyncFnOnce(&Load),
) {
    let load = Load::start(db).await;
    load.successes(200).await;
    fault(&load).await;
    let took = healed(db).await;
    eprintln!("{name}: back to full size after {took:.2?}");
    load.successes(200).await;
    load.stop(db, BOUND, statuses).await;
    assert!(took < HEALED, "{name}: not back to full size within {HEALED:?} but {took:?}");
    let observer = Observer::of(database).await;
    at_rest(db, &observer).await;
    lends_all(db).await.expect("a place was lost");
    at_rest(db, &observer).await;
}

#[actix_web::test]
async fn the_server_crashes_and_comes_back() {
    let (postgres, database) = server(&[]).await;
    let db = connected(config(database.dsn())).await;
    survives("crash", &db, &database, &[503, 504], async |load| {
        let it = Arc::clone(&postgres);
        spawn_blocking(move || it.crash()).await.expect("no panic").expect("a crash");
        load.failures(50).await;
        let it = Arc::clone(&postgres);
        spawn_blocking(move || it.start_again()).await.expect("no panic").expect("a start");
    })
    .await;
}

#[actix_web::test]
async fn the_server_is_restarted_in_an_orderly_way() {
    let (postgres, database) = server(&[]).await;
    let db = connected(config(database.dsn())).await;
    survives("restart", &db, &database, &[503, 504], async |load| {
        for _ in 0..2 {
            let it = Arc::clone(&postgres);
            spawn_blocking(move || it.stop()).await.expect("no panic").expect("a stop");
            load.failures(50).await;
            let it = Arc::clone(&postgres);
            spawn_blocking(move || it.start_again()).await.expect("no panic").expect("a start");
        }
    })
    .await;
}

#[actix_web::test]
async fn sessions_are_terminated_whatever_they_do() {
    let (_postgres, database) = server(&[]).await;
    let db = connected(config(database.dsn())).await;
    let observer = Observer::of(&database).await;
    survives("terminate", &db, &database, &[503], async |load| {
        let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name <> 'observer' AND backend_type = 'client backend'";
        for _ in 0..10 {
            let ended: i64 = observer.connection().query_one_scalar(all, &[]).await.expect("an end");
            assert!(ended > 0);
            load.successes(20).await;
        }
        // And those that idle, those that are held without a statement, and those in the middle of one.
        let held = db.connection();
        held.query("SELECT 1", &[]).await.ok();
        let ended: i64 = observer.connection().query_one_scalar(all, &[]).await.expect("an end");
        assert!(ended > 0);
    })
    .await;
}

#[actix_web::test]
async fn connections_are_cut() {
    let (postgres, database) = server(&[]).await;
    let proxy = Proxy::before(postgres.port()).await;
    let db = connected(config(&proxy.dsn(database.dsn()))).await;
    survives("cut", &db, &database, &[503, 504], async |load| {
        for _ in 0..20 {
            proxy.cut();
            load.successes(20).await;
        }
        proxy.refuse();
        proxy.cut();
        load.failures(50).await;
        proxy.heal();
    })
    .await;
}

#[actix_web::test]
async fn the_network_is_a_black_hole_for_five_seconds() {
    let (postgres, database) = server(&[]).await;
    let proxy = Proxy::before(postgres.port()).await;
    let db = connected(config(&proxy.dsn(database.dsn()))).await;
    survives("black hole", &db, &database, &[503, 504], async |load| {
        proxy.stall();
        let end = Instant::now() + Duration::from_secs(5);
        load.failures(CLIENTS_THAT_FAIL).await;
        tokio::time::sleep_until(end).await;
        proxy.heal();
    })
    .await;
}

/// Of the 32; each meets the black hole.
const CLIENTS_THAT_FAIL: usize = 16;

#[actix_web::test]
async fn the_server_is_out_of_connections() {
    let (_postgres, database) = server(&[
        ("max_connections", "8"),
        ("superuser_reserved_connections", "0"),
        ("max_wal_senders", "0"),
    ])
    .await;
    let observer = Observer::of(&database).await;
    let db = connected(Config { pool_max_size: 4, ..config(database.dsn()) }).await;
    lends_all(&db).await.expect("four of eight");
    survives("out of connections", &db, &database, &[503], async |load| {
        // Somebody else takes what there is while ours are ended, until none of ours is left.
        let ours = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name NOT IN ('observer', 'others') AND backend_type = 'client backend'";
        let end_ours = async || observer.connection().query_one_scalar::<i64>(ours, &[]).await.expect("an end");
        let theirs = format!("{}?application_name=others", database.dsn());
        let mut held = Vec::new();
        // All but the observer's and the one that the testing server keeps.
        soon("they have all that there are", async {
            while held.len() < 6 {
                end_ours().await;
                while let Ok((client, connection)) = tokio_postgres::connect(&theirs, NoTls).await {
                    tokio::spawn(connection);
                    held.push(client);
                }
            }
        })
        .await;
        load.failures(10).await;
        let err = db.connection().query("SELECT 1", &[]).await.expect_err("no session");
        assert_eq!(err.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{err:?}");
        drop(held);
    })
    .await;
}

#[actix_web::test]
async fn transactions_that_idle_are_ended_by_the_server() {
    let (_postgres, database) = server(&[("idle_in_transaction_session_timeout", "20ms")]).await;
    let db = connected(config(database.dsn())).await;
    survives("idle in transaction", &db, &database, &[503], async |_load| {
        for _ in 0..4 {
            let conn = db.connection();
            let pid = soon("a session", backend(&conn)).await;
            soon("a transaction", conn.batch_execute("BEGIN")).await.expect("a transaction");
            let observer = Observer::of(&database).await;
            let gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
            eventually("it was ended", || async {
                observer.connection().query_one_scalar::<i64>(gone, &[&pid]).await.expect("a count") == 0
            })
            .await;
            let err = soon("a statement", conn.execute("SELECT 1", &[]))
                .await
                .expect_err("the transaction is gone");
            assert_eq!(actix_web::ResponseError::status_code(&err), 503, "{err:?}");
            let err =
                soon("a COMMIT", conn.batch_execute("COMMIT")).await.expect_err("the transaction is gone");
            assert_eq!(actix_web::ResponseError::status_code(&err), 503, "{err:?}");
        }
    })
    .await;
}

#[actix_web::test]
async fn statements_are_ended_by_the_server() {
    let (_postgres, database) = server(&[]).await;
    let timed = Config { statement_timeout: Some(Duration::from_millis(300)), ..config(database.dsn()) };
    let db = connected(timed).await;
    // A lock that nobody gets: the writers run into the time-out, the others do not.
    let observer = Observer::of(&database).await;
    survives("statement_timeout", &db, &database, &[500, 503], async |load| {
        let locking = observer.connection();
        locking.batch_execute("BEGIN; LOCK TABLE written IN EXCLUSIVE MODE").await.expect("a lock");
        load.failures(30).await;
        locking.batch_execute("ROLLBACK").await.expect("no lock");
    })
    .await;
}

/// New connections are taken and never answered, as in a handshake that stalls, while those that are open are cut.
#[actix_web::test]
async fn a_handshake_stalls() {
    let (postgres, database) = server(&[]).await;
    let proxy = Proxy::before(postgres.port()).await;
    let db = connected(config(&proxy.dsn(database.dsn()))).await;
    survives("stalled handshake", &db, &database, &[503, 504], async |load| {
        proxy.stall();
        proxy.cut();
        load.failures(50).await;
        sleep(Duration::from_millis(1_500)).await;
        proxy.heal();
    })
    .await;
}

#[actix_web::test]
async fn handlers_panic() {
    let (_postgres, database) = server(&[]).await;
    let db = connected(config(database.dsn())).await;
    let load = Load::with(&db, &["write", "explode", "echo", "explode", "transfer", "dirty"]).await;
    load.failures(100).await;
    load.successes(200).await;
    let outcomes = load.stop(&db, BOUND, &[0]).await;
    assert!(outcomes.iter().all(|outcome| outcome.is_success() == (outcome.kind != "explode")));
    let observer = Observer::of(&database).await;
    at_rest(&db, &observer).await;
    lends_all(&db).await.expect("a place was lost");
}
