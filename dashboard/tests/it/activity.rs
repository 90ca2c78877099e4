//! What the server says of our sessions.

use std::time::{Duration, Instant};

use actix_pg::{Config, Database};
use futures_util::future::join_all;
use serde_json::Value;

use crate::support::TestApp;

#[actix_web::test]
async fn the_server_is_asked_for_our_sessions_alone() {
    let app = TestApp::start(|config| Config { application_name: Some("the shop".into()), ..config }).await;
    let database: String =
        app.db.connection().query_one_scalar("SELECT current_database()::text", &[]).await.unwrap();
    let port = app.db.connection().query_one_scalar::<i32>("SELECT inet_server_port()", &[]).await.unwrap();
    let dsn = format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let other = Config { dsn: Some(dsn), application_name: Some("another".into()), ..Config::default() };
    let other = Database::connect(other).await.unwrap();
    let others: i32 = other.connection().query_one_scalar("SELECT pg_backend_pid()", &[]).await.unwrap();

    let conn = app.db.connection();
    let tx = conn.transaction().await.unwrap();
    let ours: i32 = tx.query_one_scalar("SELECT pg_backend_pid() WHERE 'a secret' <> ''", &[]).await.unwrap();
    let asked = async || {
        let (status, headers, body) = app.get("/dashboard/activity").await;
        let cache_control = headers.get("cache-control").unwrap().to_str().unwrap();
        assert_eq!((status.as_u16(), cache_control), (200, "no-store"));
        let backends: Vec<Value> = serde_json::from_str(&body).unwrap();
        (body, backends)
    };
    // A backend says that it waits only a moment after it has answered.
    let waits = |backends: &[Value]| {
        let held = backends.iter().find(|backend| backend["pid"] == ours);
        held.expect("the session that is held")["wait_event"] == "ClientRead"
    };
    let (mut body, mut backends) = asked().await;
    let since = Instant::now();
    while !waits(&backends) && since.elapsed() < Duration::from_secs(10) {
        (body, backends) = asked().await;
    }
    assert!(!body.contains("secret"), "{body}");
    let held = backends.iter().find(|backend| backend["pid"] == ours).expect("the session that is held");
    assert_eq!((&held["state"], &held["wait_event"]), (&"idle in transaction".into(), &"ClientRead".into()));
    assert_eq!(held["query"], "SELECT pg_backend_pid() WHERE ? <> ?");
    assert!(held["transaction_age"].as_f64() >= Some(0.0), "{held}");
    assert_eq!(backends.iter().filter(|backend| backend["asked"] == true).count(), 1);
    assert!(backends.iter().all(|backend| backend["pid"] != others), "{body}");
    tx.rollback().await.unwrap();
    other.close().await;
    drop(conn);
    app.stop().await;
}

#[actix_web::test]
async fn a_full_pool_is_a_503_and_the_next_question_is_asked_anew() {
    let app = TestApp::start(|config| Config {
        pool_min_size: 1,
        pool_max_size: 1,
        acquire_timeout: Duration::from_millis(100),
        ..config
    })
    .await;
    let conn = app.db.connection();
    let tx = conn.transaction().await.unwrap();
    let (status, headers, body) = app.get("/dashboard/activity").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, ""));
    assert!(headers.contains_key("content-security-policy"));
    tx.rollback().await.unwrap();
    drop(conn);
    assert_eq!(app.get("/dashboard/activity").await.0, 200);
    app.stop().await;
}

/// Those who ask while the server is asked get that answer, a failure too. Each for himself, they would wait one after the other.
#[actix_web::test]
async fn many_who_ask_a_full_pool_wait_together() {
    let app = TestApp::start(|config| Config {
        pool_min_size: 1,
        pool_max_size: 1,
        acquire_timeout: Duration::from_secs(1),
        ..config
    })
    .await;
    let conn = app.db.connection();
    let tx = conn.transaction().await.unwrap();
    let since = Instant::now();
    let answers = join_all((0..20).map(|_| app.get("/dashboard/activity"))).await;
    assert!(answers.iter().all(|(status, ..)| *status == 503), "{answers:?}");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    tx.rollback().await.unwrap();
    drop(conn);
    app.stop().await;
}
