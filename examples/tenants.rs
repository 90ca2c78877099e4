//! Row-level security: every request sees the rows of its tenant. `cargo run --example tenants`, then
//! `curl -H 'x-tenant: ada' localhost:8080/notes`.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, ConnectionExt, Database, Result};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpServer, Responder, error, get, post, web};

/// The owner of a table, and a superuser, see all rows; so the sessions run as `tenant`.
///
/// On a session that served another tenant before, a setting that is not set is `''` and not NULL; `nullif` makes them one,
/// so that nobody's rows are nobody's, and a cast (`…::bigint`) does not fail.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS notes (tenant text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''), note text NOT NULL);
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    DROP POLICY IF EXISTS own ON notes;
    CREATE POLICY own ON notes USING (tenant = nullif(current_setting('app.tenant', true), ''));
    DO $$ BEGIN CREATE ROLE tenant; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    GRANT SELECT, INSERT ON notes TO tenant";

/// Makes all statements of a request see the rows of its tenant. A real application would take that from a session or a token.
async fn as_tenant(
    req: ServiceRequest,
    next: Next<impl MessageBody>,
) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    let name = req.headers().get("x-tenant").and_then(|name| name.to_str().ok());
    let name = name.ok_or_else(|| error::ErrorUnauthorized("no tenant"))?;
    // Recorded; in force before the first statement on every session that the request borrows.
    req.connection()?.set_config("app.tenant", name)?;
    next.call(req).await
}

#[get("/notes")]
async fn notes(conn: Connection) -> Result<impl Responder> {
    Ok(web::Json(conn.query_scalar::<String>("SELECT note FROM notes", &[]).await?))
}

#[post("/notes")]
async fn add(note: String, conn: Connection) -> Result<impl Responder> {
    Ok(conn.execute("INSERT INTO notes (note) VALUES ($1)", &[&note]).await?.to_string())
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let server = env::var("DATABASE_URL").is_err().then(Postgres::start).transpose()?;
    let config = server.as_ref().map_or_else(Config::from_env, |server| Ok(server.config()))?;
    let owner = Database::connect(config.clone()).await?;
    owner.batch_execute(SCHEMA).await?;
    owner.close().await;
    // Each session takes the role at its start, which costs a request nothing. A login of its own is better still.
    let server_settings = BTreeMap::from([("role".into(), "tenant".into())]);
    let db = Database::connect(Config { server_settings, ..config }).await?;
    let app = db.clone();
    // Around the whole App, so that no route can be without a tenant; inside of the connection, which it uses.
    let server = HttpServer::new(move || {
        App::new().wrap(from_fn(as_tenant)).wrap(app.middleware()).service((notes, add))
    });
    server.bind(("127.0.0.1", env::var("PORT").map_or(Ok(8080), |port| port.parse())?))?.run().await?;
    db.close().await;
    Ok(())
}
