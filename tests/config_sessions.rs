//! What the options ask of every session holds on the server, and goes on holding.
#![cfg(unix)]

use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, IsolationLevel, Reset};

async fn shown(conn: &Connection, name: &str) -> String {
    let sql = "SELECT current_setting($1)";
    conn.query_one(sql, &[&name]).await.unwrap_or_else(|err| panic!("{name}: {err:?}")).get(0)
}

/// Conformance case 25.
#[tokio::test]
async fn settings_survive_a_reset() {
    let database = Postgres::shared().unwrap().database().await.unwrap();
    let odd = "it's \\ a \"text\"\twith $1 -c x=y\nand \u{e9}\u{4e2d}";
    let config = Config {
        pool_min_size: 0,
        pool_max_size: 1,
        reset: Reset::Always,
        application_name: Some("a shop's \\ web".into()),
        statement_timeout: Some(Duration::from_millis(12_345)),
        isolation_level: Some(IsolationLevel::RepeatableRead),
        server_settings: [
            ("search_path".into(), "app, \"Odd name\", public".into()),
            ("app.odd".into(), odd.into()),
            ("app.empty".into(), String::new()),
        ]
        .into(),
        driver_options: [("options".into(), r"-c work_mem=8MB -c app.own=of\ mine --geqo=off".into())].into(),
        ..database.config()
    };
    let expected = [
        ("search_path", "app, \"Odd name\", public"),
        ("app.odd", odd),
        ("app.empty", ""),
        ("app.own", "of mine"),
        ("application_name", "a shop's \\ web"),
        ("default_transaction_isolation", "repeatable read"),
        ("transaction_isolation", "repeatable read"),
        ("statement_timeout", "12345ms"),
        ("work_mem", "8MB"),
        ("geqo", "off"),
    ];
    let db = Database::connect(config).await.unwrap();
    let conn = db.connection();
    for undo in ["SELECT 1", "RESET ALL", "DISCARD PLANS", "SET SESSION AUTHORIZATION DEFAULT"] {
        for (name, value) in expected {
            assert_eq!(shown(&conn, name).await, value, "{name} before {undo}");
        }
        let spoil = "SET search_path = pg_catalog; SET app.odd = ''; SET statement_timeout = 0;
                     SET default_transaction_isolation = 'read committed'; SET application_name = 'x'";
        conn.batch_execute(spoil).await.unwrap();
        conn.batch_execute(undo).await.unwrap();
        conn.release().unwrap();
    }
}

#[tokio::test]
async fn a_setting_that_the_server_does_not_take_fails_the_start_at_once() {
    let database = Postgres::shared().unwrap().database().await.unwrap();
    let config = Config {
        retry_limit: 100,
        server_settings: [("work_mem".into(), "plenty".into())].into(),
        ..database.config()
    };
    let err = Database::connect(config).await.unwrap_err();
    assert_eq!(err.code().map(|code| code.code()), Some("22023"), "{err:?}");
}
