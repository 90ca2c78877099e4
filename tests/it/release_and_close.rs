//! Giving the session back before the request ends.

use std::pin::pin;

use actix_pg::{BusyWith, Connection, Database, Error, Result};
use actix_web::http::StatusCode;
use actix_web::web;
use futures_util::TryStreamExt;
use futures_util::future::poll_immediate;
use test_support::{
    Latch, Observer, TestApp, all_returned, assert_whole, backend, borrow_all, connect, eventually, log, soon,
};

/// P5, case 11
#[actix_web::test]
async fn a_released_session_serves_others_until_the_next_statement() {
    let (_database, db) = connect(1).await;
    let (released, go_on) = (Latch::new(), Latch::new());
    let app = {
        let (released, go_on) = (released.clone(), go_on.clone());
        TestApp::start(&db, move |config| {
            let slow = move |conn: Connection, db: web::Data<Database>| {
                let (released, go_on) = (released.clone(), go_on.clone());
                async move {
                    conn.release()?;
                    backend(&conn).await;
                    conn.release()?;
                    conn.release()?;
                    assert_eq!(db.status().used, 0);
                    released.hit();
                    go_on.open().await;
                    let two: i32 = conn.query_one_scalar("SELECT 2", &[]).await?;
                    assert_eq!(db.status().used, 1);
                    Ok::<_, Error>(two.to_string())
                }
            };
            let quick = async |conn: Connection| backend(&conn).await.to_string();
            config.route("/slow", web::get().to(slow)).route("/quick", web::get().to(quick));
        })
    };
    let slow = app.get("/slow");
    let others = async {
        released.open().await;
        soon("the released session", app.get("/quick")).await.ok();
        go_on.hit();
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.ok(), "2");
    assert_whole(&db).await;
    app.stop().await;
}

/// P5, P6: refused while a statement, a row stream or a client guard is alive; nothing is lost by asking.
#[actix_web::test]
async fn neither_is_granted_while_something_runs() {
    let (database, db) = connect(2).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let refused = |what: BusyWith| {
        assert!(matches!(conn.release(), Err(Error::Busy(with)) if with == what), "release with {what}");
        assert!(matches!(conn.close(), Err(Error::Busy(with)) if with == what), "close with {what}");
        assert_eq!(db.status().used, 1);
    };

    let sleeping = {
        let conn = conn.clone();
        tokio::spawn(async move { conn.execute("SELECT pg_sleep(3602)", &[]).await })
    };
    observer.sees("pg_sleep(3602)").await;
    refused(BusyWith::Statement);
    sleeping.abort();
    assert!(sleeping.await.is_err());
    conn.release().expect("nobody uses it");
    // What was abandoned is cleared up in the background, on a session that counts as used until then.
    all_returned(&db).await;

    let mut rows = conn.query_raw("SELECT generate_series(1, 3)", &[]).await.expect("rows");
    refused(BusyWith::RowStream);
    while rows.try_next().await.expect("a row").is_some() {}
    conn.release().expect("a stream that was read to its end is no use");
    drop(rows);
    all_returned(&db).await;

    let client = conn.client().await.expect("a client");
    refused(BusyWith::ClientGuard);
    drop(client);
    conn.close().expect("nobody uses it");
    assert_whole(&db).await;
}

/// P5, P8: the error says what is alive, and of several things which one has to end first.
#[actix_web::test]
async fn a_busy_connection_says_what_keeps_it_busy() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int)").await.expect("a table");
    let busy_with = || match (conn.release(), conn.close()) {
        (Err(Error::Busy(release)), Err(Error::Busy(close))) if release == close => release,
        other => panic!("{other:?}"),
    };

    let mut statement = pin!(conn.execute("SELECT pg_sleep(3603)", &[]));
    assert!(poll_immediate(&mut statement).await.is_none());
    assert_eq!(busy_with(), BusyWith::Statement, "one that is prepared");
    tokio::select! {
        _ = &mut statement => panic!("an hour has passed"),
        () = observer.sees("pg_sleep(3603)") => {}
    }
    assert_eq!(busy_with(), BusyWith::Statement, "one that runs");
    statement.set(conn.execute("SELECT 1", &[]));
    statement.await.expect("an answer");

    let rows = conn.query_raw("SELECT 1", &[]).await.expect("rows");
    assert_eq!(busy_with(), BusyWith::RowStream);
    assert!(matches!(conn.execute("SELECT 1", &[]).await, Err(Error::Busy(BusyWith::RowStream))));
    drop(rows);

    let copy = conn.copy_in("COPY t FROM STDIN").await.expect("a copy");
    assert_eq!(busy_with(), BusyWith::Copy);
    assert!(matches!(conn.execute("SELECT 1", &[]).await, Err(Error::Busy(BusyWith::Copy))));
    copy.finish().await.expect("a copy");
    let copy = conn.copy_out("COPY t TO STDOUT").await.expect("a copy");
    assert_eq!(busy_with(), BusyWith::Copy);
    drop(copy);

    let client = conn.client().await.expect("a client");
    assert_eq!(busy_with(), BusyWith::ClientGuard);
    drop(client);

    let tx = conn.transaction().await.expect("a transaction");
    assert_eq!(busy_with(), BusyWith::Transaction);
    assert!(matches!(conn.transaction().await, Err(Error::Busy(BusyWith::Transaction))));
    let client = conn.client().await.expect("a client");
    assert_eq!(busy_with(), BusyWith::ClientGuard, "a client in a transaction");
    let rows = tx.query_raw("SELECT 1", &[]).await.expect("rows");
    assert_eq!(busy_with(), BusyWith::RowStream, "a stream beside a client in a transaction");
    drop((rows, client));
    assert_eq!(busy_with(), BusyWith::Transaction);
    drop(tx);

    // One that its function has handed on has ended, and is alive.
    let mut escaped = None;
    let failed = conn.transact(|tx| {
        escaped = Some(tx);
        async { Err::<(), _>(Error::NoRows) }
    });
    assert!(matches!(failed.await, Err(Error::NoRows)));
    assert_eq!(busy_with(), BusyWith::Transaction, "a transaction that has ended");
    drop(escaped);

    conn.release().expect("nothing is alive");
    assert_whole(&db).await;
}

/// P6, case 11
#[actix_web::test]
async fn a_closed_connection_refuses_statements() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    backend(&conn).await;
    conn.close().expect("closed");
    assert_eq!(db.status().used, 0);
    conn.close().expect("closed again");
    conn.release().expect("nothing to release");
    assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::ConnectionClosed)));
    assert!(matches!(conn.execute("SELECT 1", &[]).await, Err(Error::ConnectionClosed)));
    assert!(matches!(conn.batch_execute("SELECT 1").await, Err(Error::ConnectionClosed)));
    assert!(matches!(conn.query_raw("SELECT 1", &[]).await, Err(Error::ConnectionClosed)));
    assert!(matches!(conn.clone().client().await, Err(Error::ConnectionClosed)));
    backend(&db.connection()).await;
    assert_whole(&db).await;
}

/// P6, case 12: closing in the handler leaves the response and the log clean.
#[actix_web::test]
async fn closing_in_the_handler_leaves_the_response_and_the_log_clean() {
    log::keep();
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            let pid = backend(&conn).await;
            conn.close()?;
            Ok(pid.to_string())
        };
        config.route("/", web::get().to(handler));
    });
    let answer = app.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    all_returned(&db).await;
    app.stop().await;
    let mut complaints = log::ours_with(&["request failed", "has been closed for the rest of this request"]);
    // It has every error make a response, this one too.
    complaints.retain(|line| !line.contains("[errors_are_opaque::"));
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// P5, case 13: a release that races with a borrow is refused, and the borrow is not lost.
#[actix_web::test]
async fn a_release_that_races_with_a_borrow_loses_nothing() {
    let (_database, db) = connect(1).await;
    for round in 0..20 {
        let all = borrow_all(&db).await;
        let conn = db.connection();
        let borrowing = {
            let conn = conn.clone();
            tokio::spawn(async move { conn.query_one_scalar::<i32>("SELECT 1", &[]).await })
        };
        eventually("it waits", async || db.status().pending_requests == 1).await;
        assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Statement))));
        assert!(matches!(conn.close(), Err(Error::Busy(BusyWith::Statement))));
        if round % 2 == 0 {
            drop(all);
            assert_eq!(soon("a borrow", borrowing).await.expect("joined").expect("a row"), 1);
        } else {
            // The permit is on its way to the waiter when it gives up.
            drop(all);
            borrowing.abort();
            let _ = borrowing.await;
        }
        conn.release().expect("nobody uses it");
        all_returned(&db).await;
    }
    assert_whole(&db).await;
}
