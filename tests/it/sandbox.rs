//! The sandbox: what a test does is seen by the test alone, and undone at its end.

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{
    BusyWith, Connection, Database, Error, IsolationLevel, RequestTransaction, Result, Transaction,
};
use actix_web::{HttpResponse, Responder, web};
use futures_util::{TryStreamExt, future};
use test_support::{TestApp, connect, eventually};

async fn notes() -> (TestDatabase, Database) {
    let (database, db) = connect(2).await;
    db.connection().batch_execute("CREATE TABLE notes (id int PRIMARY KEY)").await.expect("a schema");
    (database, db)
}

async fn ids(db: &Database) -> Vec<i32> {
    db.connection().query_scalar("SELECT id FROM notes ORDER BY id", &[]).await.expect("the ids")
}

async fn create(id: web::Path<i32>, conn: Connection) -> actix_web::Result<impl Responder> {
    match conn.execute("INSERT INTO notes VALUES ($1)", &[&*id]).await {
        Ok(_) => Ok(HttpResponse::Created()),
        Err(err) if err.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(HttpResponse::Conflict()),
        Err(err) => Err(err.into()),
    }
}

async fn transfer(path: web::Path<(i32, i32)>, tx: RequestTransaction) -> Result<&'static str> {
    tx.execute("INSERT INTO notes VALUES ($1)", &[&path.0]).await?;
    tx.execute("INSERT INTO notes VALUES ($1)", &[&path.1]).await?;
    Ok("done")
}

async fn stream(conn: Connection) -> Result<HttpResponse> {
    let rows = conn.query_raw("SELECT repeat('x', 1000) FROM generate_series(1, 5000)", &[]).await?;
    Ok(HttpResponse::Ok().streaming(rows.map_ok(|row| web::Bytes::from(row.get::<_, String>(0)))))
}

async fn tenant(name: web::Path<String>, conn: Connection) -> Result<String> {
    conn.set_config("app.tenant", &name)?;
    conn.batch_execute("SET application_name = 'mine'").await?;
    conn.query_one_scalar("SELECT current_setting('app.tenant') || current_setting('application_name')", &[])
        .await
}

async fn nobody(conn: Connection) -> Result<String> {
    conn.query_one_scalar(
        "SELECT coalesce(current_setting('app.tenant', true), '') || current_setting('application_name')",
        &[],
    )
    .await
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/notes/{id}", web::post().to(create))
        .route("/transfer/{from}/{to}", web::post().to(transfer))
        .route("/stream", web::get().to(stream))
        .route("/tenant/{name}", web::get().to(tenant))
        .route("/nobody", web::get().to(nobody));
}

#[actix_web::test]
async fn everything_a_test_does_is_rolled_back() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let app = TestApp::start(&sandbox, routes);
    assert_eq!(app.post("/notes/1", &().into()).await.status, 201);
    assert_eq!(app.post("/transfer/2/3", &().into()).await.status, 200);
    assert_eq!(ids(&sandbox).await, [1, 2, 3]);
    assert_eq!(ids(&db).await, [0; 0], "seen from outside");
    sandbox.ping().await.unwrap();
    app.stop().await;
    sandbox.close().await;
    assert!(sandbox.ping().await.is_err());
    assert_eq!(ids(&db).await, [0; 0]);
    eventually("all is returned", async || db.status().used == 0).await;

    // Dropped, without a word.
    let sandbox = db.sandbox().await.unwrap();
    sandbox.connection().execute("INSERT INTO notes VALUES (1)", &[]).await.unwrap();
    drop(sandbox);
    eventually("all is returned", async || db.status().used == 0).await;
    assert_eq!(ids(&db).await, [0; 0]);
}

#[actix_web::test]
async fn an_error_in_one_request_does_not_spoil_the_others() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let app = TestApp::start(&sandbox, routes);
    assert_eq!(app.post("/notes/1", &().into()).await.status, 201);
    assert_eq!(app.post("/notes/1", &().into()).await.status, 409);
    assert_eq!(app.post("/transfer/2/1", &().into()).await.status, 500);
    assert_eq!(app.post("/transfer/3/4", &().into()).await.status, 200);
    assert_eq!(ids(&sandbox).await, [1, 3, 4]);
    app.stop().await;
}

#[actix_web::test]
async fn concurrent_requests_take_turns() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let app = TestApp::start(&sandbox, routes);
    let paths: Vec<_> = (0..20)
        .map(|n| match n % 4 {
            0 => format!("/transfer/{n}/{}", n + 1),
            1 => "/stream".to_owned(),
            2 => format!("/notes/{n}"),
            _ => "/notes/0".to_owned(),
        })
        .collect();
    let requests = paths.iter().map(async |path| match path.as_str() {
        "/stream" => (path, app.get(path).await),
        _ => (path, app.post(path, &().into()).await),
    });
    for (path, answer) in future::join_all(requests).await {
        match path.as_str() {
            "/stream" => assert_eq!(answer.body.len(), 5_000_000),
            "/notes/0" => assert!(matches!(answer.status.as_u16(), 201 | 409), "{path}: {answer:?}"),
            "/transfer/0/1" => assert!(matches!(answer.status.as_u16(), 200 | 500), "{path}: {answer:?}"),
            _ => assert!(answer.status.is_success(), "{path}: {answer:?}"),
        }
    }
    app.stop().await;
}

/// What one request leaves on its session is not there for the next.
#[actix_web::test]
async fn settings_do_not_leak_from_request_to_request() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let app = TestApp::start(&sandbox, routes);
    for name in ["ada", "grace"] {
        assert_eq!(app.get(&format!("/tenant/{name}")).await.body, format!("{name}mine"));
        assert_eq!(app.get("/nobody").await.body, "");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_transaction_is_a_savepoint() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let conn = sandbox.connection();
    let insert = "INSERT INTO notes VALUES ($1)";
    let tx = conn.build_transaction().isolation_level(IsolationLevel::Serializable).begin().await.unwrap();
    tx.execute(insert, &[&1]).await.unwrap();
    // The request's own statements run in it, and do not wait for it.
    conn.execute(insert, &[&2]).await.unwrap();
    assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Transaction))));
    assert!(matches!(conn.transaction().await, Err(Error::Busy(BusyWith::Transaction))));
    let inner = tx.transaction().await.unwrap();
    inner.execute(insert, &[&1]).await.unwrap_err();
    drop(inner);
    tx.commit().await.unwrap();
    drop(conn.transaction().await.unwrap());
    let tx = conn.transaction().await.unwrap();
    tx.execute(insert, &[&3]).await.unwrap();
    tx.rollback().await.unwrap();
    conn.transact(async |tx: Transaction| tx.execute(insert, &[&4]).await).await.unwrap();
    let refused = conn.transaction().await.unwrap();
    refused.execute(insert, &[&1]).await.unwrap_err();
    assert!(matches!(refused.commit().await, Err(Error::CommitRefused(_))));
    assert_eq!(ids(&sandbox).await, [1, 2, 4]);
    assert_eq!(ids(&db).await, [0; 0]);
}

#[tokio::test]
async fn sql_that_would_break_out_is_refused() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let conn = sandbox.connection();
    conn.execute("INSERT INTO notes VALUES (1)", &[]).await.unwrap();
    for sql in [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SELECT 1; COMMIT",
        "SAVEPOINT mine",
        "START TRANSACTION",
        "END",
        "abort",
        "ROLLBACK AND CHAIN",
        "PREPARE TRANSACTION 'mine'",
        "COMMIT PREPARED 'mine'",
        "SET search_path = app; COMMIT",
        "COMMIT; SET search_path = public",
        "BEGIN; SET app.tenant = 'ada'",
        "SET app.tenant = 'ada'; ROLLBACK",
        "SET app.tenant = 'ada'; COMMIT AND CHAIN",
        "LISTEN news; /* ; */ END",
        "DO $$ BEGIN NULL; END $$; COMMIT",
        "CREATE TABLE other (); COMMIT",
        "SHOW work_mem; COMMIT -- at the end",
        "SELECT '\\'; COMMIT",
        "COMMIT; SELECT '\\'",
        "SET app.tenant = 'ada'; ROLLBACK TO SAVEPOINT actix_pg_turn",
        "RELEASE SAVEPOINT actix_pg_turn; SET app.tenant = 'ada'",
    ] {
        let refused = conn.batch_execute(sql).await;
        assert!(matches!(refused, Err(Error::Sandboxed)), "{sql}: {refused:?}");
        assert_eq!(ids(&db).await, [0; 0], "{sql}");
    }
    // The server does not let these end a transaction that they have not begun.
    conn.batch_execute("CREATE PROCEDURE ending() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
        .await
        .unwrap();
    for sql in ["DO $$ BEGIN COMMIT; END $$", "CALL ending()"] {
        conn.batch_execute(sql).await.expect_err(sql);
        assert_eq!(ids(&db).await, [0; 0], "{sql}");
    }
    // What cannot be read, and has no such word in it, is let through.
    conn.batch_execute("SELECT '\\'; SET app.tenant = 'C:\\'").await.unwrap();
    assert!(matches!(conn.execute("COMMIT", &[]).await, Err(Error::Sandboxed)));
    let tx = conn.transaction().await.unwrap();
    assert!(matches!(tx.batch_execute("COMMIT").await, Err(Error::Sandboxed)));
    tx.commit().await.unwrap();
    assert_eq!(ids(&sandbox).await, [1]);

    assert!(matches!(sandbox.session().await, Err(Error::Sandboxed)));
    assert_eq!(ids(&sandbox).await, [1]);

    // Through the client it can be done, and is found out.
    conn.client().await.unwrap().batch_execute("ROLLBACK").await.unwrap();
    let err = conn.query("SELECT 1", &[]).await.unwrap_err();
    assert!(matches!(err, Error::Acquire(actix_pg::AcquireError::SandboxLost)), "{err:?}");
    assert_eq!(ids(&db).await, [0; 0]);
}

#[tokio::test]
async fn an_abandoned_statement_undoes_its_turn_and_no_more() {
    let (_database, db) = notes().await;
    let sandbox = db.sandbox().await.unwrap();
    let conn = sandbox.connection();
    conn.execute("INSERT INTO notes VALUES (1)", &[]).await.unwrap();
    let slow = conn.batch_execute("INSERT INTO notes VALUES (2); SELECT pg_sleep(60)");
    tokio::time::timeout(std::time::Duration::from_millis(50), slow).await.unwrap_err();
    conn.execute("INSERT INTO notes VALUES (3)", &[]).await.unwrap();
    // One that gives up waiting for its turn leaves it to the next.
    let tx = conn.transaction().await.unwrap();
    let other = sandbox.connection();
    let waiting = other.query("SELECT 1", &[]);
    tokio::time::timeout(std::time::Duration::from_millis(20), waiting).await.unwrap_err();
    tx.commit().await.unwrap();
    other.query("SELECT 1", &[]).await.unwrap();
    assert_eq!(ids(&sandbox).await, [1, 3]);
}

#[tokio::test]
async fn sandboxes_beside_each_other_do_not_see_each_other() {
    let (_database, db) = notes().await;
    let sandboxes = [db.sandbox().await.unwrap(), db.sandbox().await.unwrap()];
    for (id, sandbox) in sandboxes.iter().enumerate() {
        sandbox.connection().execute("INSERT INTO notes VALUES ($1)", &[&(id as i32)]).await.unwrap();
    }
    assert_eq!(ids(&sandboxes[0]).await, [0]);
    assert_eq!(ids(&sandboxes[1]).await, [1]);
}
