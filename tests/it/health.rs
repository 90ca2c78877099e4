//! The handlers for probes.

use std::time::{Duration, Instant};

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database, health};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, rt, web};
use test_support::{Proxy, connected, database, eventually, sized};

#[actix_web::test]
async fn readiness_follows_the_database_and_liveness_does_not() {
    let postgres = Postgres::start().expect("a server of its own");
    let database = postgres.database().await.expect("a database");
    let config = Config { pool_min_size: 1, pool_max_size: 2, ..database.config() };
    let db = Database::connect(config).await.expect("a connected database");
    let app = App::new()
        .wrap(db.middleware())
        .route("/live", web::get().to(health::live))
        .route("/ready", web::get().to(health::ready));
    let app = init_service(app).await;
    let status =
        async |path: &str| call_service(&app, TestRequest::with_uri(path).to_request()).await.status();
    assert_eq!((status("/live").await.as_u16(), status("/ready").await.as_u16()), (200, 200));

    postgres.stop().expect("a stop");
    let since = Instant::now();
    while status("/ready").await != 503 {
        assert!(since.elapsed() < Duration::from_secs(10), "not ready at last");
    }
    assert_eq!(status("/live").await, 200);
    postgres.start_again().expect("a restart");
    let since = Instant::now();
    while status("/ready").await != 200 {
        assert!(since.elapsed() < Duration::from_secs(10), "ready again at last");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // A full pool whose sessions do not move answers in time, and is not ready; it does not touch the liveness.
    let (one, two) = (db.connection(), db.connection());
    one.execute("SELECT 1", &[]).await.expect("a session");
    two.execute("SELECT 1", &[]).await.expect("another");
    let since = Instant::now();
    assert_eq!((status("/live").await.as_u16(), status("/ready").await.as_u16()), (200, 503));
    assert!(since.elapsed() < health::READY_TIMEOUT * 2, "{:?}", since.elapsed());
    drop((one, two));
    assert_eq!(status("/ready").await, 200);

    db.close().await;
    assert_eq!((status("/live").await.as_u16(), status("/ready").await.as_u16()), (200, 503));
}

/// A full queue and an impatient one say that the pool is busy: its sessions go from hand to hand.
#[actix_web::test]
async fn a_busy_pool_is_ready_however_long_its_queue_may_be() {
    let database = database().await;
    let small = sized(database.config(), 2);
    for config in [
        Config { max_waiting: Some(4), ..small.clone() },
        Config { acquire_timeout: Duration::from_millis(20), ..small },
    ] {
        let db = connected(config).await;
        let load = (0..20).map(|_| {
            let db = db.clone();
            rt::spawn(async move {
                loop {
                    let _ = db.connection().query("SELECT pg_sleep(0.1)", &[]).await;
                    rt::task::yield_now().await;
                }
            })
        });
        let load: Vec<_> = load.collect();
        eventually("it is busy", async || db.status().counters.borrows > 4).await;
        let app = App::new().wrap(db.middleware()).route("/ready", web::get().to(health::ready));
        let app = init_service(app).await;
        for _ in 0..3 {
            assert_eq!(call_service(&app, TestRequest::with_uri("/ready").to_request()).await.status(), 200);
        }
        load.iter().for_each(|task| task.abort());
        db.close().await;
    }
}

/// A session that is lent and does not answer is no sign of life, however many are lent.
#[actix_web::test]
async fn a_silent_server_is_not_ready() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 4)).await;
    let app = App::new().wrap(db.middleware()).route("/ready", web::get().to(health::ready));
    let app = init_service(app).await;
    let ready = async || call_service(&app, TestRequest::with_uri("/ready").to_request()).await.status();
    assert_eq!(ready().await, 200);
    proxy.stall();
    for probe in 0..3 {
        let since = Instant::now();
        assert_eq!(ready().await, 503, "probe {probe}");
        assert!(since.elapsed() < health::READY_TIMEOUT * 2, "{:?}", since.elapsed());
    }
    proxy.heal();
}
