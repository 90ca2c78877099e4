//! A start that works, and every way in which it cannot.

use std::error::Error as _;
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, ConfigErrorKind, Database, Error};
use test_support::{
    FakeServer, Observer, Phase, Proxy, backend, causes, connect, connected, database, dsn_as, eventually,
    log, sized, soon,
};
use tokio::net::TcpListener;

/// A port of this machine on which nobody listens.
async fn deserted_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The error of a start, with all its causes.
async fn refused(config: Config) -> (Error, String) {
    let err = soon("a refusal", Database::connect(config)).await.expect_err("no start");
    let text = causes(&err);
    (err, text)
}

/// P20: the floor is open when `connect` returns.
#[actix_web::test]
async fn a_start_opens_the_floor() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(database.config()).await;
    let status = db.status();
    assert_eq!((status.max, status.open, status.idle, status.used), (10, 5, 5, 0));
    assert_eq!(observer.backends().await, 5);
    db.ping().await.expect("an answer");
}

/// P20: with a floor of zero the database is proven reachable all the same.
#[actix_web::test]
async fn a_start_without_a_floor_connects_all_the_same() {
    let config =
        Config { port: deserted_port().await, host: "127.0.0.1".into(), ..sized(Config::default(), 1) };
    let (err, text) = refused(config.clone()).await;
    assert!(matches!(err, Error::Connect(_)), "{err:?}");
    assert!(
        text.starts_with(&format!(
            "the database cannot be reached: cannot connect to 127.0.0.1:{}: ",
            config.port
        )),
        "{text}"
    );
}

/// Case 24: a DSN that is none.
#[actix_web::test]
async fn a_malformed_dsn_is_refused_without_showing_it() {
    for dsn in ["", "postgres://u:s3cret@h:notaport/db", "mysql://u:s3cret@h/db", "host=h password='s3cret"] {
        let (err, text) = refused(Config { dsn: Some(dsn.into()), ..Config::default() }).await;
        assert!(matches!(err, Error::Config(_)), "{dsn}: {err:?}");
        assert!(text.starts_with("the configuration cannot be applied: "), "{text}");
        assert!(!text.contains("s3cret") && !format!("{err:?}").contains("s3cret"), "{text}");
    }
}

/// Case 24: pool sizes that cannot be.
#[actix_web::test]
async fn impossible_pool_sizes_are_refused_by_name() {
    for (min, max, expected) in [
        (0, 0, "option `pool_max_size` must be at least 1, not 0"),
        (5, 0, "option `pool_max_size` must be at least 1, not 0"),
        (5, 3, "option `pool_max_size` must be at least `pool_min_size` (5), not 3"),
    ] {
        let config = Config { pool_min_size: min, pool_max_size: max, ..Config::default() };
        let (err, text) = refused(config).await;
        let Error::Config(err) = err else { panic!("{err:?}") };
        assert_eq!(err.kind(), ConfigErrorKind::Invalid);
        assert_eq!(text, format!("the configuration cannot be applied: {expected}"));
    }
}

/// Case 24: a wrong option is not retried, nor is anything connected.
#[actix_web::test]
async fn a_wrong_option_is_refused_before_anything_is_connected() {
    let server = FakeServer::start().await;
    let config = Config { retry_limit: 100, pool_min_size: 2, ..server.config(1) };
    let (err, _) = refused(config).await;
    assert!(matches!(err, Error::Config(_)), "{err:?}");
    assert_eq!(server.passed(Phase::Connect), 0);
}

/// P20, P22: a wrong password is refused by the server once, named in the error, and shown nowhere.
#[actix_web::test]
async fn a_wrong_password_is_not_retried_and_not_shown() {
    log::keep();
    let postgres =
        Postgres::builder().hba(["host all all 127.0.0.1/32 scram-sha-256"]).start().expect("a server");
    let socket = Config {
        host: postgres.socket_dir().expect("a directory").display().to_string(),
        port: postgres.port(),
        ..sized(Config::default(), 1)
    };
    let admin = Database::connect(socket).await.expect("an administrator");
    admin
        .connection()
        .batch_execute("CREATE ROLE alice LOGIN PASSWORD 'open-sesame-7'")
        .await
        .expect("a role");
    let parts = Config {
        host: "127.0.0.1".into(),
        port: postgres.port(),
        user: "alice".into(),
        password: "open-barley-7".into(),
        retry_limit: 100,
        retry_interval: Duration::from_secs(100),
        ..sized(Config::default(), 1)
    };
    let dsn = format!("postgres://alice:open-barley-7@127.0.0.1:{}/postgres", postgres.port());
    for config in [parts.clone(), Config { dsn: Some(dsn), ..parts.clone() }] {
        assert!(!format!("{config:?}").contains("open-barley-7"));
        let (err, text) = refused(config).await;
        assert_eq!(err.code().map(|code| code.code()), Some("28P01"), "{err:?}");
        assert!(text.contains(r#"password authentication failed for user "alice""#), "{text}");
        assert!(!text.contains("open-barley-7") && !format!("{err:?}").contains("open-barley-7"));
    }
    assert!(!log::ours_with(&["ERROR", "password authentication failed", "alice"]).is_empty());

    let right = Config { password: "open-sesame-7".into(), ..parts };
    let db = connected(right).await;
    backend(&db.connection()).await;
    assert!(!format!("{db:?}").contains("open-sesame-7"));
    db.close().await;
    for secret in ["open-barley-7", "open-sesame-7"] {
        let shown = log::lines_with(&[secret]);
        // The statement that makes the role is the test's own.
        assert!(shown.iter().all(|line| line.contains("CREATE ROLE")), "{shown:?}");
    }
}

/// P20, case 8: `retry_limit` is the number of attempts in all.
#[actix_web::test]
async fn an_unreachable_server_is_tried_so_often_and_no_more() {
    log::keep();
    let port = deserted_port().await;
    let config = Config {
        host: "127.0.0.1".into(),
        port,
        retry_limit: 3,
        retry_interval: Duration::from_millis(10),
        ..Config::default()
    };
    let (err, _) = refused(config).await;
    assert!(matches!(err, Error::Connect(_)), "{err:?}");
    let server = format!("127.0.0.1:{port}");
    assert_eq!(log::ours_with(&["WARN", "not reachable yet", &server]).len(), 2);
    assert_eq!(log::ours_with(&["ERROR", "giving up", &server]).len(), 1);
}

/// P20, case 7: a server that comes up late is waited for.
#[actix_web::test]
async fn a_server_that_comes_up_late_is_waited_for() {
    let database = database().await;
    let port = Postgres::shared().expect("a server").port();
    let proxy = Proxy::before(port).await;
    proxy.refuse();
    let config = Config {
        dsn: Some(proxy.dsn(database.dsn())),
        retry_limit: 1000,
        retry_interval: Duration::from_millis(20),
        ..sized(Config::default(), 1)
    };
    log::keep();
    let starting = tokio::spawn(Database::connect(config));
    let address = format!("127.0.0.1:{}", proxy.port());
    eventually("some attempts", async || log::ours_with(&["not reachable yet", &address]).len() >= 2).await;
    proxy.heal();
    let db = soon("a start", starting).await.expect("joined").expect("a connected database");
    backend(&db.connection()).await;
}

/// P20, case 24: a start that fails half-way leaves no backend behind.
#[actix_web::test]
async fn a_failed_start_leaves_no_backend() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let role = format!("few_{}", database.name());
    let sql = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'few' CONNECTION LIMIT 2");
    observer.connection().batch_execute(&sql).await.expect("a role");
    let dsn = dsn_as(&database, &role, "few");
    let (err, text) = refused(Config { dsn: Some(dsn), ..Config::default() }).await;
    assert_eq!(err.code().map(|code| code.code()), Some("53300"), "{text}");
    assert_eq!(observer.backends().await, 0);
    observer.connection().batch_execute(&format!("DROP ROLE \"{role}\"")).await.expect("no role");
}

/// P20: a server that accepts and says nothing is given up on.
#[actix_web::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let server = FakeServer::start().await;
    server.hold(Phase::Connect);
    let config = Config { connect_timeout: Duration::from_millis(100), ..server.config(1) };
    let (err, text) = refused(config).await;
    assert!(matches!(err, Error::Connect(_)), "{err:?}");
    assert!(text.ends_with("did not answer within 100ms (`connect_timeout`)"), "{text}");
}

/// Bad input: SQL that fails is a typed error with its SQLSTATE, and the connection goes on.
#[actix_web::test]
async fn sql_that_fails_is_a_typed_error() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    for (sql, state) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM no_such_table", "42P01"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 1; SELECT 2", "42601"),
    ] {
        let err = conn.query(sql, &[]).await.expect_err("a refusal");
        assert_eq!(err.code().map(|code| code.code()), Some(state), "{sql}");
        assert_eq!(err.as_db_error().map(|err| err.code().code()), Some(state));
        assert_eq!(err.to_string(), "the statement failed");
        assert!(err.source().is_some());
    }
    let err = conn.batch_execute("SELECT 1; SELEC 2").await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("42601"));
    let err = conn.query("SELECT $1::int", &[]).await.expect_err("a parameter is missing");
    assert!(matches!(err, Error::Postgres(_)), "{err:?}");
    let err = conn.query("SELECT $1::int", &[&"text"]).await.expect_err("a wrong type");
    assert!(matches!(err, Error::Postgres(_)), "{err:?}");
    let err = conn.query_one_scalar::<i64>("SELECT 1::int", &[]).await.expect_err("a wrong type");
    assert!(matches!(err, Error::Postgres(_)), "{err:?}");
    assert!(matches!(conn.query_one("SELECT 1 WHERE false", &[]).await, Err(Error::NoRows)));
    assert!(matches!(conn.query_one("VALUES (1), (2)", &[]).await, Err(Error::TooManyRows)));
    assert!(matches!(conn.query_opt("VALUES (1), (2)", &[]).await, Err(Error::TooManyRows)));
    backend(&conn).await;
    assert_eq!(db.status().used, 1);
}

/// Case 26: a DSN is shown with its password masked.
#[actix_web::test]
async fn no_debug_shows_a_password() {
    let config = Config {
        password: "hunter2-a".into(),
        dsn: Some("postgres://u:hunter2-b@127.0.0.1/db?password=hunter2-c".into()),
        ..Config::default()
    };
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
