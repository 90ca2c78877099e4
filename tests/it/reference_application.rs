//! The application of the reference's test-suite.

use std::future::{Ready, ready};

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::{self, Row, config::Host};
use actix_pg::{Config, Connection, Database, OrNotFound, Result};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{App, FromRequest, HttpRequest, Responder, web};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use test_support::{TestApp, all_returned, connected, database, listen};

const SCHEMA: &str =
    "CREATE TABLE gino_users (id bigserial PRIMARY KEY, nickname text NOT NULL DEFAULT 'noname')";
const ONE: &str = "SELECT id, nickname FROM gino_users WHERE id = $1";

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

#[derive(Deserialize)]
struct Method {
    method: u8,
}

/// Another extractor that uses the connection of the request.
struct Users(Connection);

impl FromRequest for Users {
    type Error = actix_pg::Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Connection::from_request(req, payload).into_inner().map(Self))
    }
}

async fn hello(conn: Connection) -> Result<&'static str> {
    conn.client().await?.simple_query("SELECT 1").await?;
    Ok("Hello, world!")
}

/// By every path that leads to a user.
async fn user(
    id: web::Path<i64>,
    method: web::Query<Method>,
    users: Users,
    conn: Connection,
    db: web::Data<Database>,
    req: HttpRequest,
) -> Result<impl Responder> {
    let row = match method.method {
        0 => conn.query_opt(ONE, &[&*id]).await?,
        1 => users.0.query(ONE, &[&*id]).await?.into_iter().next(),
        2 => db.connection_for(&req).client().await?.query_opt(ONE, &[&*id]).await?,
        3 => conn.query_raw(ONE, &[&*id]).await?.try_next().await?,
        _ => db.connection().query_opt(ONE, &[&*id]).await?,
    };
    Ok(web::Json(shown(&row.or_not_found()?)))
}

async fn add(new: web::Json<NewUser>, conn: Connection) -> Result<impl Responder> {
    let sql = "INSERT INTO gino_users (nickname) VALUES ($1) RETURNING id";
    let id: i64 = conn.query_one_scalar(sql, &[&new.name]).await?;
    let row = conn.query_one(ONE, &[&id]).await?;
    Ok(web::Json(shown(&row)))
}

fn shown(row: &Row) -> Value {
    json!({ "id": row.get::<_, i64>("id"), "nickname": row.get::<_, String>("nickname") })
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(hello))
        .route("/users/{id}", web::get().to(user))
        .route("/users", web::post().to(add));
}

/// The database's address in separate options.
fn in_parts(database: &TestDatabase) -> Config {
    let parsed: tokio_postgres::Config = database.dsn().parse().expect("a DSN");
    let host = match &parsed.get_hosts()[0] {
        Host::Tcp(host) => host.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    Config {
        host,
        port: parsed.get_ports()[0],
        user: parsed.get_user().unwrap_or_default().to_owned(),
        password: String::from_utf8(parsed.get_password().unwrap_or_default().to_vec()).expect("text"),
        database: database.name().to_owned(),
        ..Config::default()
    }
}

async fn serves_users(app: &TestApp, db: &Database) {
    assert_eq!(app.get("/").await.ok(), "Hello, world!");
    for method in 0..5 {
        let missing = app.get(&format!("/users/1?method={method}")).await;
        assert_eq!((missing.status, missing.body.as_str()), (StatusCode::NOT_FOUND, "not found"));
    }
    let added = app.post("/users", &json!({ "name": "fantix" })).await;
    assert_eq!(added.json::<Value>(), json!({ "id": 1, "nickname": "fantix" }));
    for method in 0..5 {
        let found = app.get(&format!("/users/1?method={method}")).await;
        assert_eq!(found.status, StatusCode::OK);
        assert_eq!(found.json::<Value>(), json!({ "id": 1, "nickname": "fantix" }), "method {method}");
    }
    all_returned(db).await;
}

async fn serve_users_with(config: Config) {
    let db = connected(config).await;
    db.connection().batch_execute(SCHEMA).await.expect("a table");
    let app = TestApp::start(&db, routes);
    serves_users(&app, &db).await;
    app.stop().await;
    db.close().await;
}

/// Cases 1 and 3: separate options.
#[actix_web::test]
async fn it_is_configured_by_separate_options() {
    let database = database().await;
    serve_users_with(in_parts(&database)).await;
}

/// Cases 2 and 5: a DSN alone.
#[actix_web::test]
async fn it_is_configured_by_a_dsn() {
    let database = database().await;
    serve_users_with(database.config()).await;
}

/// Case 2: a DSN replaces the separate options.
#[actix_web::test]
async fn a_dsn_replaces_the_separate_options() {
    let database = database().await;
    let elsewhere =
        Config { host: "nowhere.invalid".into(), port: 1, user: "nobody".into(), ..database.config() };
    serve_users_with(elsewhere).await;
}

/// Case 6: the App is made by a function, in every worker.
#[actix_web::test]
async fn it_is_made_by_an_app_factory() {
    let database = database().await;
    let db = connected(database.config()).await;
    db.connection().batch_execute(SCHEMA).await.expect("a table");
    let made = db.clone();
    let factory = move || {
        let scope = web::scope("/v1").wrap(made.middleware()).configure(routes);
        App::new().wrap(made.middleware()).service(scope).configure(routes)
    };
    let app = listen!(4, factory);
    serves_users(&app, &db).await;
    assert_eq!(app.get("/v1/users/1?method=0").await.ok(), r#"{"id":1,"nickname":"fantix"}"#);
    app.stop().await;
}
