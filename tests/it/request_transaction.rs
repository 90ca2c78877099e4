//! One transaction around a whole request: committed before the client hears of success, or not at all.

use std::time::{Duration, Instant};

use actix_pg::testing::TestDatabase;
use actix_pg::{BusyWith, Config, Connection, Database, Error, GenericClient, RequestTransaction, Result};
use actix_web::dev::{Service, ServiceRequest};
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, Responder, error, rt, web};
use futures_util::{TryStreamExt, future, stream};
use test_support::{Observer, TestApp, connect, connected, database, eventually, listen, sized};

async fn start(size: u32) -> (TestDatabase, Database, TestApp) {
    let (database, db) = connect(size).await;
    let schema = "CREATE TABLE t (id int PRIMARY KEY);
                  CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)";
    let conn = db.connection();
    conn.batch_execute(schema).await.expect("a schema");
    let app = TestApp::start(&db, routes);
    (database, db, app)
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/status/{id}/{status}", web::get().to(status))
        .route("/untouched", web::get().to(untouched))
        .route("/fails/{id}", web::get().to(fails))
        .route("/panics/{id}", web::get().to(panics))
        .service(web::resource("/hangs/{id}").wrap_fn(at_most_a_second).to(hangs))
        .route("/refused", web::get().to(refused))
        .route("/aborted/{id}", web::get().to(aborted))
        .route("/held/{id}", web::get().to(held))
        .route("/task/{id}", web::get().to(task))
        .route("/nested/{id}", web::get().to(nested))
        .route("/both/{id}", web::get().to(both))
        .route("/together/{id}", web::get().to(together))
        .route("/streams/{id}", web::get().to(streams));
}

async fn insert(client: &impl GenericClient, id: i32) -> Result<u64> {
    client.execute("INSERT INTO t VALUES ($1)", &[&id]).await
}

async fn status(path: web::Path<(i32, u16)>, tx: RequestTransaction) -> Result<impl Responder> {
    insert(&tx, path.0).await?;
    Ok(HttpResponse::build(StatusCode::from_u16(path.1).expect("a status")))
}

async fn untouched(_tx: RequestTransaction, db: web::Data<Database>) -> impl Responder {
    db.status().used.to_string()
}

async fn fails(id: web::Path<i32>, tx: RequestTransaction) -> actix_web::Result<HttpResponse> {
    insert(&tx, *id).await?;
    Err(error::ErrorBadRequest("no"))
}

async fn panics(id: web::Path<i32>, tx: RequestTransaction) -> Result<HttpResponse> {
    insert(&tx, *id).await?;
    panic!("as the test wants it");
}

/// A time-out as a middleware has it: the handler's future is dropped.
fn at_most_a_second<S: Service<ServiceRequest, Error = actix_web::Error>>(
    req: ServiceRequest,
    service: &S,
) -> impl Future<Output = actix_web::Result<S::Response>> + use<S> {
    let answer = service.call(req);
    async { rt::time::timeout(Duration::from_secs(1), answer).await.map_err(error::ErrorGatewayTimeout)? }
}

async fn hangs(id: web::Path<i32>, tx: RequestTransaction) -> Result<HttpResponse> {
    insert(&tx, *id).await?;
    future::pending().await
}

async fn refused(tx: RequestTransaction) -> Result<&'static str> {
    tx.execute("INSERT INTO later VALUES (1), (1)", &[]).await?;
    Ok("done")
}

async fn aborted(id: web::Path<i32>, tx: RequestTransaction) -> Result<&'static str> {
    insert(&tx, *id).await?;
    let _ = insert(&tx, *id).await;
    Ok("done")
}

async fn held(id: web::Path<i32>, tx: RequestTransaction) -> Result<HttpResponse> {
    insert(&tx, *id).await?;
    let body = stream::once(async move {
        insert(&tx, 1000).await?;
        Ok::<_, Error>(Bytes::from_static(b"done"))
    });
    Ok(HttpResponse::Ok().streaming(body))
}

async fn task(id: web::Path<i32>, tx: RequestTransaction, db: web::Data<Database>) -> Result<HttpResponse> {
    insert(&tx, *id).await?;
    rt::spawn(async move {
        eventually("the request is over", async || db.status().used == 0).await;
        let late = insert(&tx, 1000).await;
        assert!(matches!(late, Err(Error::TransactionEnded)));
    });
    Ok(HttpResponse::NotFound().finish())
}

async fn nested(id: web::Path<i32>, tx: RequestTransaction) -> Result<&'static str> {
    insert(&tx, *id).await?;
    let inner = tx.transaction().await?;
    insert(&inner, *id).await.expect_err("a duplicate");
    inner.rollback().await?;
    insert(&tx, *id + 1).await?;
    Ok("done")
}

async fn both(
    id: web::Path<i32>,
    conn: Connection,
    tx: RequestTransaction,
    again: RequestTransaction,
) -> Result<HttpResponse> {
    insert(&conn, *id).await?;
    insert(&tx, *id + 1).await?;
    assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Transaction))));
    assert!(matches!(conn.transaction().await, Err(Error::Busy(BusyWith::Transaction))));
    insert(&conn, *id + 2).await?;
    let seen: i64 = again.query_one_scalar("SELECT count(*) FROM t", &[]).await?;
    assert_eq!(seen, 3);
    Ok(HttpResponse::BadRequest().finish())
}

async fn together(id: web::Path<i32>, tx: RequestTransaction) -> Result<&'static str> {
    let inserts = (0..10).map(|n| insert(&tx, *id + n));
    future::try_join_all(inserts).await?;
    Ok("done")
}

async fn streams(id: web::Path<i32>, conn: Connection, tx: RequestTransaction) -> Result<HttpResponse> {
    insert(&tx, *id).await?;
    let rows = conn.query_raw("SELECT generate_series(1, 100000)::text", &[]).await?;
    Ok(HttpResponse::Ok().streaming(rows.map_ok(|row| Bytes::from(row.get::<_, String>(0)))))
}

async fn ids(db: &Database) -> Vec<i32> {
    let conn = db.connection();
    conn.query_scalar("SELECT id FROM t ORDER BY id", &[]).await.expect("the ids")
}

#[actix_web::test]
async fn success_and_redirects_are_committed_and_refusals_are_rolled_back() {
    let (_database, db, app) = start(2).await;
    for (id, status) in [(1, 200), (2, 201), (3, 204), (4, 303), (5, 304)] {
        assert_eq!(app.get(&format!("/status/{id}/{status}")).await.status, status);
        assert!(ids(&db).await.contains(&id), "{status} was answered before the commit");
    }
    for (id, status) in [(11, 400), (12, 404), (13, 409), (14, 500), (15, 503)] {
        assert_eq!(app.get(&format!("/status/{id}/{status}")).await.status, status);
    }
    assert_eq!(ids(&db).await, [1, 2, 3, 4, 5]);
    app.stop().await;
}

/// P1.
#[actix_web::test]
async fn a_request_that_runs_no_statement_begins_nothing() {
    let (_database, db, app) = start(2).await;
    eventually("all is returned", async || db.status().used == 0).await;
    assert_eq!(app.get("/untouched").await.body, "0");
    app.stop().await;
}

/// Conformance 16, P3.
#[actix_web::test]
async fn errors_panics_and_cancelled_handlers_are_rolled_back() {
    let (database, db, app) = start(2).await;
    let observer = Observer::of(&database).await;
    assert_eq!(app.get("/fails/1").await.status, 400);
    assert!(awc::Client::new().get(app.url("/panics/2")).send().await.is_err());
    assert_eq!(app.get("/hangs/3").await.status, 504);
    let open = "SELECT count(*) FROM pg_stat_activity \
                WHERE state = 'idle in transaction' AND datname = current_database()";
    eventually("no transaction is open", async || {
        observer.connection().query_one_scalar::<i64>(open, &[]).await.expect("a count") == 0
    })
    .await;
    assert_eq!(ids(&db).await, [0; 0]);
    eventually("all is returned", async || db.status().used == 0).await;
    app.stop().await;
}

#[actix_web::test]
async fn a_commit_that_fails_becomes_a_5xx() {
    let (_database, db, app) = start(2).await;
    for path in ["/refused", "/aborted/1"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 500, "{path}");
        assert_eq!(answer.body, "", "{path}");
    }
    assert_eq!(ids(&db).await, [0; 0]);
    app.stop().await;
}

#[actix_web::test]
async fn a_body_that_still_holds_the_transaction_is_an_error() {
    let (_database, db, app) = start(2).await;
    assert_eq!(app.get("/held/1").await.status, 500);
    assert_eq!(app.get("/streams/2").await.status, 500);
    assert_eq!(app.get("/task/3").await.status, 404);
    assert_eq!(ids(&db).await, [0; 0]);
    eventually("all is returned", async || db.status().used == 0).await;
    app.stop().await;
}

#[actix_web::test]
async fn a_savepoint_survives_an_error() {
    let (_database, db, app) = start(2).await;
    assert_eq!(app.get("/nested/1").await.status, 200);
    assert_eq!(ids(&db).await, [1, 2]);
    app.stop().await;
}

#[actix_web::test]
async fn a_connection_beside_it_is_in_it_once_it_has_begun() {
    let (_database, db, app) = start(2).await;
    assert_eq!(app.get("/both/1").await.status, 400);
    assert_eq!(ids(&db).await, [1]);
    app.stop().await;
}

/// P2, P8.
#[actix_web::test]
async fn concurrent_first_statements_share_one_transaction() {
    let (_database, db, app) = start(2).await;
    let paths: Vec<_> = (0..8).map(|n| format!("/together/{}", n * 10)).collect();
    let requests = paths.iter().map(|path| app.get(path));
    for answer in future::join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(ids(&db).await.len(), 80);
    assert_eq!(app.get("/together/75").await.status, 500);
    assert_eq!(ids(&db).await.len(), 80);
    app.stop().await;
}

/// P14: where no session comes, all of them hear of it when the first does.
#[actix_web::test]
async fn concurrent_first_statements_wait_for_one_session() {
    async fn waits(tx: RequestTransaction) -> HttpResponse {
        let since = Instant::now();
        let inserts = future::join_all((0..4).map(|n| insert(&tx, n))).await;
        assert!(inserts.iter().all(|inserted| matches!(inserted, Err(Error::Acquire(_)))), "{inserts:?}");
        HttpResponse::Ok().body(since.elapsed().as_millis().to_string())
    }
    let database = database().await;
    let config = Config { acquire_timeout: Duration::from_millis(300), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let holder = db.connection();
    holder.execute("SELECT 1", &[]).await.expect("the only session");
    let app = TestApp::start(&db, |config| _ = config.route("/", web::get().to(waits)));
    let waited: u32 = app.get("/").await.body.parse().expect("milliseconds");
    assert!((300..550).contains(&waited), "{waited}");
    app.stop().await;
}

/// P9.
#[actix_web::test]
async fn without_the_middleware_it_is_an_error_that_names_the_remedy() {
    let app = listen!(1, || actix_web::App::new().configure(routes));
    assert_eq!(app.get("/untouched").await.status, 500);
    app.stop().await;
}
