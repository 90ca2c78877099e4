//! An API whose errors have bodies: `cargo run --example json_errors`, then
//! `curl -i -H 'content-type: application/json' -d '"ada"' localhost:8080/users`, twice.
//!
//! The application has an error type of its own, as it does for all that can go wrong. It takes status and `Retry-After` from
//! the crate's, and has it write its line to the log: one for each failure, none for a user who is not there.

use std::error::Error;
use std::fmt;

use actix_pg::testing::Postgres;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Connection, Database, OrNotFound};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{App, HttpResponse, HttpServer, Responder, ResponseError, get, post, web};
use serde_json::json;

pub(crate) const SCHEMA: &str = "CREATE TABLE users (name text PRIMARY KEY)";

#[derive(Debug)]
enum ApiError {
    NameTaken,
    Database(actix_pg::Error),
}

impl From<actix_pg::Error> for ApiError {
    fn from(err: actix_pg::Error) -> Self {
        if err.code() == Some(&SqlState::UNIQUE_VIOLATION) { Self::NameTaken } else { Self::Database(err) }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NameTaken => StatusCode::CONFLICT,
            Self::Database(err) => err.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Self::Database(err) = self {
            err.log();
            if let Some(pause) = err.retry_after() {
                response.insert_header((RETRY_AFTER, pause.as_secs()));
            }
        }
        response.json(json!({ "error": self.to_string() }))
    }
}

/// What the client is told: the causes are for the log.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameTaken => "that name is taken",
            Self::Database(actix_pg::Error::NotFound) => "there is nothing here",
            Self::Database(err) if err.is_unavailable() => "try again in a moment",
            Self::Database(_) => "something went wrong",
        })
    }
}

#[post("/users")]
async fn create(name: web::Json<String>, conn: Connection) -> Result<impl Responder, ApiError> {
    conn.execute("INSERT INTO users VALUES ($1)", &[&*name]).await?;
    Ok(HttpResponse::Created().json(json!({ "name": name })))
}

#[get("/users/{name}")]
async fn user(name: web::Path<String>, conn: Connection) -> Result<impl Responder, ApiError> {
    let row = conn.query_opt("SELECT name FROM users WHERE name = $1", &[&*name]).await?.or_not_found()?;
    Ok(web::Json(json!({ "name": row.get::<_, String>("name") })))
}

/// A statement that fails.
#[get("/typo")]
async fn typo(conn: Connection) -> Result<impl Responder, ApiError> {
    conn.execute("SELEC 1", &[]).await?;
    Ok(HttpResponse::NoContent())
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service((create, user, typo));
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Postgres::start()?;
    let db = Database::connect(server.config()).await?;
    db.batch_execute(SCHEMA).await?;
    let app = db.clone();
    HttpServer::new(move || App::new().wrap(app.middleware()).configure(routes))
        .bind(("127.0.0.1", 8080))?
        .run()
        .await?;
    db.close().await;
    Ok(())
}
