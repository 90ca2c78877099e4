//! A large pool with many statements.

use std::time::{Duration, Instant};

use actix_pg::Config;
use actix_pg::testing::Postgres;
use futures_util::future::join_all;

use crate::support::TestApp;

#[actix_web::test]
async fn with_200_sessions_and_10_000_statements_an_event_is_small_and_in_time() {
    let postgres = Postgres::builder().setting("max_connections", "250").start().unwrap();
    let config = Config {
        pool_max_size: 200,
        acquire_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(60),
        ..postgres.config()
    };
    let app = TestApp::on(config).await;
    let mut viewer = app.look().await;
    viewer.sample().await;
    let filler = "x".repeat(2000);
    join_all((0..20).map(|worker| {
        let (db, filler) = (app.db.clone(), &filler);
        async move {
            let conn = db.connection();
            for number in 0..500 {
                let sql =
                    format!("SELECT 1 AS a{worker}_{number} /* {filler} */, 2 AS \"{}\"", &filler[..50]);
                conn.query(&sql, &[]).await.unwrap();
            }
        }
    }))
    .await;
    let held = join_all((0..200).map(|_| {
        let db = app.db.clone();
        async move { db.connection().transaction().await.unwrap() }
    }))
    .await;

    drop(viewer);
    let mut viewer = app.look().await;
    viewer.sample_where(|data| data["sessions"].as_array().unwrap().len() == 200).await;
    let since = Instant::now();
    let (mut bytes, mut seen) = (0, Vec::new());
    for _ in 0..5 {
        let event = viewer.sample().await;
        bytes = bytes.max(event.bytes);
        seen.push(event.id);
        assert_eq!(event.data["statements"].as_array().unwrap().len(), 100);
        assert!(event.data["statement_count"].as_u64().unwrap() >= 5_000 - 1);
    }
    println!("{bytes} bytes an event");
    assert!(bytes < 200_000, "{bytes}");
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    drop(held);
    app.stop().await;
}
