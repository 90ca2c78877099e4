//! How an application tests itself: its own routes, one database for all tests, a sandbox for each.

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Connection, Database, OrNotFound};
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, HttpResponse, Responder, error, get, post, web};

/// The application, as `main` makes it for every worker: `App::new().wrap(db.middleware()).configure(routes)`.
fn routes(config: &mut web::ServiceConfig) {
    config.service((create, user));
}

#[post("/users")]
async fn create(name: String, conn: Connection) -> actix_web::Result<impl Responder> {
    match conn.execute("INSERT INTO users VALUES ($1)", &[&name]).await {
        Ok(_) => Ok(HttpResponse::Created()),
        Err(err) if err.code() == Some(&SqlState::UNIQUE_VIOLATION) => Err(error::ErrorConflict("taken")),
        Err(err) => Err(err.into()),
    }
}

#[get("/users/{name}")]
async fn user(name: web::Path<String>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let sql = "SELECT name FROM users WHERE name = $1";
    Ok(web::Json(conn.query_opt_scalar::<String>(sql, &[&*name]).await?.or_not_found()?))
}

/// The database of all tests: made by the first one, with the schema and with data for all.
async fn database() -> Database {
    static DATABASE: tokio::sync::OnceCell<TestDatabase> = tokio::sync::OnceCell::const_new();
    let database = DATABASE.get_or_init(async || {
        let postgres = Postgres::shared().expect("a PostgreSQL server");
        let schema = "CREATE TABLE users (name text PRIMARY KEY); INSERT INTO users VALUES ('ada')";
        postgres.database_with(schema).await.expect("a database")
    });
    let config = actix_pg::Config { pool_min_size: 0, pool_max_size: 1, ..database.await.config() };
    Database::connect(config).await.expect("a connected database")
}

#[actix_web::test]
async fn a_user_is_created_once() {
    let db = database().await.sandbox().await.unwrap();
    let app = init_service(App::new().wrap(db.middleware()).configure(routes)).await;
    let post = |name: &'static str| TestRequest::post().uri("/users").set_payload(name).to_request();
    assert_eq!(call_service(&app, post("grace")).await.status(), 201);
    assert_eq!(call_service(&app, post("grace")).await.status(), 409);
    let res = call_service(&app, TestRequest::get().uri("/users/grace").to_request()).await;
    assert_eq!(read_body_json::<String, _>(res).await, "grace");
    // The test looks into the same transaction as the application.
    let users: i64 = db.connection().query_one_scalar("SELECT count(*) FROM users", &[]).await.unwrap();
    assert_eq!(users, 2);
}

#[actix_web::test]
async fn a_user_of_another_test_is_not_there() {
    let db = database().await.sandbox().await.unwrap();
    let app = init_service(App::new().wrap(db.middleware()).configure(routes)).await;
    let res = call_service(&app, TestRequest::get().uri("/users/grace").to_request()).await;
    assert_eq!(res.status(), 404);
    db.connection().execute("DELETE FROM users", &[]).await.unwrap();
    let res = call_service(&app, TestRequest::get().uri("/users/ada").to_request()).await;
    assert_eq!(res.status(), 404);
}
