//! A handle that outlives its request works, and pins nothing.

use std::time::Duration;

use actix_pg::{Connection, Database, Result};
use actix_web::{HttpResponse, rt, web};
use futures_util::{StreamExt, TryStreamExt, stream};
use test_support::{
    Latch, TestApp, all_returned, assert_whole, backend, borrow_all, connect, eventually, soon,
};

/// P4: a streaming body uses the handle after the head has been sent.
#[actix_web::test]
async fn a_streaming_body_borrows_for_each_statement() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection, db: web::Data<Database>| -> Result<HttpResponse> {
            let before: i32 = conn.query_one_scalar("SELECT 0", &[]).await?;
            let head = format!("{before} used {};", db.status().used);
            let rest = stream::iter(1..=3).then(move |number: i32| {
                let (conn, db) = (conn.clone(), db.clone());
                async move {
                    let number: i32 = conn.query_one_scalar("SELECT $1::int", &[&number]).await?;
                    all_returned(&db).await;
                    Ok(format!("{number} used {};", db.status().used))
                }
            });
            let body = stream::iter([Ok(head)]).chain(rest).map_ok(web::Bytes::from);
            Ok(HttpResponse::Ok().streaming::<_, actix_pg::Error>(body))
        };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(app.get("/").await.ok(), "0 used 1;1 used 0;2 used 0;3 used 0;");
    assert_whole(&db).await;
    app.stop().await;
}

/// P4, case 27: what a WebSocket's task does, request after request is served beside it.
#[actix_web::test]
async fn a_spawned_task_borrows_for_each_statement() {
    let (_database, db) = connect(1).await;
    let (answered, asked, done) = (Latch::new(), Latch::new(), Latch::new());
    let app = {
        let (answered, asked, done) = (answered.clone(), asked.clone(), done.clone());
        TestApp::start(&db, move |config| {
            let socket = move |conn: Connection| {
                let (answered, asked, done) = (answered.clone(), asked.clone(), done.clone());
                async move {
                    backend(&conn).await;
                    rt::spawn(async move {
                        for message in 1..=5 {
                            asked.reached(message).await;
                            backend(&conn).await;
                            answered.hit();
                        }
                        done.hit();
                    });
                    "switched"
                }
            };
            let plain = async |conn: Connection| backend(&conn).await.to_string();
            config.route("/socket", web::get().to(socket)).route("/", web::get().to(plain));
        })
    };
    assert_eq!(app.get("/socket").await.ok(), "switched");
    all_returned(&db).await;
    for message in 1..=5 {
        soon("an answer", app.get("/")).await.ok();
        asked.hit();
        answered.reached(message).await;
        all_returned(&db).await;
    }
    done.open().await;
    assert_whole(&db).await;
    app.stop().await;
}

/// P4: statements of a detached handle may run side by side, each on a session of its own.
#[actix_web::test]
async fn detached_statements_do_not_share() {
    let (_database, db) = connect(2).await;
    let (send, mut handles) = tokio::sync::mpsc::unbounded_channel();
    let app = TestApp::start(&db, move |config| {
        let handler = move |conn: Connection| {
            send.send(conn).expect("a receiver");
            async { "gone" }
        };
        config.route("/", web::get().to(handler));
    });
    app.get("/").await.ok();
    let conn = handles.recv().await.expect("a handle");
    let (one, two) = (conn.client().await.expect("one"), conn.client().await.expect("two"));
    assert_eq!(db.status().used, 2);
    conn.release().expect("nothing to give back");
    drop((one, two));
    all_returned(&db).await;

    // It waits its turn like anybody else.
    let all = borrow_all(&db).await;
    let late = tokio::spawn(async move { backend(&conn).await });
    eventually("it waits", async || db.status().pending_requests == 1).await;
    drop(all);
    soon("a backend", late).await.expect("a joined task");
    assert_whole(&db).await;
    app.stop().await;
}

/// P4, P6: a handle that was closed stays closed when the request is over.
#[actix_web::test]
async fn a_closed_handle_stays_closed() {
    let (_database, db) = connect(1).await;
    let (send, mut handles) = tokio::sync::mpsc::unbounded_channel();
    let app = TestApp::start(&db, move |config| {
        let handler = move |conn: Connection| {
            let closed = conn.close();
            send.send(conn).expect("a receiver");
            async move { closed.map(|()| "closed") }
        };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(app.get("/").await.ok(), "closed");
    let conn = handles.recv().await.expect("a handle");
    assert!(matches!(conn.execute("SELECT 1", &[]).await, Err(actix_pg::Error::ConnectionClosed)));
    app.stop().await;
}

/// P4, P11, P14: a statement that waits when its request ends keeps its turn, and so its bound.
#[actix_web::test]
async fn a_statement_that_outlives_its_request_keeps_its_turn() {
    let (_database, db) = connect(1).await;
    let answered = Latch::new();
    let app = {
        let answered = answered.clone();
        TestApp::start(&db, move |config| {
            let handler = move |conn: Connection, db: web::Data<Database>| {
                let answered = answered.clone();
                async move {
                    for _ in 0..2 {
                        let (conn, answered) = (conn.clone(), answered.clone());
                        rt::spawn(async move {
                            backend(&conn).await;
                            answered.hit();
                        });
                    }
                    eventually("they wait", async || db.status().pending_requests == 1).await;
                    "over"
                }
            };
            config.route("/", web::get().to(handler));
        })
    };
    let held = db.connection().client().await.expect("the only session");
    assert_eq!(app.get("/").await.ok(), "over");
    // Longer than the lead that one of another runtime may have: so neither those who wait lose it to the later one here, nor the
    // later one, below, to a statement that has to queue again.
    let lead = Duration::from_millis(20);
    tokio::time::sleep(lead).await;
    let later = {
        let conn = db.connection();
        tokio::spawn(async move { conn.client().await })
    };
    eventually("it waits behind them", async || db.status().pending_requests == 2).await;
    tokio::time::sleep(lead).await;
    drop(held);
    let later = soon("its turn", later).await.expect("joined").expect("a session");
    // One had the turn of both; the other one borrows by itself.
    soon("the first", answered.open()).await;
    assert_eq!(answered.hits(), 1);
    drop(later);
    soon("the other one", answered.reached(2)).await;
    assert_whole(&db).await;
    app.stop().await;
}
