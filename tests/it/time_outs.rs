//! A time for a call, and for all work of a request, bounds the borrow and the statement together.

use std::time::{Duration, Instant};

use actix_pg::{Config, Connection, Error, GenericClient, RequestTransaction, Result, Transaction};
use actix_web::{HttpResponse, web};
use futures_util::TryStreamExt;
use test_support::{
    Proxy, TestApp, all_returned, assert_whole, backend, connect, connected, database, eventually, sized,
    soon,
};

const SHORT: Duration = Duration::from_millis(100);
const SLOW: &str = "SELECT pg_sleep(60)";

fn sent<T>(answer: Result<T>) -> Option<bool> {
    match answer {
        Err(Error::TimedOut { sent, .. }) => Some(sent),
        _ => None,
    }
}

/// The statement is cancelled, and the session serves the next.
#[actix_web::test]
async fn a_statement_that_is_late_is_cancelled() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let before = backend(&conn).await;
    let hasty = conn.with_timeout(SHORT);
    let begun = Instant::now();
    let late = hasty.query(SLOW, &[]).await.unwrap_err();
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < Duration::from_secs(20));
    assert_eq!(late.to_string(), "the call was not over within 100ms, and was cancelled");
    assert!(!late.is_unavailable());
    assert_eq!(backend(&conn).await, before, "the session goes on");
    assert_eq!(hasty.query_one_scalar::<i32>("SELECT 1", &[]).await.unwrap(), 1);
    assert_eq!(db.status().counters.cancels, 1);
    let verbs = [
        sent(hasty.query_opt(SLOW, &[]).await),
        sent(hasty.execute(SLOW, &[]).await),
        sent(hasty.batch_execute(SLOW).await),
        sent(hasty.query_raw(SLOW, &[]).await.and(Ok(()))),
        sent(hasty.copy_out("COPY (SELECT pg_sleep(60)) TO STDOUT").await.and(Ok(()))),
    ];
    // A row stream and a copy have begun when the server has accepted them.
    assert_eq!(verbs[..3], [Some(true); 3]);
    conn.release().unwrap();
    assert_whole(&db).await;
}

/// The wait for a session counts, and nothing was sent: the request may be repeated.
#[actix_web::test]
async fn a_borrow_that_is_late_has_sent_nothing() {
    let (_database, db) = connect(1).await;
    let held = db.connection();
    backend(&held).await;
    let other = db.connection();
    for answer in [
        other.with_timeout(SHORT).query(SLOW, &[]).await.map(drop),
        db.with_timeout(SHORT).execute(SLOW, &[]).await.map(drop),
        db.with_timeout(SHORT).transaction().await.map(drop),
        GenericClient::with_timeout(&other, SHORT).transaction().await.map(drop),
        db.ping_within(SHORT).await,
    ] {
        let err = answer.unwrap_err();
        assert!(err.is_unavailable() && err.retry_after().is_some(), "{err:?}");
        assert_eq!(err.to_string(), "the call was not over within 100ms: its statement was not sent");
    }
    assert_eq!(db.status().pending_requests, 0, "nobody is left in the queue");

    // Borrow and statement share the time.
    let begun = Instant::now();
    let (freed, late) = futures_util::future::join(
        async {
            tokio::time::sleep(SHORT).await;
            held.release()
        },
        other.with_timeout(SHORT * 5).query(SLOW, &[]),
    )
    .await;
    freed.unwrap();
    assert_eq!(sent(late), Some(true));
    assert!(begun.elapsed() < SHORT * 5 + Duration::from_secs(20));
    other.release().unwrap();
    assert_whole(&db).await;
}

/// Somebody else's wait for the same borrow goes on.
#[actix_web::test]
async fn one_who_gives_up_leaves_the_others_waiting() {
    let (_database, db) = connect(1).await;
    let held = db.connection();
    backend(&held).await;
    let conn = db.connection();
    let (hasty, patient) = (conn.with_timeout(SHORT), conn.clone());
    let (late, freed, answer) = futures_util::future::join3(
        hasty.query("SELECT 1", &[]),
        async {
            tokio::time::sleep(SHORT * 2).await;
            held.release()
        },
        patient.query("SELECT 2", &[]),
    )
    .await;
    freed.unwrap();
    assert_eq!((sent(late), answer.unwrap().len()), (Some(false), 1));
}

#[actix_web::test]
async fn a_transaction_that_is_hit_can_only_be_rolled_back() {
    let (_database, db) = connect(1).await;
    let tx = db.transaction().await.unwrap();
    tx.with_timeout(Duration::from_secs(60)).batch_execute("CREATE TABLE t (id int)").await.unwrap();
    assert_eq!(sent(tx.with_timeout(SHORT).query(SLOW, &[]).await), Some(true));
    assert!(matches!(tx.query("SELECT 1", &[]).await, Err(Error::TransactionFailed)));
    assert!(matches!(tx.commit().await, Err(Error::TransactionFailed)));
    let tables: i64 =
        db.query_one_scalar("SELECT count(*) FROM pg_class WHERE relname = 't'", &[]).await.unwrap();
    assert_eq!(tables, 0);
    assert_whole(&db).await;
}

#[actix_web::test]
async fn the_shorter_time_holds() {
    let database = database().await;
    let config = Config { command_timeout: Some(SHORT), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let minute = Duration::from_secs(60);
    let late = db.with_timeout(minute).query(SLOW, &[]).await.unwrap_err();
    assert!(matches!(late, Error::CommandTimeout(SHORT)), "{late:?}");
    // The only session has to be back each time: the time bounds the wait for it too.
    assert_whole(&db).await;
    assert_eq!(sent(db.with_timeout(SHORT / 2).query(SLOW, &[]).await), Some(true));
    assert_whole(&db).await;
    assert_eq!(sent(db.with_timeout(minute).with_timeout(SHORT / 2).query(SLOW, &[]).await), Some(true));
    assert_whole(&db).await;
    assert_eq!(sent(db.with_timeout(SHORT / 2).with_timeout(minute).query(SLOW, &[]).await), Some(true));
    assert_whole(&db).await;
    let conn = db.connection();
    conn.set_deadline(Instant::now() + SHORT / 2);
    assert_eq!(sent(conn.with_timeout(minute).query(SLOW, &[]).await), Some(true));
    conn.set_deadline(None);
    conn.release().unwrap();

    // The ends of the scale.
    assert_eq!(sent(db.with_timeout(Duration::ZERO).query("SELECT 1", &[]).await), Some(false));
    assert_eq!(db.with_timeout(Duration::MAX).query("SELECT 1", &[]).await.unwrap().len(), 1);
    assert_whole(&db).await;
}

#[actix_web::test]
async fn a_deadline_ends_all_work_of_a_request() {
    let (_database, db) = connect(2).await;
    db.batch_execute("CREATE TABLE seen (id int)").await.unwrap();
    let app = TestApp::start(&db, |config| {
        let late = async |conn: Connection| -> Result<HttpResponse> {
            conn.set_deadline(Instant::now() + SHORT);
            assert_eq!(sent(conn.query(SLOW, &[]).await), Some(true));
            // Nothing is sent any more, on a clone and in a transaction neither.
            assert_eq!(sent(conn.clone().execute("INSERT INTO seen VALUES (1)", &[]).await), Some(false));
            assert_eq!(sent(conn.transaction().await), Some(false));
            conn.execute("INSERT INTO seen VALUES (1)", &[]).await?;
            Ok(HttpResponse::Ok().finish())
        };
        // The commit of a request's transaction is work of the request too.
        let commits = async |conn: Connection, tx: RequestTransaction| -> Result<HttpResponse> {
            tx.execute("INSERT INTO seen VALUES (2)", &[]).await?;
            conn.set_deadline(Instant::now() - SHORT);
            Ok(HttpResponse::Ok().finish())
        };
        let in_time = async |conn: Connection| -> Result<HttpResponse> {
            conn.set_deadline(Instant::now() + Duration::from_secs(60));
            let tx = conn.transaction().await?;
            tx.execute("INSERT INTO seen VALUES (3)", &[]).await?;
            tx.commit().await?;
            conn.set_deadline(Instant::now());
            conn.set_deadline(None);
            conn.query("SELECT 1", &[]).await?;
            Ok(HttpResponse::Ok().finish())
        };
        config
            .route("/late", web::get().to(late))
            .route("/commits", web::get().to(commits))
            .route("/in_time", web::get().to(in_time));
    });
    assert_eq!(app.get("/late").await.status, 503);
    assert_eq!(app.get("/commits").await.status, 503);
    assert_eq!(app.get("/in_time").await.status, 200);
    let seen: Vec<i32> = db.query_scalar("SELECT id FROM seen", &[]).await.unwrap();
    assert_eq!(seen, [3]);
    assert_whole(&db).await;
    app.stop().await;
}

/// A commit whose answer is late may have been carried out.
#[actix_web::test]
async fn a_commit_that_is_late_has_an_unknown_outcome() {
    let (_database, db) = connect(1).await;
    let schema = "CREATE TABLE slow (id int);
        CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION slowly()";
    db.batch_execute(schema).await.unwrap();
    let conn = db.connection();
    let tx: Transaction = conn.transaction().await.unwrap();
    tx.execute("INSERT INTO slow VALUES (1)", &[]).await.unwrap();
    conn.set_deadline(Instant::now() + SHORT);
    let err = tx.commit().await.unwrap_err();
    assert!(
        matches!(&err, Error::OutcomeUnknown(late) if matches!(**late, Error::TimedOut { .. })),
        "{err:?}"
    );
    conn.release().unwrap();
    all_returned(&db).await;
}

/// A row stream that has begun is read to its end.
#[actix_web::test]
async fn a_stream_that_has_begun_is_not_cut_off() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let sql = "SELECT repeat('x', 100000) FROM generate_series(1, 100)";
    let rows = conn.with_timeout(Duration::from_secs(5)).query_raw(sql, &[]).await.unwrap();
    conn.set_deadline(Instant::now());
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 100);
}

/// A server that does not answer any more: the probe is told in time.
#[actix_web::test]
async fn a_ping_is_bounded() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    soon("an answer", db.ping_within(Duration::from_secs(10))).await.unwrap();
    proxy.stall();
    let silent = soon("an error", db.ping_within(SHORT)).await;
    assert_eq!(sent(silent), Some(true));
    proxy.heal();
    eventually("it answers again", async || db.ping_within(Duration::from_secs(1)).await.is_ok()).await;
}
