//! What the crate itself costs, without a server: the one that answers here is a task of the same thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use actix_pg::{Config, Connection, Database};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::rt::System;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, HttpResponse, Responder, web};
use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use test_support::FakeServer;

const SQL: &str = "SELECT id FROM users WHERE id = $1";

criterion_group!(benches, routes, statements);
criterion_main!(benches);

/// A whole request through the App, on routes that send nothing: what the middleware and the extractor add.
fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let system = System::new();
    let (_server, db) = system.block_on(connect());
    group.bench_function("bare", |bencher| {
        let app = App::new().route("/", web::get().to(plain));
        let app = system.block_on(init_service(app));
        serve(bencher, &system, &app);
    });
    group.bench_function("middleware", |bencher| {
        let app = App::new().wrap(db.middleware()).route("/", web::get().to(plain));
        let app = system.block_on(init_service(app));
        serve(bencher, &system, &app);
    });
    group.bench_function("extract", |bencher| {
        let app = App::new().wrap(db.middleware()).route("/", web::get().to(extracted));
        let app = system.block_on(init_service(app));
        serve(bencher, &system, &app);
    });
    group.bench_function("one statement", |bencher| {
        let app = App::new().wrap(db.middleware()).route("/", web::get().to(queried));
        let app = system.block_on(init_service(app));
        serve(bencher, &system, &app);
    });
    group.finish();
}

async fn plain() -> impl Responder {
    HttpResponse::NoContent()
}

async fn extracted(conn: Connection) -> impl Responder {
    black_box(conn);
    HttpResponse::NoContent()
}

async fn queried(conn: Connection) -> actix_pg::Result<impl Responder> {
    black_box(conn.query_one(SQL, &[&1_i64]).await?);
    Ok(HttpResponse::NoContent())
}

/// One statement: on a session that stays borrowed, and on one that is borrowed for it and returned.
fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statement");
    let system = System::new();
    let (_server, db) = system.block_on(connect());
    group.bench_function("cache hit", |bencher| {
        let conn = db.connection();
        repeat(bencher, &system, async || query(&conn).await);
    });
    group.bench_function("borrow, cache hit, return", |bencher| {
        repeat(bencher, &system, async || query(&db.connection()).await);
    });
    group.finish();
}

async fn query(conn: &Connection) {
    let row = conn.query_one(SQL, &[&1_i64]).await;
    black_box(row.expect("the server answers every statement"));
}

/// The server goes when it is dropped.
async fn connect() -> (FakeServer, Database) {
    let server = FakeServer::start().await;
    let config = Config { pool_min_size: 1, ..server.config(1) };
    let db = Database::connect(config).await;
    (server, db.expect("the server lets everybody in"))
}

fn serve<B>(
    bencher: &mut Bencher<'_>,
    system: &actix_web::rt::SystemRunner,
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
) {
    repeat(bencher, system, async || {
        let res = app.call(TestRequest::get().uri("/").to_request()).await;
        let res = res.expect("the routes do not fail");
        assert!(res.status().is_success());
    });
}

/// Times many in a row, without entering the runtime for each.
fn repeat(bencher: &mut Bencher<'_>, system: &actix_web::rt::SystemRunner, once: impl AsyncFn()) {
    bencher.iter_custom(|times| {
        system.block_on(async {
            let start = Instant::now();
            for _ in 0..times {
                once().await;
            }
            start.elapsed().max(Duration::from_nanos(1))
        })
    });
}
