//! However a request ends, its session goes back, and clean.

use std::time::Duration;

use actix_pg::{Connection, Database, Result};
use actix_web::body::{BodyStream, BoxBody};
use actix_web::dev::ServiceRequest;
use actix_web::error::ErrorRequestTimeout;
use actix_web::http::StatusCode;
use actix_web::middleware::{self, Next};
use actix_web::{App, HttpRequest, HttpResponse, error, web};
use futures_util::{StreamExt, TryStreamExt, stream};
use test_support::{
    Latch, Observer, TestApp, Wire, all_returned, assert_whole, backend, borrow_all, connect, eventually,
    listen, soon,
};

/// P3, case 16: a response, a handler's error, a statement's error and a panic.
#[actix_web::test]
async fn a_session_comes_back_however_the_handler_ends() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let fine = async |conn: Connection| backend(&conn).await.to_string();
        let failed = async |conn: Connection| {
            backend(&conn).await;
            Err::<&str, _>(error::ErrorImATeapot("short and stout"))
        };
        let refused = async |conn: Connection| -> Result<&'static str> {
            conn.execute("SELECT 1 / 0", &[]).await?;
            Ok("never")
        };
        let panicked = async |conn: Connection| -> &'static str {
            backend(&conn).await;
            panic!("as handlers do")
        };
        config
            .route("/fine", web::get().to(fine))
            .route("/failed", web::get().to(failed))
            .route("/refused", web::get().to(refused))
            .route("/panicked", web::get().to(panicked));
    });
    let pid = app.get("/fine").await.ok();
    for _ in 0..3 {
        assert_eq!(app.get("/failed").await.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(app.get("/refused").await.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(app.try_get("/panicked").await.is_err());
        assert_eq!(soon("an answer", app.get("/fine")).await.ok(), pid);
    }
    assert_whole(&db).await;
    app.stop().await;
}

/// P3: the session is back when the head is sent, though the body takes its time.
#[actix_web::test]
async fn a_session_comes_back_before_the_body() {
    let (_database, db) = connect(1).await;
    let (read, seen) = (Latch::new(), Latch::new());
    let app = {
        let (read, seen) = (read.clone(), seen.clone());
        TestApp::start(&db, move |config| {
            let handler = move |conn: Connection, req: HttpRequest, db: web::Data<Database>| {
                let (read, seen) = (read.clone(), seen.clone());
                async move {
                    backend(&conn).await;
                    let rest = stream::once(async move {
                        seen.hit();
                        read.open().await;
                        // Neither the request nor its handle keeps the session.
                        let _kept = (req, conn);
                        Ok::<_, error::Error>(web::Bytes::from(db.status().used.to_string()))
                    });
                    HttpResponse::Ok().streaming(rest)
                }
            };
            config.route("/", web::get().to(handler));
        })
    };
    let client = app.get("/");
    let others = async {
        seen.open().await;
        all_returned(&db).await;
        read.hit();
    };
    let (answer, ()) = tokio::join!(client, others);
    assert_eq!(answer.ok(), "0");
    app.stop().await;
}

/// P3: a row stream that is the body keeps the session until it has been read.
#[actix_web::test]
async fn a_row_stream_that_outlives_its_handler_keeps_the_session() {
    let (_database, db) = connect(1).await;
    let more = Latch::new();
    let app = {
        let more = more.clone();
        TestApp::start(&db, move |config| {
            let handler = move |conn: Connection| {
                let more = more.clone();
                async move {
                    let sql = "SELECT i || '|' FROM generate_series(1, 3) i";
                    let rows = conn.query_raw(sql, &[]).await?;
                    let rows = rows.and_then(move |row| {
                        let more = more.clone();
                        async move {
                            more.open().await;
                            Ok(web::Bytes::from(row.get::<_, String>(0)))
                        }
                    });
                    Ok::<_, actix_pg::Error>(HttpResponse::Ok().streaming(rows))
                }
            };
            config.route("/", web::get().to(handler));
        })
    };
    let mut wire = Wire::to(&app).await;
    wire.send("/").await;
    wire.read_until("\r\n\r\n").await;
    assert_eq!(db.status().used, 1);
    more.hit();
    assert!(wire.read_until("3|").await.contains("1|"));
    all_returned(&db).await;
    drop(wire);
    app.stop().await;
}

/// P3, case 16: a middleware outside of ours gives up on the handler in the middle of a statement.
#[actix_web::test]
async fn a_handler_that_is_cancelled_leaves_no_statement_behind() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let give_up = Latch::new();
    let app = {
        let (db, give_up) = (db.clone(), give_up.clone());
        listen!(2, move || {
            let give_up = give_up.clone();
            let handler = async |conn: Connection| -> Result<&'static str> {
                conn.execute("SELECT pg_sleep(3600)", &[]).await?;
                Ok("never")
            };
            App::new()
                .wrap(db.middleware())
                .wrap(middleware::from_fn(move |req: ServiceRequest, next: Next<BoxBody>| {
                    let give_up = give_up.clone();
                    async move {
                        tokio::select! {
                            answer = next.call(req) => answer,
                            () = give_up.open() => Err(ErrorRequestTimeout("too late")),
                        }
                    }
                }))
                .route("/", web::get().to(handler))
        })
    };
    let client = app.get("/");
    let others = async {
        observer.sees("pg_sleep(3600)").await;
        give_up.hit();
    };
    let (answer, ()) = tokio::join!(client, others);
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_whole(&db).await;
    assert_eq!(observer.running("pg_sleep(3600)").await, 0);
    app.stop().await;
}

/// P3, case 16: the client hangs up in the middle of a statement, and the server is told to notice.
#[actix_web::test]
async fn a_client_that_hangs_up_leaves_no_statement_behind() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let app = {
        let db = db.clone();
        let handler = async |conn: Connection| -> Result<&'static str> {
            conn.execute("SELECT pg_sleep(3601)", &[]).await?;
            Ok("never")
        };
        let factory = move || App::new().wrap(db.middleware()).route("/", web::get().to(handler));
        listen!(2, factory, h1_allow_half_closed(false))
    };
    let mut wire = Wire::to(&app).await;
    wire.send("/").await;
    observer.sees("pg_sleep(3601)").await;
    drop(wire);
    assert_whole(&db).await;
    assert_eq!(observer.running("pg_sleep(3601)").await, 0);
    app.stop().await;
}

/// P3, case 16: the client hangs up in the middle of a body that is read from the server.
#[actix_web::test]
async fn a_client_that_hangs_up_in_mid_stream_leaves_no_query_behind() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| {
            let sql = "SELECT repeat('x', 1000 + 0 * generate_series(1, 100000000))";
            let rows = conn.query_raw(sql, &[]).await?;
            let rows = rows.map_ok(|row| web::Bytes::from(row.get::<_, String>(0)));
            Ok::<_, actix_pg::Error>(HttpResponse::Ok().body(BodyStream::new(rows)))
        };
        config.route("/", web::get().to(handler));
    });
    let mut wire = Wire::to(&app).await;
    wire.send("/").await;
    wire.read_until("xxx").await;
    assert_eq!(db.status().used, 1);
    drop(wire);
    assert_whole(&db).await;
    assert_eq!(observer.running("generate_series(1, 100000000)").await, 0);
    app.stop().await;
}

/// P3, case 16: a handler that is cancelled while it waits for a session takes none.
#[actix_web::test]
async fn a_request_that_ends_while_it_waits_takes_no_session() {
    let (_database, db) = connect(1).await;
    let app = {
        let db = db.clone();
        let handler = async |conn: Connection| backend(&conn).await.to_string();
        let factory = move || App::new().wrap(db.middleware()).route("/", web::get().to(handler));
        listen!(2, factory, h1_allow_half_closed(false))
    };
    let all = borrow_all(&db).await;
    let mut wire = Wire::to(&app).await;
    wire.send("/").await;
    eventually("it waits", async || db.status().pending_requests == 1).await;
    drop(wire);
    eventually("nobody waits", async || db.status().pending_requests == 0).await;
    drop(all);
    assert_whole(&db).await;
    app.stop().await;
}

/// P3: with a `client()` guard still alive the session stays, and goes back with it.
#[actix_web::test]
async fn a_client_guard_that_outlives_its_request_keeps_the_session() {
    let (_database, db) = connect(1).await;
    let (send, mut guards) = tokio::sync::mpsc::unbounded_channel();
    let app = TestApp::start(&db, move |config| {
        let handler = move |conn: Connection| {
            let send = send.clone();
            async move {
                send.send(conn.client().await.expect("a client")).expect("a receiver");
                "lent"
            }
        };
        config.route("/", web::get().to(handler));
    });
    app.get("/").await.ok();
    let guard = guards.recv().await.expect("a guard");
    assert_eq!(db.status().used, 1);
    guard.query_one("SELECT 1", &[]).await.expect("a living session");
    drop(guard);
    assert_whole(&db).await;
    app.stop().await;
}

/// P3: the rows that were read are the client's, whatever becomes of the session.
#[actix_web::test]
async fn a_stream_that_is_dropped_early_frees_the_session_for_the_same_request() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            let sql = "SELECT generate_series(1, 10000000)";
            let first: Vec<i32> = conn
                .query_raw(sql, &[])
                .await?
                .take(2)
                .map_ok(|row| row.get::<_, i32>(0))
                .try_collect()
                .await?;
            Ok(format!("{first:?} {}", conn.query_one_scalar::<i32>("SELECT 3", &[]).await?))
        };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(soon("an answer", app.get("/")).await.ok(), "[1, 2] 3");
    tokio::time::timeout(Duration::from_secs(20), assert_whole(&db)).await.expect("a whole pool");
    app.stop().await;
}
