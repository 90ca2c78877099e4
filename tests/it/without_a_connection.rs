//! Requests on which there is no connection.

use actix_pg::{Config, Connection, Database, Error, RequestTransaction, Result};
use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::{App, web};
use test_support::{TestApp, assert_whole, backend, connect, connected, database, listen, log, sized};

/// P7, case 15
#[actix_web::test]
async fn turned_off_there_is_none_and_the_pool_still_serves() {
    let database = database().await;
    let config = Config { use_connection_for_request: false, ..sized(database.config(), 1) };
    let db = connected(config).await;
    let app = TestApp::start(&db, |config| {
        let extracted = async |_: Connection| "never";
        let own = async |db: web::Data<Database>| -> Result<String> {
            let conn = db.connection();
            let pids = (backend(&conn).await, backend(&conn).await);
            assert_eq!(pids.0, pids.1);
            Ok(db.status().used.to_string())
        };
        config.route("/extracted", web::get().to(extracted)).route("/own", web::get().to(own));
    });
    let refused = app.get("/extracted").await;
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert!(
        !log::ours_with(&["ERROR", "`use_connection_for_request` is off", "`Database::connection()`"])
            .is_empty()
    );
    assert_eq!(app.get("/own").await.ok(), "1");
    assert_whole(&db).await;
    app.stop().await;
}

/// P9
#[actix_web::test]
async fn without_the_middleware_the_log_names_the_fix() {
    log::keep();
    let app = listen!(1, || App::new().route("/", web::get().to(async |_: Connection| "never")));
    let answer = app.get("/").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert!(!log::ours_with(&["ERROR", "`App::new().wrap(db.middleware())`"]).is_empty());
    app.stop().await;

    let req = TestRequest::default().to_http_request();
    assert!(matches!(Connection::extract(&req).await, Err(Error::MissingMiddleware)));
}

/// P9: a database in the app data is no middleware: nobody would end the request's connection, nor commit its transaction.
#[actix_web::test]
async fn a_database_in_the_app_data_is_no_middleware() {
    let database = database().await;
    for uses_connection in [true, false] {
        let config = Config { use_connection_for_request: uses_connection, ..sized(database.config(), 1) };
        let db = connected(config).await;
        let data = db.clone();
        let app = listen!(1, move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::Data::new(data.clone()))
                .route("/connection", web::get().to(async |_: Connection| "never"))
                .route("/transaction", web::get().to(async |_: RequestTransaction| "never"))
                .route("/data", web::get().to(async |_: web::Data<Database>| "its own"))
        });
        for path in ["/connection", "/transaction"] {
            let answer = app.get(path).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (StatusCode::INTERNAL_SERVER_ERROR, ""),
                "{path}"
            );
        }
        assert_eq!(app.get("/data").await.ok(), "its own");
        app.stop().await;

        let of = |req: TestRequest| req.to_http_request();
        let req = of(TestRequest::default().app_data(db.clone()).app_data(web::Data::new(db.clone())));
        assert!(matches!(Connection::extract(&req).await, Err(Error::MissingMiddleware)));
        assert!(matches!(RequestTransaction::extract(&req).await, Err(Error::MissingMiddleware)));
    }
}

/// P9: a middleware outside of ours meets no connection, and the log says which goes where.
#[actix_web::test]
async fn the_order_of_the_middleware_is_named() {
    use actix_web::body::MessageBody;
    use actix_web::dev::{ServiceRequest, ServiceResponse};
    use actix_web::middleware::{Next, from_fn};

    async fn needs_one(
        conn: Connection,
        req: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> std::result::Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
        backend(&conn).await;
        next.call(req).await
    }

    let (_database, db) = connect(1).await;
    for ours_is_outside in [true, false] {
        let db = db.clone();
        let app = listen!(1, move || {
            use actix_web::middleware::Condition;
            App::new()
                .wrap(Condition::new(!ours_is_outside, db.middleware()))
                .wrap(from_fn(needs_one))
                .wrap(Condition::new(ours_is_outside, db.middleware()))
                .route("/", web::get().to(async || "served"))
        });
        let status = app.get("/").await.status;
        assert_eq!(status == StatusCode::OK, ours_is_outside, "{status}");
        app.stop().await;
    }
    assert!(!log::ours_with(&["ERROR", "outside of every middleware that uses a connection"]).is_empty());
}

/// P9: only the wrapped scope has connections.
#[actix_web::test]
async fn a_route_outside_of_the_wrapped_scope_has_none() {
    let (_database, db) = connect(1).await;
    let wrapped = db.clone();
    let app = listen!(1, move || {
        let handler = async |conn: Connection| backend(&conn).await.to_string();
        App::new()
            .service(web::scope("/in").wrap(wrapped.middleware()).route("", web::get().to(handler)))
            .route("/out", web::get().to(handler))
    });
    app.get("/in").await.ok();
    assert_eq!(app.get("/out").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    app.get("/in").await.ok();
    app.stop().await;
}
