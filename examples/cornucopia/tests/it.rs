//! The example, run.

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database};
use actix_web::App;
use actix_web::test::{TestRequest, call_and_read_body_json, init_service};
use serde_json::{Value, json};

#[path = "../src/main.rs"]
mod example;

/// How many times the only session has prepared it.
const PREPARED: &str = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM books WHERE author = $1%' \
    AND statement NOT LIKE '%pg_prepared_statements%'";

#[actix_web::test]
async fn generated_code_runs_on_the_requests_session_and_is_prepared_once() {
    let postgres = Postgres::shared().expect("a server");
    let database = postgres.database_with(example::SCHEMA).await.expect("a database");
    let config = Config { pool_min_size: 0, pool_max_size: 1, ..database.config() };
    let db = Database::connect(config).await.expect("a connected database");
    let app = init_service(App::new().wrap(db.middleware()).configure(example::routes)).await;

    for _ in 0..3 {
        let req = TestRequest::get().uri("/authors/ada/books").to_request();
        let books: Vec<Value> = call_and_read_body_json(&app, req).await;
        let titles: Vec<&Value> = books.iter().map(|book| &book["title"]).collect();
        assert_eq!(json!(titles), json!(["Notes", "Letters"]));
    }
    assert_eq!(db.query_one_scalar::<i64>(PREPARED, &[]).await.expect("a count"), 1);

    let book = json!({ "title": "'); DROP TABLE books; --", "year": 2026 });
    let req = TestRequest::post().uri("/authors/o'brien/books").set_json(&book).to_request();
    let added: Value = call_and_read_body_json(&app, req).await;
    let req = TestRequest::get().uri("/authors/o'brien/books").to_request();
    let found: Value = call_and_read_body_json(&app, req).await;
    assert_eq!(found, json!([added]));
    assert_eq!(added["title"], book["title"]);
    db.close().await;
}
