//! What a request costs in allocations, counted on the thread on which all of it runs.

use std::hint::black_box;

use actix_pg::testing::Postgres;
use actix_pg::tokio_postgres::{self, NoTls};
use actix_pg::{Config, Connection, Database, Result};
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, rt, web};
use allocation_counter::measure;

const SQL: &str = "SELECT $1::bigint";
const REQUESTS: u64 = 1_000;

/// Allocations per request, once everything is warm.
fn per_request<B: MessageBody>(
    system: &rt::SystemRunner,
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    path: &str,
) -> f64 {
    let requests = |count: u64| {
        system.block_on(async {
            for _ in 0..count {
                let req = TestRequest::with_uri(path).to_request();
                let res = app.call(req).await.expect("a response");
                assert!(res.status().is_success());
                black_box(res);
            }
        });
    };
    requests(200);
    measure(|| requests(REQUESTS)).count_total as f64 / REQUESTS as f64
}

/// P1: a request that extracts no connection allocates nothing in the middleware.
#[test]
fn a_request_without_a_connection_costs_nothing() {
    let system = rt::System::new();
    let database = system.block_on(Postgres::shared().expect("a server").database()).expect("a database");
    let config = Config { pool_min_size: 1, ..database.config() };
    let db = system.block_on(Database::connect(config)).expect("a connected database");
    let route = || web::get().to(async || "hello");
    let bare = system.block_on(init_service(App::new().route("/", route())));
    let wrapped = system.block_on(init_service(App::new().wrap(db.middleware()).route("/", route())));
    let (bare, wrapped) = (per_request(&system, &bare, "/"), per_request(&system, &wrapped, "/"));
    println!("allocations per request: {bare} bare, {wrapped} wrapped");
    assert_eq!(wrapped - bare, 0.0);
}

/// One statement costs at most six allocations more than the same prepared statement on a client of one's own.
#[test]
fn a_statement_costs_little_more_than_by_hand() {
    let system = rt::System::new();
    let database = system.block_on(Postgres::shared().expect("a server").database()).expect("a database");
    let config = Config { pool_min_size: 1, pool_max_size: 1, ..database.config() };
    let db = system.block_on(Database::connect(config)).expect("a connected database");
    let (client, statement) = system.block_on(async {
        let (client, connection) = tokio_postgres::connect(database.dsn(), NoTls).await.expect("a client");
        rt::spawn(connection);
        let statement = client.prepare(SQL).await.expect("a statement");
        (client, statement)
    });
    let by_hand = web::Data::new((client, statement));
    let hand = async |by_hand: web::Data<(tokio_postgres::Client, tokio_postgres::Statement)>| {
        let (client, statement) = &**by_hand;
        let row = client.query_one(statement, &[&7_i64]).await.expect("a row");
        black_box(row.get::<_, i64>(0));
        "done"
    };
    let ours = async |conn: Connection| -> Result<&'static str> {
        let row = conn.query_one(SQL, &[&7_i64]).await?;
        black_box(row.get::<_, i64>(0));
        Ok("done")
    };
    let app = App::new().app_data(by_hand).route("/hand", web::get().to(hand));
    let hand = system.block_on(init_service(app));
    let ours =
        system.block_on(init_service(App::new().wrap(db.middleware()).route("/ours", web::get().to(ours))));
    let (hand, ours) = (per_request(&system, &hand, "/hand"), per_request(&system, &ours, "/ours"));
    println!("allocations per request with one statement: {hand} by hand, {ours} ours, {} more", ours - hand);
    assert!(ours - hand <= 6.0, "{} more", ours - hand);
}

/// A future of 1,800 bytes at most, also for a verb that is made of another: a request's future contains it, and is moved with it.
#[test]
fn futures_are_small() {
    let system = rt::System::new();
    let database = system.block_on(Postgres::shared().expect("a server").database()).expect("a database");
    let db = system.block_on(Database::connect(database.config())).expect("a connected database");
    let conn = db.connection();
    let sizes = [
        size_of_val(&conn.query(SQL, &[])),
        size_of_val(&conn.query_opt(SQL, &[])),
        size_of_val(&conn.query_one(SQL, &[])),
        size_of_val(&conn.query_scalar::<i64>(SQL, &[])),
        size_of_val(&conn.query_opt_scalar::<i64>(SQL, &[])),
        size_of_val(&conn.query_one_scalar::<i64>(SQL, &[])),
    ];
    println!("bytes of a future: {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 1_800));
}

/// The memory of a batch does not grow with its input.
#[test]
fn a_million_rows_need_no_more_memory_than_a_thousand() {
    let system = rt::System::new();
    let database = system.block_on(Postgres::shared().expect("a server").database()).expect("a database");
    let config = Config { pool_min_size: 1, pool_max_size: 1, ..database.config() };
    let db = system.block_on(Database::connect(config)).expect("a connected database");
    let conn = db.connection();
    let most = |rows: i64| {
        let used = measure(|| {
            let numbers = (0..rows).map(|number| [number]);
            let ran = system.block_on(conn.execute_many(SQL, numbers)).expect("the rows");
            assert_eq!(ran, rows as u64);
        });
        used.bytes_max
    };
    most(1_000);
    let (few, many) = (most(1_000), most(1_000_000));
    println!("most bytes at a time: {few} for a thousand rows, {many} for a million");
    assert!(many <= few + 64 * 1024, "{few} {many}");
}
