//! Starts the blog: `cargo run --package example-blog`. `DATABASE_URL` names a database, `PORT` another port than 8080.

use std::env;
use std::error::Error;
use std::time::Duration;

use actix_pg::Config;
use actix_pg::testing::Postgres;
use actix_web::{App, HttpServer, web};
use env_logger::Env;

/// How long a stop waits for the requests that were accepted, in seconds: less than the orchestrator's patience.
const STOP: u64 = 20;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    env_logger::init_from_env(Env::default().default_filter_or("info"));
    let exporter = web::Data::new(example_blog::install_metrics()?);

    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let postgres = env::var("DATABASE_URL").is_err().then(Postgres::start).transpose()?;
    let config = postgres.as_ref().map_or_else(Config::from_env, |postgres| Ok(postgres.config()))?;
    let config = Config {
        // Warnings that name the line of the source.
        slow_statement: Some(Duration::from_millis(200)),
        long_hold: Some(Duration::from_secs(1)),
        repeated_statement: Some(10),
        ..config
    };
    let applied = example_blog::migrate(&config).await?;
    println!("{applied} migrations have run");
    let db = example_blog::connect(config).await?;

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = db.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(exporter.clone()).wrap(app.middleware()).configure(example_blog::routes)
    })
    .shutdown_timeout(STOP)
    .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    // SIGTERM and Ctrl-C end it: it accepts nothing more, and answers what it has accepted.
    server.run().await?;
    // Only then: the last requests needed the database.
    db.close().await;
    println!("stopped");
    Ok(())
}
