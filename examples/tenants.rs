//! Row-level security: every request sees the rows of its tenant. `cargo run --example tenants`, then
//! `curl -H 'x-tenant: ada' localhost:8080/notes`.

use std::env;
use std::error::Error;
use std::future::{Ready, ready};
use std::ops::Deref;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, Result};
use actix_web::dev::Payload;
use actix_web::{App, FromRequest, HttpRequest, HttpServer, Responder, error, get, post, web};

/// The owner of a table, and a superuser, see all rows; so statements of a request run as `tenant`.
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

/// The connection of a request that has said whose it is. A real application would ask a session or a token.
struct Tenant(Connection);

impl Tenant {
    fn of(req: &HttpRequest) -> actix_web::Result<Self> {
        let name = req.headers().get("x-tenant").and_then(|name| name.to_str().ok());
        let name = name.ok_or_else(|| error::ErrorUnauthorized("no tenant"))?;
        let conn = Connection::extract(req).into_inner()?;
        // Recorded; in force before the first statement on every session that the request borrows.
        conn.set_config("app.tenant", name)?;
        conn.set_config("role", "tenant")?;
        Ok(Self(conn))
    }
}

impl FromRequest for Tenant {
    type Error = actix_web::Error;
    type Future = Ready<actix_web::Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(req))
    }
}

impl Deref for Tenant {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

#[get("/notes")]
async fn notes(tenant: Tenant) -> Result<impl Responder> {
    Ok(web::Json(tenant.query_scalar::<String>("SELECT note FROM notes", &[]).await?))
}

#[post("/notes")]
async fn add(note: String, tenant: Tenant) -> Result<impl Responder> {
    Ok(tenant.execute("INSERT INTO notes (note) VALUES ($1)", &[&note]).await?.to_string())
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let server = env::var("DATABASE_URL").is_err().then(Postgres::start).transpose()?;
    let config = server.as_ref().map_or_else(Config::from_env, |server| Ok(server.config()))?;
    let db = Database::connect(config).await?;
    db.connection().batch_execute(SCHEMA).await?;
    let app = db.clone();
    let server = HttpServer::new(move || App::new().wrap(app.middleware()).service((notes, add)));
    server.bind(("127.0.0.1", env::var("PORT").map_or(Ok(8080), |port| port.parse())?))?.run().await?;
    db.close().await;
    Ok(())
}
