//! An application may have several databases.

use std::time::{Duration, Instant};

use actix_pg::{
    Config, Connection, ConnectionExt, Database, Error, GenericClient, Main, RequestTransaction, Result,
    assert_statements, health,
};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::TestRequest;
use actix_web::{App, FromRequest, HttpRequest, web};
use test_support::{
    Proxy, TestApp, assert_whole, connect, connected, database, eventually, listen, log, sized, soon,
};

const NAME: &str = "SELECT current_database()::text";

struct Second(Database);

/// The name of a database, of which no value is ever made.
enum Reports {}

/// A shop and its reports, both behind their middleware.
macro_rules! app_of {
    ($shop:expr, $reports:expr $(, $call:ident($($value:expr),*))* $(,)?) => {{
        let (shop, reports) = ($shop.clone(), $reports.clone());
        listen!(3, move || {
            App::new().wrap(shop.middleware()).wrap(reports.middleware())$(.$call($($value),*))*
        })
    }};
}

async fn name_of(client: &impl GenericClient) -> Result<String> {
    client.query_one_scalar(NAME, &[]).await
}

/// Case 22: each has its own connection on the request, and both go back.
#[actix_web::test]
async fn both_sessions_of_a_request_go_back() {
    let (first_database, first) = connect(1).await;
    let (second_database, second) = connect(1).await;
    let app: TestApp = {
        let (first, second) = (first.clone(), second.clone());
        listen!(2, move || {
            let handler = async |conn: Connection, req: HttpRequest, other: web::Data<Second>| {
                let other_conn = other.0.connection_for(&req);
                let names: (String, String) = (
                    conn.query_one_scalar(NAME, &[]).await.expect("a name"),
                    other_conn.query_one_scalar(NAME, &[]).await.expect("a name"),
                );
                // The same one when asked for again: the pool has no other.
                let again = other.0.connection_for(&req);
                again.query("SELECT 1", &[]).await.expect("the same session");
                assert_eq!(other.0.status().used, 1);
                format!("{} {}", names.0, names.1)
            };
            let second_data = web::Data::new(Second(second.clone()));
            App::new()
                .app_data(second_data)
                .wrap(first.middleware())
                .wrap(second.middleware())
                .route("/", web::get().to(handler))
        })
    };
    for _ in 0..5 {
        let expected = format!("{} {}", first_database.name(), second_database.name());
        assert_eq!(app.get("/").await.ok(), expected, "the extractor is that of the innermost middleware");
        assert_whole(&first).await;
        assert_whole(&second).await;
    }
    app.stop().await;
}

/// Case 22: one is exhausted, the other serves.
#[actix_web::test]
async fn one_that_is_exhausted_is_no_matter_to_the_other() {
    let (_first_database, first) = connect(1).await;
    let (_second_database, second) = connect(1).await;
    let held = first.connection();
    held.query("SELECT 1", &[]).await.expect("a session");
    second.connection().query("SELECT 1", &[]).await.expect("a session of its own");
    assert_eq!(first.status().used, 1);
}

/// On every worker, each handler has the connections that its arguments name, and each goes back to its own pool.
#[actix_web::test]
async fn each_handler_has_the_databases_that_its_types_name() {
    let (shop_database, shop) = connect(1).await;
    let (reports_database, reports) = connect(1).await;
    let reports: Database<Reports> = reports.named();
    let app = app_of!(
        shop,
        reports,
        route("/shop", web::get().to(async |conn: Connection| name_of(&conn).await)),
        route("/reports", web::get().to(async |conn: Connection<Reports>| name_of(&conn).await)),
        route("/both", web::get().to(both)),
        route("/data", web::get().to(data)),
    );
    let (one, other) = (shop_database.name(), reports_database.name());
    for _ in 0..6 {
        assert_eq!(app.get("/shop").await.ok(), one);
        assert_eq!(app.get("/reports").await.ok(), other);
        assert_eq!(app.get("/both").await.ok(), format!("{one} {other} {one} {other}"));
        assert_eq!(app.get("/data").await.ok(), format!("{one} {other}"));
        assert_whole(&shop).await;
        assert_whole(&reports.named::<Main>()).await;
    }
    app.stop().await;
}

/// Each pool has one session, so a second connection to the same database would wait for ever.
async fn both(conn: Connection, reports: Connection<Reports>, req: HttpRequest) -> Result<String> {
    let names = [
        name_of(&conn).await?,
        name_of(&reports).await?,
        name_of(&req.connection()?).await?,
        name_of(&req.named_connection::<Reports>()?.with_timeout(Duration::from_secs(5))).await?,
    ];
    reports.transact(async |tx| tx.query("SELECT 1", &[]).await).await?;
    let tx = reports.build_transaction().read_only(true).begin().await?;
    assert!(matches!(reports.release(), Err(Error::Busy(_))));
    conn.release()?;
    tx.rollback().await?;
    Ok(names.join(" "))
}

async fn data(
    shop: web::Data<Database>,
    reports: web::Data<Database<Reports>>,
    req: HttpRequest,
) -> Result<String> {
    let conn: Connection<Reports> = reports.connection_for(&req);
    let name = name_of(&conn).await?;
    assert_eq!(reports.status().used, 1);
    assert_eq!(name_of(&req.named_connection::<Reports>()?).await?, name, "the same session");
    Ok(format!("{} {name}", shop.query_one_scalar::<String>(NAME, &[]).await?))
}

/// One name on two middlewares is the innermost one's, as without a name.
#[actix_web::test]
async fn a_name_that_two_databases_have_is_the_innermost() {
    let (first_database, first) = connect(1).await;
    let (_second_database, second) = connect(1).await;
    let app = app_of!(
        first.named::<Reports>(),
        second.named::<Reports>(),
        route("/", web::get().to(async |conn: Connection<Reports>| name_of(&conn).await)),
    );
    assert_eq!(app.get("/").await.ok(), first_database.name());
    app.stop().await;
}

/// Two names of one pool are one database: a request has one session of it.
#[actix_web::test]
async fn two_names_of_one_pool_share_the_session_of_a_request() {
    let (_database, db) = connect(1).await;
    let reports = db.named::<Reports>();
    assert!(db.shares_pool_with(&reports));
    let handler = async |conn: Connection, reports: Connection<Reports>| -> Result<&'static str> {
        let pid = "SELECT pg_backend_pid()";
        let (one, other) = futures_util::future::join(
            conn.query_one_scalar::<i32>(pid, &[]),
            reports.query_one_scalar::<i32>(pid, &[]),
        )
        .await;
        assert_eq!(one?, other?);
        Ok("one")
    };
    let app = app_of!(db, reports, route("/", web::get().to(handler)));
    assert_eq!(app.get("/").await.ok(), "one");
    assert_whole(&db).await;
    app.stop().await;
}

/// A database that is down costs those who ask for it a 503, and nobody else anything.
#[actix_web::test]
async fn one_that_is_down_is_no_matter_to_the_other() {
    let (_shop_database, shop) = connect(2).await;
    let reports_database = database().await;
    let (proxy, config) = Proxy::to(&reports_database).await;
    let reports = connected(Config { connect_timeout: Duration::from_secs(5), ..sized(config, 2) }).await;
    let reports = reports.named::<Reports>();
    let app = app_of!(
        shop,
        reports,
        route("/shop", web::get().to(async |conn: Connection, _: Connection<Reports>| name_of(&conn).await)),
        route("/reports", web::get().to(async |conn: Connection<Reports>| name_of(&conn).await)),
        route("/ready", web::get().to(health::ready)),
        route("/ready/reports", web::get().to(health::ready_of::<Reports>)),
    );
    let statuses = async || {
        let mut statuses = Vec::new();
        for path in ["/shop", "/reports", "/ready", "/ready/reports"] {
            statuses.push(app.get(path).await.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 200, 200, 200]);

    proxy.refuse();
    proxy.cut();
    eventually("the reports are down", async || app.get("/reports").await.status == 503).await;
    for _ in 0..4 {
        let since = Instant::now();
        assert_eq!(statuses().await, [200, 503, 200, 503]);
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }
    let borrows = shop.status();
    assert_eq!((borrows.pending_requests, borrows.counters.timeouts), (0, 0));

    proxy.heal();
    eventually("the reports are back", async || app.get("/reports").await.status == 200).await;
    assert_eq!(statuses().await, [200, 200, 200, 200]);
    app.stop().await;
}

async fn insert(client: &impl GenericClient, id: i32) -> Result<u64> {
    client.execute("INSERT INTO t VALUES ($1)", &[&id]).await
}

/// The middleware of another database is none of the one that is named. The log says which is missing.
#[actix_web::test]
async fn a_middleware_that_is_missing_is_named() {
    enum Forgotten {}

    let (_database, db) = connect(1).await;
    let (shop, reports) = (db.clone(), db.named::<Reports>());
    let app = app_of!(
        shop,
        reports,
        route("/connection", web::get().to(async |_: Connection<Forgotten>| "never")),
        route("/transaction", web::get().to(async |_: RequestTransaction<Forgotten>| "never")),
    );
    for path in ["/connection", "/transaction"] {
        let answer = app.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, ""), "{path}");
    }
    let lines = log::ours_with(&["ERROR", "Forgotten`", "Database<", "`.wrap` is the outermost"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    app.stop().await;

    let named = listen!(1, move || {
        App::new().wrap(reports.middleware()).route("/", web::get().to(async |_: Connection| "never"))
    });
    assert_eq!(named.get("/").await.status, 500, "a named one is not the one without a name");
    named.stop().await;

    let req = TestRequest::default().app_data(web::Data::new(db.named::<Reports>())).to_http_request();
    let of_reports =
        |err: &Error| matches!(err, Error::MissingMiddlewareOf(name) if name.ends_with("::Reports"));
    assert!(of_reports(&Connection::<Reports>::extract(&req).await.expect_err("none")));
    assert!(of_reports(&req.named_connection::<Reports>().expect_err("none")));
    assert!(matches!(req.named_connection::<Main>(), Err(Error::MissingMiddleware)));
}

/// A middleware of the application's between them sees the connection of the outer one alone.
#[actix_web::test]
async fn a_middleware_between_them_has_the_outer_connection() {
    async fn between(
        req: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
        assert!(matches!(req.connection(), Err(Error::MissingMiddleware)));
        req.named_connection::<Reports>()?.set_config("app.tenant", "42")?;
        next.call(req).await
    }

    let (_shop_database, shop) = connect(1).await;
    let (_reports_database, reports) = connect(1).await;
    let reports = reports.named::<Reports>();
    let handler = async |conn: Connection, reports: Connection<Reports>| -> Result<String> {
        let sql = "SELECT coalesce(current_setting('app.tenant', true), 'none')";
        let tenants: (String, String) =
            (conn.query_one_scalar(sql, &[]).await?, reports.query_one_scalar(sql, &[]).await?);
        Ok(format!("{} {}", tenants.0, tenants.1))
    };
    let app = listen!(1, move || {
        App::new()
            .wrap(shop.middleware())
            .wrap(from_fn(between))
            .wrap(reports.middleware())
            .route("/", web::get().to(handler))
    });
    assert_eq!(app.get("/").await.ok(), "none 42");
    app.stop().await;
}

/// A sandbox has the name of its database.
#[actix_web::test]
async fn each_may_be_a_sandbox() {
    let (_shop_database, shop) = connect(1).await;
    let (_reports_database, reports) = connect(1).await;
    for db in [&shop, &reports] {
        db.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a schema");
    }
    let reports = reports.named::<Reports>();
    let sandbox: Database<Reports> = reports.sandbox().await.expect("a sandbox");
    let handler = async |shop: Connection, reports: Connection<Reports>| -> Result<String> {
        Ok(format!("{} {}", insert(&shop, 1).await?, insert(&reports, 1).await?))
    };
    let app = app_of!(shop, sandbox, route("/", web::get().to(handler)));
    let answer = assert_statements!(1, sandbox, soon("an answer", app.get("/")).await);
    assert_eq!(answer.ok(), "1 1");
    let count = "SELECT count(*) FROM t";
    assert_eq!(sandbox.query_one_scalar::<i64>(count, &[]).await.expect("a count"), 1);
    sandbox.close().await;
    assert_eq!(reports.query_one_scalar::<i64>(count, &[]).await.expect("a count"), 0);
    assert_eq!(shop.query_one_scalar::<i64>(count, &[]).await.expect("a count"), 1, "it is in no sandbox");
    app.stop().await;
}

/// What is called by its path means the database without a name: nobody has to write a type for it.
#[actix_web::test]
async fn a_path_means_the_database_without_a_name() {
    let database = database().await;
    let db = Database::connect(sized(database.config(), 1)).await.expect("a database");
    let built = Database::builder(sized(database.config(), 1)).connect().await.expect("a database");
    assert!(!db.shares_pool_with(&built));
    assert!(!Database::shares_pool_with(&db, &built));

    let req = TestRequest::default().to_http_request();
    assert!(matches!(Connection::extract(&req).await, Err(Error::MissingMiddleware)));
    assert!(matches!(RequestTransaction::extract(&req).await, Err(Error::MissingMiddleware)));
    let mut payload = actix_web::dev::Payload::None;
    assert!(Connection::from_request(&req, &mut payload).await.is_err());
    assert!(RequestTransaction::from_request(&req, &mut payload).await.is_err());

    // A function that was written for one database takes a named one.
    async fn answer(db: &Database) -> Result<i32> {
        db.query_one_scalar("SELECT 42", &[]).await
    }
    assert_eq!(answer(&built.named::<Reports>().named()).await.expect("an answer"), 42);
    let statuses: Vec<u32> = [db, built].iter().map(Database::status).map(|status| status.max).collect();
    assert_eq!(statuses, [1, 1]);
}
