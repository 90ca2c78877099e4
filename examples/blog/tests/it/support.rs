//! Databases and requests for the tests.

use actix_http::Request;
use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Database};
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, try_call_service};
use serde_json::Value;
use tokio::sync::OnceCell;

/// A database on which the migrations have run, once for all tests. Copies of it are made in milliseconds.
async fn template() -> &'static TestDatabase {
    static TEMPLATE: OnceCell<TestDatabase> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(async || {
            let postgres = Postgres::shared().expect("a PostgreSQL server");
            let template = postgres.database().await.expect("a database");
            example_blog::migrate(&template.config()).await.expect("migrations that run");
            template
        })
        .await
}

/// A database of its own, for a test in which several sessions are needed.
pub(crate) async fn database() -> TestDatabase {
    let postgres = Postgres::shared().expect("a PostgreSQL server");
    postgres.database_from(template().await).await.expect("a database")
}

/// The pool of the application, with this many sessions at most.
pub(crate) async fn pool(database: &TestDatabase, size: u32) -> Database {
    let config = Config { pool_min_size: 0, pool_max_size: size, ..database.config() };
    example_blog::connect(config).await.expect("a connected database")
}

/// A sandbox in the database that all tests share. Whatever the application does in it is rolled back.
pub(crate) async fn sandbox() -> Database {
    static SHARED: OnceCell<TestDatabase> = OnceCell::const_new();
    let shared = SHARED.get_or_init(database).await;
    pool(shared, 1).await.sandbox().await.expect("a sandbox")
}

/// The application as `main` makes it: `app!(db)`.
macro_rules! app {
    ($db:expr) => {
        actix_web::test::init_service(
            actix_web::App::new().wrap($db.middleware()).configure(example_blog::routes),
        )
        .await
    };
}
pub(crate) use app;

/// A request of this tenant.
pub(crate) fn get(tenant: &str, uri: &str) -> TestRequest {
    TestRequest::get().uri(uri).insert_header(("x-tenant", tenant))
}

/// The same with a body.
pub(crate) fn post(tenant: &str, uri: &str, body: Value) -> TestRequest {
    TestRequest::post().uri(uri).insert_header(("x-tenant", tenant)).set_json(body)
}

/// Sends it, and returns the status with the JSON of the body.
pub(crate) async fn call<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    request: TestRequest,
) -> (StatusCode, Value) {
    let (status, body) = match try_call_service(app, request.to_request()).await {
        Ok(response) => (response.status(), to_bytes(response.into_body()).await.ok()),
        // As the server does with an error that nobody has made a response of.
        Err(err) => {
            let response = err.error_response();
            (response.status(), to_bytes(response.into_body()).await.ok())
        }
    };
    let body = body.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or_else(|err| panic!("{err}: {body:?}")))
}
