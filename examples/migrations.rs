//! An application that brings its migrations along and runs them when it starts: `cargo run --example migrations`, then
//! `curl localhost:8080/visits/ada`. `PORT` is another port. With `DATABASE_URL` several of them may start at the same time.
//!
//! The migrations in `examples/migrations` are compiled in by refinery, which wants a `&mut Client`: a session to own. Before it
//! looks at the schema the session takes an advisory lock, so of several processes one migrates and the others wait for it.
//! Without the lock they would all find the same migrations missing.

use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, OrNotFound};
use actix_web::{App, HttpServer, Responder, get, web};
use refinery::Runner;

pub(crate) mod embedded {
    refinery::embed_migrations!("examples/migrations");
}

/// The advisory lock of this application's migrations: a number that nothing else in the database locks.
const MIGRATING: i64 = 4_711;

/// Runs what is missing, and says how much that was. Waits while another process does.
///
/// Each migration is a transaction. One that fails is rolled back, and those before it stay.
pub(crate) async fn migrate(db: &Database, runner: Runner) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let mut session = db.session().await?;
    session.execute("SELECT pg_advisory_lock($1)", &[&MIGRATING]).await?;
    let report = runner.run_async(&mut *session).await?;
    Ok(report.applied_migrations().len())
} // the session ends, and with it the lock

#[get("/visits/{name}")]
async fn visits(name: web::Path<String>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let sql = "UPDATE users SET visits = visits + 1 WHERE name = $1 RETURNING visits";
    Ok(web::Json(conn.query_opt_scalar::<i64>(sql, &[&*name]).await?.or_not_found()?))
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(visits);
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
    let applied = migrate(&db, embedded::migrations::runner()).await.map_err(|err| err.to_string())?;
    println!("{applied} migrations have run");

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = db.clone();
    let server = HttpServer::new(move || App::new().wrap(app.middleware()).configure(routes))
        .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    db.close().await;
    Ok(())
}
