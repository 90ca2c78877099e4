//! The client learns that it failed, the log why, and nobody a password.

use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{AcquireError, BusyWith, Config, Connection, Database, Error, OrNotFound, Result};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{ResponseError, body, web};
use test_support::{TestApp, borrow_all, connect, connected, database, log, sized, soon};

/// P22: the body of a failed statement is empty; the log has the whole chain, once.
#[actix_web::test]
async fn the_client_sees_no_cause_and_the_log_sees_them_all() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            conn.query_one_scalar("SELECT secret FROM hidden_treasure_4711", &[]).await
        };
        config.route("/", web::get().to(handler));
    });
    let answer = app.get("/").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert!(!format!("{:?}", answer.headers).contains("4711"));
    let lines = log::ours_with(&["ERROR", "hidden_treasure_4711"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let chain = "the statement failed: ERROR: relation \"hidden_treasure_4711\" does not exist";
    assert!(lines[0].contains(chain), "{lines:?}");
    app.stop().await;
}

/// P22: no error's response says more than its status.
#[actix_web::test]
async fn no_error_has_a_body_that_tells() {
    let database = database().await;
    let config = Config { acquire_timeout: Duration::from_millis(50), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let no_queue = connected(Config { max_waiting: Some(0), ..sized(database.config(), 1) }).await;
    let conn = db.connection();
    let failed = conn.query("SELECT * FROM hidden", &[]).await.expect_err("no table");
    drop(conn);
    let all = borrow_all(&db).await;
    let exhausted = db.connection().query("SELECT 1", &[]).await.expect_err("no session");
    drop(all);
    let unreachable = Config { host: "127.0.0.1".into(), port: 1, ..sized(Config::default(), 1) };
    let unreachable = Database::connect(unreachable).await.expect_err("no server");
    let wrong = Database::connect(sized(Config::default(), 0)).await.expect_err("no pool");
    let all = borrow_all(&no_queue).await;
    let full = no_queue.connection().query("SELECT 1", &[]).await.expect_err("no queue");
    assert!(matches!(full, Error::Acquire(AcquireError::QueueFull { max_waiting: 0, .. })), "{full:?}");
    drop(all);
    for (err, status, text) in [
        (wrong, 500, ""),
        (unreachable, 503, ""),
        (failed, 500, ""),
        (exhausted, 503, ""),
        (full, 503, ""),
        (AcquireError::DatabaseClosed.into(), 503, ""),
        (AcquireError::HomeStopped.into(), 503, ""),
        (Error::MissingMiddleware, 500, ""),
        (Error::NoRequestConnection, 500, ""),
        (Error::Busy(BusyWith::RowStream), 500, ""),
        (Error::ConnectionClosed, 500, ""),
        (Error::SessionLost, 503, ""),
        (Error::CommandTimeout(Duration::from_secs(3)), 504, ""),
        (Error::TooManyRows, 500, ""),
        (Error::NoRows, 500, ""),
        (Error::NotFound, 404, "not found"),
    ] {
        let res = err.error_response();
        assert_eq!((res.status().as_u16(), res.status()), (status, err.status_code()), "{err:?}");
        assert_eq!(res.headers().contains_key(RETRY_AFTER), status == 503, "{err:?}");
        let body = body::to_bytes(res.into_body()).await.expect("a body");
        assert_eq!(body, text, "{err:?}");
    }
}

/// What the server says decides: `is_unavailable`, the status and `Retry-After` agree on it.
#[actix_web::test]
async fn an_error_of_the_servers_is_unavailable_where_it_is_answered_with_503() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    for (code, unavailable) in [
        // Connection exception, insufficient resources, operator intervention.
        ("08006", true),
        ("53300", true),
        ("57P01", true),
        ("57P03", true),
        // A serialization failure and a deadlock.
        ("40001", true),
        ("40P01", true),
        // A cancel, a violated constraint, no such table, one that a function raises.
        ("57014", false),
        ("23505", false),
        ("42P01", false),
        ("P0001", false),
    ] {
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$");
        let err = conn.batch_execute(&raise).await.expect_err(code);
        assert_eq!(err.code().map(|code| code.code()), Some(code));
        assert_eq!(err.is_unavailable(), unavailable, "{err:?}");
        assert_eq!(err.status_code() == StatusCode::SERVICE_UNAVAILABLE, unavailable, "{err:?}");
        assert_eq!(err.retry_after().is_some(), unavailable, "{err:?}");
    }
}

/// The name of the constraint, wherever the server's refusal stands.
#[actix_web::test]
async fn a_violated_constraint_is_named() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int CONSTRAINT once PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
        .await
        .expect("a table");
    let twice = "INSERT INTO t VALUES (1), (1)";
    let err = conn.execute(twice, &[]).await.expect_err("a duplicate");
    assert!(matches!(err, Error::Postgres(_)), "{err:?}");
    assert_eq!(err.constraint(), Some("once"));
    let tx = conn.transaction().await.expect("a transaction");
    tx.execute(twice, &[]).await.expect("two rows");
    let err = tx.commit().await.expect_err("a duplicate");
    assert!(matches!(err, Error::CommitRefused(_)), "{err:?}");
    assert_eq!(err.constraint(), Some("once"));
    let err = conn.execute("SELECT 1 / 0", &[]).await.expect_err("a division by zero");
    assert_eq!(err.constraint(), None);
    assert_eq!(Error::NoRows.constraint(), None);
}

/// Case 30: a row that is not there is a 404 with a short text.
#[actix_web::test]
async fn a_row_that_is_not_there_is_a_404() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            let row = conn.query_opt("SELECT 'found' WHERE false", &[]).await?;
            Ok(row.or_not_found()?.get(0))
        };
        config.route("/", web::get().to(handler));
    });
    let answer = app.get("/").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_FOUND, "not found"));
    app.stop().await;
}

/// P22: a server that ends in the middle of a request is a 503 that names no host.
#[actix_web::test]
async fn an_outage_is_named_in_the_log_alone() {
    log::keep();
    let postgres = Postgres::builder().start().expect("a server");
    let db = connected(sized(postgres.config(), 1)).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            Ok(conn.query_one_scalar::<i32>("SELECT 1", &[]).await?.to_string())
        };
        config.route("/", web::get().to(handler));
    });
    app.get("/").await.ok();
    postgres.crash().expect("a crashed server");
    let port = postgres.port().to_string();
    // The first may be the one that finds out.
    for _ in 0..2 {
        let answer = soon("a refusal", app.get("/")).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, ""));
        assert!(!format!("{:?}", answer.headers).contains(&port));
    }
    assert!(!log::ours_with(&["ERROR", "no session is alive and none can be opened", &port]).is_empty());
    app.stop().await;
}
