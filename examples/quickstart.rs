//! A small users API: `cargo run --example quickstart`.

use std::env;
use std::error::Error;
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Config, Connection, Database, OrNotFound, Result};
use actix_web::{App, HttpResponse, HttpServer, Responder, error, get, post, rt, web};
use serde::Deserialize;
use serde_json::json;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS users (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE)";

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

#[post("/users")]
async fn create(new: web::Json<NewUser>, conn: Connection) -> actix_web::Result<impl Responder> {
    let sql = "INSERT INTO users (name) VALUES ($1) RETURNING id";
    match conn.query_one_scalar::<i64>(sql, &[&new.name]).await {
        Ok(id) => Ok(HttpResponse::Created().json(json!({ "id": id, "name": new.name }))),
        Err(err) if err.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            Err(error::ErrorConflict("that name is taken"))
        }
        Err(err) => Err(err.into()),
    }
}

#[get("/users/{id}")]
async fn user(id: web::Path<i64>, conn: Connection) -> Result<impl Responder> {
    let row = conn.query_opt("SELECT name FROM users WHERE id = $1", &[&*id]).await?.or_not_found()?;
    Ok(web::Json(json!({ "id": *id, "name": row.get::<_, String>("name") })))
}

#[get("/report")]
async fn report(conn: Connection) -> Result<impl Responder> {
    let users: i64 = conn.query_one_scalar("SELECT count(*) FROM users", &[]).await?; // borrowed here
    conn.release()?; // back to the pool before something slow
    rt::time::sleep(Duration::from_millis(500)).await;
    let latest: Option<String> =
        conn.query_opt_scalar("SELECT name FROM users ORDER BY id DESC LIMIT 1", &[]).await?; // borrowed again
    Ok(web::Json(json!({ "users": users, "latest": latest })))
} // back to the pool with the response

#[get("/status")]
async fn status(db: web::Data<Database>) -> impl Responder {
    web::Json(db.status())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let (_server, config) = match env::var("DATABASE_URL") {
        Ok(_) => (None, Config::from_env()?),
        Err(_) => {
            let server = Postgres::start()?;
            let config = server.config();
            (Some(server), config)
        }
    };
    let db = Database::connect(config).await?;
    db.batch_execute(SCHEMA).await?;

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = db.clone();
    let server =
        HttpServer::new(move || App::new().wrap(app.middleware()).service((create, user, report, status)))
            .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    db.close().await;
    Ok(())
}
