//! One connection per request, borrowed by whoever needs it first.

use std::future::{Ready, ready};

use actix_pg::{Connection, Database, Result};
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::middleware::{self, Next};
use actix_web::{App, FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::join_all;
use test_support::{Latch, TestApp, all_returned, backend, borrow_all, connect, eventually, listen, soon};

struct Another(Connection);

impl FromRequest for Another {
    type Error = actix_pg::Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Connection::from_request(req, payload).into_inner().map(Self))
    }
}

/// P1
#[actix_web::test]
async fn a_request_without_a_statement_is_answered_while_the_pool_is_exhausted() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        config
            .route("/", web::get().to(async |conn: Connection| conn.release().map(|()| "nothing borrowed")));
        config.route("/none", web::get().to(async || "nothing extracted"));
    });
    let all = borrow_all(&db).await;
    let before = db.status();
    assert_eq!(soon("an answer", app.get("/")).await.ok(), "nothing borrowed");
    assert_eq!(soon("an answer", app.get("/none")).await.ok(), "nothing extracted");
    assert_eq!(db.status(), before);
    drop(all);
    app.stop().await;
}

/// P1, case 9: extracting takes nothing, the first statement takes one session and keeps it.
#[actix_web::test]
async fn the_first_statement_borrows_and_the_others_share() {
    let (_database, db) = connect(3).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection, db: web::Data<Database>| {
            let mut used = vec![db.status().used];
            let mut backends = Vec::new();
            for _ in 0..3 {
                backends.push(backend(&conn).await);
                used.push(db.status().used);
            }
            assert!(backends.iter().all(|pid| *pid == backends[0]), "{backends:?}");
            web::Json(used)
        };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(app.get("/").await.json::<Vec<u32>>(), [0, 1, 1, 1]);
    all_returned(&db).await;
    app.stop().await;
}

/// P2
#[actix_web::test]
async fn all_connections_of_a_request_are_one() {
    let (_database, db) = connect(4).await;
    let wrapped = db.clone();
    let app = listen!(2, move || {
        let handler = async |conn: Connection,
                             another: Another,
                             req: HttpRequest,
                             of_middleware: web::ReqData<i32>,
                             db: web::Data<Database>| {
            let clone = conn.clone();
            let late = Connection::extract(&req).await.expect("a connection");
            let pids = [
                *of_middleware,
                backend(&conn).await,
                backend(&another.0).await,
                backend(&clone).await,
                backend(&late).await,
                backend(&db.connection_for(&req)).await,
            ];
            assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
            db.status().used.to_string()
        };
        App::new()
            .wrap(middleware::from_fn(async |mut req: ServiceRequest, next: Next<BoxBody>| {
                let conn = req.extract::<Connection>().await?;
                let pid = backend(&conn).await;
                req.extensions_mut().insert(pid);
                next.call(req).await
            }))
            .wrap(wrapped.middleware())
            .route("/", web::get().to(handler))
    });
    assert_eq!(app.get("/").await.ok(), "1");
    all_returned(&db).await;
    app.stop().await;
}

/// P2: concurrent first users wait for the same borrow.
#[actix_web::test]
async fn concurrent_first_users_wait_for_one_borrow() {
    let (_database, db) = connect(2).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| {
            let pids = join_all((0..5).map(|_| backend(&conn))).await;
            assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
            "one"
        };
        config.route("/", web::get().to(handler));
    });
    let mut all = borrow_all(&db).await;
    let client = async {
        assert_eq!(app.get("/").await.ok(), "one");
    };
    let release = async {
        eventually("the request waits", async || db.status().pending_requests == 1).await;
        all.pop();
    };
    tokio::join!(client, release);
    assert_eq!(db.status().pending_requests, 0);
    drop(all);
    app.stop().await;
}

/// P2: whoever waits for the shared borrow may give up without the others noticing.
#[actix_web::test]
async fn the_first_of_several_waiters_may_give_up() {
    let (_database, db) = connect(1).await;
    let all = borrow_all(&db).await;
    let conn = db.connection();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let conn = conn.clone();
            tokio::spawn(async move { backend(&conn).await })
        })
        .collect();
    eventually("they wait", async || db.status().pending_requests == 1).await;
    waiting[0].abort();
    tokio::task::yield_now().await;
    drop(all);
    for (i, task) in waiting.into_iter().enumerate() {
        let waited = soon("a backend", task).await;
        assert_eq!(waited.is_err(), i == 0);
    }
    drop(conn);
    all_returned(&db).await;
}

/// P2: requests that run at the same time do not share.
#[actix_web::test]
async fn two_requests_have_two_sessions() {
    let (_database, db) = connect(2).await;
    let both = Latch::new();
    let app = TestApp::start(&db, move |config| {
        let handler = move |conn: Connection| {
            let both = both.clone();
            async move {
                let pid = backend(&conn).await;
                both.hit();
                both.reached(2).await;
                pid.to_string()
            }
        };
        config.route("/", web::get().to(handler));
    });
    let (one, two) = tokio::join!(app.get("/"), app.get("/"));
    assert_ne!(one.ok(), two.ok());
    app.stop().await;
}
