//! The application that is watched: ordinary handlers.

use std::time::Duration;

use actix_pg::{Connection, Database, OrNotFound, Result, Transaction};
use actix_web::rt::time::sleep;
use actix_web::{HttpResponse, Responder, get, post, web};
use serde::Deserialize;
use serde_json::json;

use crate::buttons::{Seconds, bad_request};

const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS demo_products (id bigint PRIMARY KEY, name text NOT NULL, stock int NOT NULL);
    CREATE TABLE IF NOT EXISTS demo_orders (id bigserial PRIMARY KEY, product bigint NOT NULL, reference text UNIQUE);
    INSERT INTO demo_products SELECT id, 'product ' || id, 1000 FROM generate_series(1, 5000) id ON CONFLICT DO NOTHING;";

/// How long a report takes besides its two statements.
const REPORT: Duration = Duration::from_secs(5);

pub(crate) async fn create_tables(db: &Database) -> Result<()> {
    db.connection().batch_execute(TABLES).await
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service((product, search, order, welcome)).service((
        report_that_holds,
        report_that_releases,
        stocktaking,
    ));
}

/// Needs no database, so it takes no session.
#[get("/welcome")]
async fn welcome(_: Connection) -> impl Responder {
    "welcome"
}

#[get("/products/{id}")]
async fn product(id: web::Path<i64>, conn: Connection) -> Result<impl Responder> {
    let row = conn
        .query_opt("SELECT name, stock FROM demo_products WHERE id = $1", &[&*id])
        .await?
        .or_not_found()?;
    Ok(web::Json(json!({ "name": row.get::<_, String>(0), "stock": row.get::<_, i32>(1) })))
}

#[derive(Deserialize)]
struct Search {
    name: String,
}

#[get("/search")]
async fn search(search: web::Query<Search>, conn: Connection) -> Result<impl Responder> {
    let sql =
        "SELECT id, name FROM demo_products WHERE name LIKE '%' || $1 || '%' ORDER BY stock DESC LIMIT 20";
    let rows = conn.query(sql, &[&search.name]).await?;
    Ok(web::Json(rows.iter().map(|row| row.get::<_, String>(1)).collect::<Vec<_>>()))
}

#[derive(Deserialize)]
struct Order {
    product: i64,
    reference: Option<String>,
}

#[post("/orders")]
async fn order(order: web::Query<Order>, conn: Connection) -> Result<impl Responder> {
    let sql = "INSERT INTO demo_orders (product, reference) VALUES ($1, $2)";
    conn.execute(sql, &[&order.product, &order.reference]).await?;
    Ok(HttpResponse::Created())
}

#[get("/reports/held")]
async fn report_that_holds(conn: Connection) -> Result<impl Responder> {
    let products: i64 = conn.query_one_scalar("SELECT count(*) FROM demo_products", &[]).await?;
    sleep(REPORT).await; // the session is kept, and nobody else can have it
    let orders: i64 = conn.query_one_scalar("SELECT count(*) FROM demo_orders", &[]).await?;
    Ok(web::Json(json!({ "products": products, "orders": orders })))
}

#[get("/reports/released")]
async fn report_that_releases(conn: Connection) -> Result<impl Responder> {
    let products: i64 = conn.query_one_scalar("SELECT count(*) FROM demo_products", &[]).await?;
    conn.release()?; // the session is back in the pool
    sleep(REPORT).await;
    let orders: i64 = conn.query_one_scalar("SELECT count(*) FROM demo_orders", &[]).await?; // borrowed again
    Ok(web::Json(json!({ "products": products, "orders": orders })))
}

#[post("/stocktaking")]
async fn stocktaking(seconds: web::Query<Seconds>, conn: Connection) -> actix_web::Result<impl Responder> {
    let duration = seconds.duration().ok_or_else(|| bad_request("seconds is a number from 1 to 60"))?;
    let count = async |tx: Transaction| {
        tx.execute("UPDATE demo_products SET stock = stock + 1 WHERE id = 1", &[]).await?;
        sleep(duration).await; // the transaction is open, and its row is locked
        Ok::<_, actix_pg::Error>(())
    };
    conn.transact(count).await?;
    Ok("counted")
}
