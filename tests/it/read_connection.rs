//! A connection for reads, where no standby is configured, or none is there.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Connection, ConnectionExt, Database, Error, ReadConnection, ReadYourWrites, Result};
use actix_web::{App, HttpRequest, rt, test, web};
use test_support::{TestApp, all_returned, connect, connected, database, eventually, log, sized};

const BACKEND: &str = "SELECT pg_backend_pid()";

async fn backends(read: ReadConnection, conn: Connection, req: HttpRequest) -> Result<web::Json<[i32; 3]>> {
    let again = req.read_connection()?;
    let (first, second) =
        (read.query_one_scalar(BACKEND, &[]).await?, conn.query_one_scalar(BACKEND, &[]).await?);
    Ok(web::Json([first, second, again.query_one_scalar(BACKEND, &[]).await?]))
}

async fn in_a_transaction(read: ReadConnection) -> Result<String> {
    read.set_config("app.tenant", "7")?;
    let tx = read.build_transaction().read_only(true).begin().await?;
    let tenant = tx.query_one_scalar("SELECT current_setting('app.tenant')", &[]).await?;
    tx.commit().await?;
    read.release()?;
    Ok(tenant)
}

fn routes(config: &mut web::ServiceConfig) {
    config.route("/backends", web::get().to(backends)).route("/transaction", web::get().to(in_a_transaction));
}

/// One session, from a pool that has no other.
async fn is_the_connection(db: &Database) {
    let app = TestApp::start(db, routes);
    let pids: [i32; 3] = serde_json::from_str(&app.get("/backends").await.body).expect("three numbers");
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert_eq!(app.get("/transaction").await.body, "7");
    app.stop().await;
}

/// P31: without the option, a connection for reads is the request's connection, and borrows no other session.
#[actix_web::test]
async fn without_a_reader_it_is_the_connection() {
    let (_database, db) = connect(1).await;
    assert!(db.reader().shares_pool_with(&db));
    is_the_connection(&db).await;
    all_returned(&db).await;
}

fn with_reader(database: &TestDatabase, reader: &str) -> Config {
    Config { reader: Some(reader.into()), ..sized(database.config(), 1) }
}

/// P31: in a sandbox it is the sandbox's session, which sees what a test has done.
#[actix_web::test]
async fn in_a_sandbox_it_is_the_sandbox() {
    let database = database().await;
    let db = connected(with_reader(&database, "prefer-standby")).await;
    let sandbox = db.sandbox().await.expect("a sandbox");
    sandbox.batch_execute("CREATE TABLE seen ()").await.expect("a table");
    assert_eq!(
        sandbox.reader().query_one_scalar::<i64>("SELECT count(*) FROM seen", &[]).await.expect("a count"),
        0
    );
    is_the_connection(&sandbox).await;
    sandbox.close().await;
    db.close().await;
}

/// P31: without a standby the primary serves, and the log says so once.
#[actix_web::test]
async fn without_a_standby_the_primary_serves() {
    log::keep();
    let postgres = Postgres::builder().start().expect("a server");
    let database = postgres.database().await.expect("a database");
    let db = connected(Config { pool_min_size: 1, ..with_reader(&database, "prefer-standby") }).await;
    for _ in 0..100 {
        let is_standby: bool =
            db.reader().query_one_scalar("SELECT pg_is_in_recovery()", &[]).await.expect("an answer");
        assert!(!is_standby);
    }
    let port = format!("127.0.0.1:{}", postgres.port());
    let lines = || log::ours_with(&["WARN", "cannot open a session", r#"database="reader""#, &port]);
    eventually("the log says it", async || lines().len() == 1).await;
    assert!(!db.reader().shares_pool_with(&db));
    assert_eq!(db.reader().status().open, 0);
    let status = db.status();
    assert!(status.counters.borrows >= 100 && status.open == 1, "{status:?}");
    db.close().await;
    assert!(matches!(db.reader().query("SELECT 1", &[]).await, Err(Error::Acquire(_))));
}

/// P31: nobody waits long for a standby that does not answer.
#[actix_web::test]
async fn a_silent_standby_is_not_waited_for() {
    let database = database().await;
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let db = connected(with_reader(&database, &format!("host=127.0.0.1 port={port}"))).await;
    for _ in 0..3 {
        let begun = Instant::now();
        db.reader().query("SELECT 1", &[]).await.expect("an answer");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

/// P31: a reader has a DSN of its own, which says what is different.
#[actix_web::test]
async fn a_reader_may_be_somewhere_else() {
    let (database, elsewhere) = (database().await, database().await);
    let reader = format!("dbname={} target_session_attrs=any application_name=reading", elsewhere.name());
    let db = connected(with_reader(&database, &reader)).await;
    let sql = "SELECT current_database() || ' ' || current_setting('application_name')";
    let seen: String = db.reader().query_one_scalar(sql, &[]).await.expect("an answer");
    assert_eq!(seen, format!("{} reading", elsewhere.name()));
    assert_eq!((db.status().used, db.reader().status().open), (0, 1));
    let watched = db.reader().watch();
    db.reader().query("SELECT 1", &[]).await.expect("an answer");
    assert_eq!(watched.status().open, 1);
    db.close().await;
}

async fn reads_and_writes(read: ReadConnection, conn: Connection) -> Result<String> {
    read.query_one_scalar::<i32>(BACKEND, &[]).await?;
    conn.execute("SELECT 1", &[]).await?;
    read.query_one_scalar::<String>("SELECT current_database()::text", &[]).await
}

async fn reads_while_it_writes(read: ReadConnection, conn: Connection) -> Result<String> {
    let of_read: &Connection = &read;
    // The second one waits for the first.
    let (first, second) =
        tokio::join!(of_read.execute("SELECT pg_sleep(0.2)", &[]), conn.execute("SELECT 1", &[]));
    first.and(second)?;
    of_read.query_one_scalar::<String>("SELECT current_database()::text", &[]).await
}

/// P31: no request waits for a session while its connection for reads holds one of the same pool.
#[actix_web::test]
async fn a_request_that_reads_and_then_writes_needs_one_session_of_the_primary() {
    let postgres = Postgres::builder().start().expect("a server");
    let database = postgres.database().await.expect("a database");
    let db = connected(Config { pool_min_size: 1, ..with_reader(&database, "prefer-standby") }).await;
    let app = TestApp::start(&db, |config| {
        config
            .route("/then", web::get().to(reads_and_writes))
            .route("/while", web::get().to(reads_while_it_writes));
    });
    for path in ["/then", "/while"] {
        for _ in 0..3 {
            let begun = Instant::now();
            assert_eq!(app.get(path).await.ok(), database.name());
            assert!(begun.elapsed() < Duration::from_secs(2), "{path}: {:?}", begun.elapsed());
        }
    }
    all_returned(&db).await;
    app.stop().await;
    db.close().await;
}

/// P31: a task that waits for its first session when the request ends reads what it then writes.
#[actix_web::test]
async fn a_task_that_waits_at_the_end_of_its_request_reads_what_it_writes() {
    let (database, elsewhere) = (database().await, database().await);
    let reader = format!("dbname={} target_session_attrs=any", elsewhere.name());
    let db = connected(with_reader(&database, &reader)).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let app = TestApp::start(&db, move |config| {
        let tell = tell.clone();
        let handler = move |read: ReadConnection, conn: Connection, db: web::Data<Database>| {
            let tell = tell.clone();
            async move {
                rt::spawn(async move {
                    conn.execute("SELECT 1", &[]).await.expect("written");
                    let sql = "SELECT current_database()::text";
                    let _ = tell.send(read.query_one_scalar::<String>(sql, &[]).await.expect("read"));
                });
                eventually("the task waits", async || db.status().pending_requests == 1).await;
                "answered"
            }
        };
        config.route("/", web::get().to(handler));
    });
    let only = db.session().await.expect("the only session");
    app.get("/").await.ok();
    drop(only);
    assert_eq!(told.recv().await.expect("an answer"), database.name());
    app.stop().await;
    db.close().await;
}

/// P31: without a standby, and in a sandbox, `read_your_writes = "position"` changes no answer.
#[actix_web::test]
async fn where_no_standby_is_a_position_changes_nothing() {
    let database = database().await;
    let config = Config {
        read_your_writes: ReadYourWrites::Position,
        read_your_writes_key: "a key of thirty-two characters, or more".into(),
        ..with_reader(&database, "prefer-standby")
    };
    let db = connected(config).await;
    let cookie = cookie_of_write(&db, "/then").await.expect("a cookie");
    assert!(cookie.starts_with("actix_pg_position="), "{cookie}");
    let sandbox = db.sandbox().await.expect("a sandbox");
    is_the_connection(&sandbox).await;
    assert_eq!(cookie_of_write(&sandbox, "/then").await, None);
    sandbox.close().await;
    // A window for this App alone, or nothing.
    let app =
        App::new().wrap(db.middleware().read_your_writes(Duration::ZERO)).route("/", web::get().to(writes));
    let app = test::init_service(app).await;
    let res = test::call_service(&app, test::TestRequest::get().uri("/").to_request()).await;
    assert!(res.headers().get("set-cookie").is_none());
    db.close().await;
}

/// The cookie that a request gets which writes, and the answer to one that brings it.
async fn cookie_of_write(db: &Database, path: &str) -> Option<String> {
    let app = App::new().wrap(db.middleware()).route(path, web::get().to(writes));
    let app = test::init_service(app.route("/read", web::get().to(reads))).await;
    let res = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
    assert!(res.status().is_success());
    let cookie = res.headers().get("set-cookie").map(|cookie| cookie.to_str().expect("text").to_owned());
    let sent = cookie.clone().unwrap_or_default();
    let req = test::TestRequest::get().uri("/read").insert_header(("cookie", sent)).to_request();
    let res = test::call_service(&app, req).await;
    assert!(res.status().is_success());
    cookie
}

async fn writes(conn: Connection) -> Result<String> {
    Ok(conn.execute("CREATE TABLE IF NOT EXISTS written ()", &[]).await?.to_string())
}

async fn reads(read: ReadConnection) -> Result<String> {
    Ok(read.query_one_scalar::<i64>("SELECT count(*) FROM written", &[]).await?.to_string())
}

/// P16: the sessions of the reader are replaced when its database is asked for that, and only then.
#[actix_web::test]
async fn the_sessions_of_the_reader_are_renewed_by_themselves() {
    let (database, elsewhere) = (database().await, database().await);
    let reader = format!("dbname={} target_session_attrs=any", elsewhere.name());
    let db = connected(Config { pool_min_size: 1, ..with_reader(&database, &reader) }).await;
    let backend = async |db: &Database| db.query_one_scalar::<i32>(BACKEND, &[]).await.expect("an answer");
    let (writers, readers) = (backend(&db).await, backend(&db.reader()).await);

    db.renew(Duration::ZERO);
    eventually("the writer has another", async || backend(&db).await != writers).await;
    assert_eq!(backend(&db.reader()).await, readers);
    assert_eq!(db.reader().status().counters.ended.renewed, 0);

    let writers = backend(&db).await;
    // One that is in use finishes its work.
    let session = db.reader().connection();
    session.query("SELECT 1", &[]).await.expect("an answer");
    db.reader().renew(Duration::ZERO);
    assert_eq!(session.query_one_scalar::<i32>(BACKEND, &[]).await.expect("an answer"), readers);
    session.close().expect("given back");
    eventually("the reader has another", async || backend(&db.reader()).await != readers).await;
    assert_eq!(backend(&db).await, writers);
    assert_eq!(db.reader().status().counters.ended.renewed, 1);
    assert_eq!(db.status().counters.ended.renewed, 1);
    db.close().await;
}
