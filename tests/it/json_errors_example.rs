//! The example `json_errors`, run.

use std::time::Duration;

use actix_pg::Config;
use actix_web::http::header::RETRY_AFTER;
use serde_json::json;
use test_support::{TestApp, borrow_all, connected, database, log, sized};

#[path = "../../examples/json_errors.rs"]
mod example;

/// Status, `Retry-After`, body, and one line of the log for each failure.
#[actix_web::test]
async fn every_failure_has_a_body_and_one_line() {
    let database = database().await;
    let config = Config { acquire_timeout: Duration::from_millis(50), ..sized(database.config(), 1) };
    let db = connected(config).await;
    db.connection().batch_execute(example::SCHEMA).await.expect("a schema");
    let app = TestApp::with_workers(1, &db, example::routes);

    assert_eq!(app.post("/users", &json!("ada")).await.status, 201);
    let taken = app.post("/users", &json!("ada")).await;
    assert_eq!((taken.status.as_u16(), taken.json()), (409, json!({ "error": "that name is taken" })));
    let missing = app.get("/users/grace").await;
    assert_eq!((missing.status.as_u16(), missing.json()), (404, json!({ "error": "there is nothing here" })));
    let failed = app.get("/typo").await;
    assert_eq!((failed.status.as_u16(), failed.json()), (500, json!({ "error": "something went wrong" })));
    assert!(!failed.headers.contains_key(RETRY_AFTER));
    let lines = log::lines_with(&["ERROR", "\"SELEC\""]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("actix_pg::request request failed") && lines[0].contains("sql=SELEC ?"),
        "{lines:#?}"
    );

    let all = borrow_all(&db).await;
    let full = app.get("/users/ada").await;
    assert_eq!((full.status.as_u16(), full.json()), (503, json!({ "error": "try again in a moment" })));
    assert_eq!(full.headers.get(RETRY_AFTER).expect("a pause"), "1");
    drop(all);
    app.stop().await;
}
