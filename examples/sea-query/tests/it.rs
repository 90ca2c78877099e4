//! The example, run.

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database, assert_statements};
use actix_web::App;
use actix_web::test::{TestRequest, call_and_read_body, call_and_read_body_json, call_service, init_service};
use serde_json::{Value, json};

#[path = "../src/main.rs"]
mod example;

async fn sandbox() -> Database {
    let postgres = Postgres::shared().expect("a server");
    let database = postgres.database_with(example::SCHEMA).await.expect("a database");
    let config = Config { pool_min_size: 0, pool_max_size: 1, ..database.config() };
    Database::connect(config).await.expect("a connected database").sandbox().await.expect("a sandbox")
}

#[actix_web::test]
async fn each_search_finds_its_books() {
    let db = sandbox().await;
    let app = init_service(App::new().wrap(db.middleware()).configure(example::routes)).await;
    for (search, expected) in [
        ("/books", json!(["Notes", "Letters", "COBOL"])),
        ("/books?sort=title", json!(["COBOL", "Letters", "Notes"])),
        ("/books?author=ada", json!(["Notes", "Letters"])),
        ("/books?author=ada&before=1850", json!(["Notes"])),
        ("/books?author=o'brien", json!([])),
    ] {
        let found: Vec<Value> =
            call_and_read_body_json(&app, TestRequest::get().uri(search).to_request()).await;
        let titles: Vec<&Value> = found.iter().map(|book| &book["title"]).collect();
        assert_eq!(json!(titles), expected, "{search}");
    }
    let unknown = TestRequest::get().uri("/books?sort=author;drop").to_request();
    assert_eq!(call_service(&app, unknown).await.status(), 400);
}

/// Two searches of one shape are one text, which is prepared once.
#[actix_web::test]
async fn values_are_parameters() {
    let db = sandbox().await;
    let app = init_service(App::new().wrap(db.middleware()).configure(example::routes)).await;
    for author in ["ada", "grace"] {
        let req = TestRequest::get().uri(&format!("/books?author={author}")).to_request();
        assert_statements!(1, db, call_and_read_body(&app, req).await);
    }
    let statements = db.statements();
    assert_eq!(statements[0], statements[1]);
    assert!(statements[0].contains(r#"WHERE "author" = $1"#), "{statements:?}");
}

#[actix_web::test]
async fn a_book_is_added_as_it_was_written() {
    let db = sandbox().await;
    let app = init_service(App::new().wrap(db.middleware()).configure(example::routes)).await;
    let book = json!({ "title": "'); DROP TABLE books; --", "author": "o'brien", "year": 2026 });
    let req = TestRequest::post().uri("/books").set_json(&book).to_request();
    let added: Value = call_and_read_body_json(&app, req).await;
    let found: Value =
        call_and_read_body_json(&app, TestRequest::get().uri("/books?author=o'brien").to_request()).await;
    assert_eq!(found, json!([added]));
    assert_eq!(added["title"], book["title"]);
}
