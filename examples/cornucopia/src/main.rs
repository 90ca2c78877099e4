//! Statements that Cornucopia (once clorinde) has checked and written the code of: `cargo run --package example-cornucopia`, then
//! `curl localhost:8080/authors/ada/books`. `PORT` is another port.
//!
//! `queries/books.sql` has the statements, `examples/books-queries` the code that was made of them, and `tests/generated.rs` says
//! how. That code is generic over its client. [`OfRequest`] is one, and takes its statements from the cache of the session: a
//! repeated one costs one round trip.

use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{Connection, Database, Result};
use actix_web::{App, HttpResponse, HttpServer, Responder, get, post, web};
use books_queries::queries::books::{add_book, books_of};
use serde::Deserialize;

use self::of_request::OfRequest;

mod of_request;

pub(crate) const SCHEMA: &str = include_str!("../schema.sql");

#[get("/authors/{author}/books")]
async fn list(author: web::Path<String>, conn: Connection) -> Result<impl Responder> {
    let client = OfRequest(conn.client().await?);
    Ok(web::Json(books_of().bind(&client, &author.as_str()).all().await?))
}

#[derive(Deserialize)]
struct NewBook {
    title: String,
    year: i32,
}

#[post("/authors/{author}/books")]
async fn add(
    author: web::Path<String>,
    book: web::Json<NewBook>,
    conn: Connection,
) -> Result<impl Responder> {
    let client = OfRequest(conn.client().await?);
    let book = add_book().bind(&client, &book.title, &author.as_str(), &book.year).one().await?;
    Ok(HttpResponse::Created().json(book))
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service((list, add));
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends.
    let postgres = Postgres::start()?;
    let db = Database::connect(postgres.config()).await?;
    db.batch_execute(SCHEMA).await?;
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = db.clone();
    let server = HttpServer::new(move || App::new().wrap(app.middleware()).configure(routes))
        .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    db.close().await;
    Ok(())
}
