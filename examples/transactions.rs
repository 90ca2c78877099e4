//! Transfers, in three ways: `cargo run --example transactions`, then `curl -X POST localhost:8080/transfer/1/2/30`.

use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{
    Config, Connection, Database, GenericClient, IsolationLevel, OrNotFound, RequestTransaction, Result,
    Transaction,
};
use actix_web::{App, HttpServer, Responder, get, post, web};

const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS accounts (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
    INSERT INTO accounts VALUES (1, 100), (2, 100) ON CONFLICT DO NOTHING";

type Order = web::Path<(i32, i32, i32)>;

/// Runs in whatever it is given: a connection, a transaction, or that of a request.
async fn add(client: &impl GenericClient, id: i32, amount: i32) -> Result<i32> {
    let sql = "UPDATE accounts SET balance = balance + $2 WHERE id = $1 RETURNING balance";
    client.query_opt_scalar(sql, &[&id, &amount]).await?.or_not_found()
}

/// By hand: dropped on the way, by an error for one, it is rolled back.
#[post("/transfer/{from}/{to}/{amount}")]
async fn transfer(order: Order, conn: Connection) -> Result<impl Responder> {
    let (from, to, amount) = *order;
    let tx = conn.transaction().await?;
    let left = add(&tx, from, -amount).await?;
    add(&tx, to, amount).await?;
    tx.commit().await?;
    Ok(format!("{left} left\n"))
}

/// Serializable, and run again if another transaction was faster.
#[post("/halve/{from}/{to}")]
async fn halve(accounts: web::Path<(i32, i32)>, conn: Connection) -> Result<impl Responder> {
    let (from, to) = *accounts;
    let transact = conn.build_transaction().isolation_level(IsolationLevel::Serializable).retries(5);
    let moved = transact.run(async |tx: Transaction| {
        let half = add(&tx, from, 0).await? / 2;
        add(&tx, from, -half).await?;
        add(&tx, to, half).await
    });
    Ok(format!("{} there\n", moved.await?))
}

/// The whole request: committed before the answer is sent, rolled back with an error.
#[post("/request/{from}/{to}/{amount}")]
async fn request(order: Order, tx: RequestTransaction) -> Result<impl Responder> {
    let (from, to, amount) = *order;
    add(&tx, to, amount).await?;
    let left = add(&tx, from, -amount).await?;
    Ok(format!("{left} left\n"))
}

#[get("/balance/{id}")]
async fn balance(id: web::Path<i32>, conn: Connection) -> Result<impl Responder> {
    Ok(format!("{}\n", add(&conn, *id, 0).await?))
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let server = env::var("DATABASE_URL").is_err().then(Postgres::start).transpose()?;
    let config = server.as_ref().map_or_else(Config::from_env, |server| Ok(server.config()))?;
    let db = Database::connect(config).await?;
    db.batch_execute(SCHEMA).await?;

    let app = db.clone();
    let server = HttpServer::new(move || {
        App::new().wrap(app.middleware()).service((transfer, halve, request, balance))
    });
    server.bind(("127.0.0.1", env::var("PORT").map_or(Ok(8080), |port| port.parse())?))?.run().await?;
    db.close().await;
    Ok(())
}
