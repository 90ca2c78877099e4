//! A search whose statement depends on what is searched for, built by sea-query: `cargo run --package example-sea-query`, then
//! `curl 'localhost:8080/books?author=ada&sort=title'`. `PORT` is another port.
//!
//! `build_postgres` makes the text and the values; the verbs take them as they take a text by hand. Values are parameters, so the text
//! depends on the shape of the search alone: each shape is prepared once for each session and costs one round trip from then on.

use std::env;
use std::error::Error;

use actix_pg::testing::Postgres;
use actix_pg::{Connection, Database, FromRow, GenericClient, Result};
use actix_web::{App, HttpResponse, HttpServer, Responder, get, post, web};
use sea_query::{Cond, Expr, ExprTrait, Iden, Order, PostgresQueryBuilder, Query};
use sea_query_postgres::PostgresBinder;
use serde::{Deserialize, Serialize};

pub(crate) const SCHEMA: &str = "CREATE TABLE books (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
    title text NOT NULL, author text NOT NULL, year int NOT NULL); \
    INSERT INTO books (title, author, year) VALUES ('Notes', 'ada', 1843), ('COBOL', 'grace', 1959), ('Letters', 'ada', 1852)";

/// The names of the table and its columns, for sea-query to quote.
#[derive(Iden)]
enum Books {
    Table,
    Id,
    Title,
    Author,
    Year,
}

#[derive(FromRow, Serialize)]
struct Book {
    id: i64,
    title: String,
    author: String,
    year: i32,
}

/// What may be searched for, in any combination.
#[derive(Deserialize)]
struct Search {
    author: Option<String>,
    before: Option<i32>,
    #[serde(default)]
    sort: Sort,
}

/// A column is no value and can be no parameter, so a client chooses among ours.
#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Title,
    #[default]
    Year,
}

async fn find(db: &impl GenericClient, search: Search) -> Result<Vec<Book>> {
    let wanted = Cond::all()
        .add_option(search.author.map(|author| Expr::col(Books::Author).eq(author)))
        .add_option(search.before.map(|year| Expr::col(Books::Year).lt(year)));
    let order = match search.sort {
        Sort::Title => Books::Title,
        Sort::Year => Books::Year,
    };
    let (sql, values) = Query::select()
        .columns([Books::Id, Books::Title, Books::Author, Books::Year])
        .from(Books::Table)
        .cond_where(wanted)
        .order_by(order, Order::Asc)
        .build_postgres(PostgresQueryBuilder);
    db.query_as(&sql, &values.as_params()).await
}

#[get("/books")]
async fn books(search: web::Query<Search>, conn: Connection) -> Result<impl Responder> {
    Ok(web::Json(find(&conn, search.into_inner()).await?))
}

#[derive(Deserialize)]
struct NewBook {
    title: String,
    author: String,
    year: i32,
}

#[post("/books")]
async fn add(book: web::Json<NewBook>, conn: Connection) -> Result<impl Responder> {
    let NewBook { title, author, year } = book.into_inner();
    let (sql, values) = Query::insert()
        .into_table(Books::Table)
        .columns([Books::Title, Books::Author, Books::Year])
        .values_panic([title.into(), author.into(), year.into()])
        .returning(Query::returning().columns([Books::Id, Books::Title, Books::Author, Books::Year]))
        .build_postgres(PostgresQueryBuilder);
    let book: Book = conn.query_one_as(&sql, &values.as_params()).await?;
    Ok(HttpResponse::Created().json(book))
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service((books, add));
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
