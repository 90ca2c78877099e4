//! What a response says of the time that the database took.

use std::time::Duration;

use actix_pg::{Config, Connection, Error};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, web};
use test_support::{connected, database, sized};
use tokio::time::timeout;

/// Gives up its wait for a session before the pool does.
async fn impatient(conn: Connection) -> HttpResponse {
    let wait = Duration::from_millis(100);
    timeout(wait, async { tokio::join!(conn.query("SELECT 1", &[]), conn.query("SELECT 2", &[])) })
        .await
        .expect_err("a full pool");
    HttpResponse::Ok().finish()
}

/// Waits for as long as the pool does, with two statements.
async fn patient(conn: Connection) -> HttpResponse {
    let (one, two) = tokio::join!(conn.query("SELECT 1", &[]), conn.query("SELECT 2", &[]));
    assert!(matches!((one, two), (Err(Error::Acquire(_)), Err(Error::Acquire(_)))));
    HttpResponse::Ok().finish()
}

/// A wait in vain counts, once for all statements that take part in it.
#[actix_web::test]
async fn a_wait_that_was_given_up_is_told() {
    let database = database().await;
    let config = Config { acquire_timeout: Duration::from_millis(200), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let held = db.connection();
    held.query("SELECT 1", &[]).await.expect("the only session");
    let app = App::new()
        .wrap(db.middleware().server_timing(true))
        .route("/impatient", web::get().to(impatient))
        .route("/patient", web::get().to(patient));
    let app = init_service(app).await;
    for (path, waited) in [("/impatient", 100.0), ("/patient", 200.0)] {
        let res = call_service(&app, TestRequest::with_uri(path).to_request()).await;
        let timing = res.headers().get("server-timing").expect("a header").to_str().expect("text");
        let told = timing.split_once("pool;dur=").and_then(|(_, told)| told.parse::<f64>().ok());
        let told = told.expect("a time");
        assert!(told >= waited - 1.0 && told < 1.9 * waited, "{path}: {timing}");
    }
}
