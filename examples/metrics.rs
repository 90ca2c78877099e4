//! Metrics for Prometheus: `cargo run --all-features --example metrics`, then `curl localhost:8080/metrics`.

use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, DURATION_BUCKETS, Database, OrNotFound, Result};
use actix_web::{App, HttpServer, Responder, get, web};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SCHEMA: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL); \
    INSERT INTO users VALUES (1, 'ada'), (2, 'grace')";

#[get("/users/{id}")]
async fn user(id: web::Path<i64>, conn: Connection) -> Result<impl Responder> {
    let sql = "SELECT name FROM users WHERE id = $1";
    conn.query_opt_scalar::<String>(sql, &[&*id]).await?.or_not_found()
}

#[get("/metrics")]
async fn metrics(exporter: web::Data<PrometheusHandle>) -> impl Responder {
    exporter.render()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before the database is connected, so that its metrics find the exporter.
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("duration".into()), &DURATION_BUCKETS)?
        .install_recorder()?;

    // A throwaway server, gone when this program ends.
    let postgres = Postgres::start()?;
    let config = Config { pool_min_size: 2, ..postgres.config() };
    let db = Database::connect(config).await?;
    db.batch_execute(SCHEMA).await?;

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let (app, exporter) = (db.clone(), web::Data::new(exporter));
    let server = HttpServer::new(move || {
        App::new().wrap(app.middleware()).app_data(exporter.clone()).service((user, metrics))
    })
    .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    db.close().await;
    Ok(())
}
