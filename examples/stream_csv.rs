//! A million rows as CSV, in constant memory: `cargo run --example stream_csv`, then
//! `curl localhost:8080/numbers.csv | tail`.

use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, Result};
use actix_web::{App, HttpResponse, HttpServer, get, web};
use futures_util::{StreamExt, TryStreamExt};

const SQL: &str = "SELECT n, md5(n::text) FROM generate_series(1, 1000000) n";

/// Rows are read from the server as fast as the client reads the response. If the client goes away, the query is
/// cancelled; at the end, the session goes back to the pool.
#[get("/numbers.csv")]
async fn numbers(conn: Connection) -> Result<HttpResponse> {
    let rows = conn.query_raw(SQL, &[]).await?;
    let lines = rows.map_ok(|row| format!("{},{}\n", row.get::<_, i32>(0), row.get::<_, String>(1)));
    // A piece of the response for a thousand rows, not for each.
    let pieces = lines.try_chunks(1000).map(|piece| match piece {
        Ok(lines) => Ok(web::Bytes::from(lines.concat())),
        Err(err) => Err(actix_web::Error::from(err.1)),
    });
    Ok(HttpResponse::Ok().content_type("text/csv").streaming(pieces))
}

/// The same, written by the server: quoting and all, and faster.
#[get("/copy.csv")]
async fn copy(conn: Connection) -> Result<HttpResponse> {
    let csv = conn.copy_out(&format!("COPY ({SQL}) TO STDOUT (FORMAT csv)")).await?;
    Ok(HttpResponse::Ok().content_type("text/csv").streaming(csv.map_err(actix_web::Error::from)))
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let server = env::var("DATABASE_URL").is_err().then(Postgres::start).transpose()?;
    let config = server.as_ref().map_or_else(Config::from_env, |server| Ok(server.config()))?;
    let db = Database::connect(config).await?;

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = db.clone();
    let server = HttpServer::new(move || App::new().wrap(app.middleware()).service((numbers, copy)))
        .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    db.close().await;
    Ok(())
}
