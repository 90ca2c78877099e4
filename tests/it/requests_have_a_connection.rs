//! Code that has a request and no extractor gets the connection of that request.

use actix_pg::{Config, Connection, ConnectionExt, Database, Error, Result};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::test::TestRequest;
use actix_web::{App, HttpRequest, web};

use test_support::{TestApp, assert_whole, backend, connect, database, listen, sized};

/// P2: it is that of the extractor. There is one session, so another one would wait for ever.
#[actix_web::test]
async fn a_request_gives_the_connection_of_its_extractors() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler =
            async |req: HttpRequest, extracted: Connection, db: web::Data<Database>| -> Result<String> {
                assert_eq!(db.status().used, 0, "nothing is borrowed before the first statement");
                let conn = req.connection()?;
                assert_eq!(backend(&conn).await, backend(&extracted).await);
                conn.close()?;
                Ok(matches!(extracted.execute("SELECT 1", &[]).await, Err(Error::ConnectionClosed))
                    .to_string())
            };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(app.get("/").await.ok(), "true");
    assert_whole(&db).await;
    app.stop().await;
}

/// P2: what a middleware sets is in force in the handler, on the same session.
#[actix_web::test]
async fn a_middleware_from_a_function_shares_it_with_the_handler() {
    async fn named(
        req: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
        let conn = req.connection()?;
        conn.set_config("app.backend", &backend(&conn).await.to_string())?;
        next.call(req).await
    }

    async fn handler(conn: Connection) -> Result<String> {
        conn.query_one_scalar("SELECT (current_setting('app.backend') = pg_backend_pid()::text)::text", &[])
            .await
    }

    let (_database, db) = connect(1).await;
    for ours_is_outside in [true, false] {
        let wrapped = db.clone();
        let app = listen!(1, move || {
            use actix_web::middleware::Condition;
            App::new()
                .wrap(Condition::new(!ours_is_outside, wrapped.middleware()))
                .wrap(from_fn(named))
                .wrap(Condition::new(ours_is_outside, wrapped.middleware()))
                .route("/", web::get().to(handler))
        });
        let answer = app.get("/").await;
        if ours_is_outside {
            assert_eq!(answer.ok(), "true");
        } else {
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "it is outside of ours");
        }
        app.stop().await;
    }
    assert_whole(&db).await;
}

/// P9
#[actix_web::test]
async fn without_the_middleware_it_is_an_error() {
    let missing = |conn: Result<Connection>| matches!(conn, Err(Error::MissingMiddleware));
    assert!(missing(TestRequest::default().to_http_request().connection()));
    assert!(missing(TestRequest::default().to_srv_request().connection()));
}

/// P7
#[actix_web::test]
async fn turned_off_it_is_an_error_that_says_so() {
    async fn refused(
        req: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
        assert!(matches!(req.connection(), Err(Error::NoRequestConnection)));
        next.call(req).await
    }

    let database = database().await;
    let config = Config { use_connection_for_request: false, ..sized(database.config(), 1) };
    let db = Database::connect(config).await.expect("a connected database");
    let app = listen!(1, move || {
        App::new().wrap(from_fn(refused)).wrap(db.middleware()).route("/", web::get().to(async || "served"))
    });
    assert_eq!(app.get("/").await.ok(), "served");
    app.stop().await;
}

/// Case 22: a middleware reaches the request's connection to any database, which is the handler's too.
#[actix_web::test]
async fn a_middleware_may_ask_for_another_database() {
    #[derive(Clone)]
    struct Second(Database);

    async fn closing(
        second: web::Data<Second>,
        req: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
        second.0.connection_for(&req).close()?;
        next.call(req).await
    }

    async fn handler(conn: Connection, second: web::Data<Second>, req: HttpRequest) -> Result<String> {
        backend(&conn).await;
        let closed = second.0.connection_for(&req).execute("SELECT 1", &[]).await;
        Ok(matches!(closed, Err(Error::ConnectionClosed)).to_string())
    }

    let (_first_database, first) = connect(1).await;
    let (_second_database, second) = connect(1).await;
    let app = listen!(1, move || {
        App::new()
            .app_data(web::Data::new(Second(second.clone())))
            .wrap(from_fn(closing))
            .wrap(first.middleware())
            .wrap(second.middleware())
            .route("/", web::get().to(handler))
    });
    assert_eq!(app.get("/").await.ok(), "true");
    app.stop().await;
}
