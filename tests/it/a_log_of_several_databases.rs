//! Where an application has several databases, its log says which of them a line is about.

use std::any::type_name;
use std::time::Duration;

use actix_pg::{Config, Database, Echo};
use test_support::{Proxy, database, eventually, log, sized};

enum Archive {}

enum Reports {}

/// The log says which database it is about: its lines and warnings, and the error of who waits in vain.
#[actix_web::test]
async fn the_log_names_the_database() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let slow = Some(Duration::from_millis(20));
    let db = Database::connect(Config {
        acquire_timeout: Duration::from_millis(60),
        slow_statement: slow,
        slow_acquire: slow,
        echo: Echo::Statements,
        ..sized(config, 1)
    })
    .await
    .expect("a database");
    let archive = db.named::<Archive>();
    archive
        .named::<Reports>()
        .batch_execute("DO $$ BEGIN RAISE NOTICE 'archived'; END $$")
        .await
        .expect("a notice");
    let field = format!("database=\"{}\"", type_name::<Archive>());
    let is_logged = |parts: &[&str]| !log::ours_with(&[&[field.as_str()], parts].concat()).is_empty();

    assert!(is_logged(&["INFO", "the database has a name", &proxy.port().to_string(), database.name()]));
    assert!(is_logged(&["actix_pg::notice", "archived"]));
    archive.query("SELECT pg_sleep(0.03)", &[]).await.expect("a slow statement");
    assert!(is_logged(&["WARN", "a statement was slow"]));
    assert!(is_logged(&["INFO", "pg_sleep"]), "the echo");
    let held = archive.connection();
    held.query("SELECT 1", &[]).await.expect("the only session");
    let late = archive.query("SELECT 1", &[]).await.expect_err("no session is free");
    let name = type_name::<Archive>();
    assert!(
        format!("{late:#}").contains(&format!("no session of the database `{name}` became free")),
        "{late:#}"
    );
    assert!(is_logged(&["WARN", "a request still waits"]));
    drop(held);

    proxy.refuse();
    proxy.cut();
    eventually("an outage", async || {
        let _ = archive.query("SELECT 1", &[]).await;
        is_logged(&["WARN", "cannot open a session"])
    })
    .await;
    proxy.heal();
    eventually("its end", async || is_logged(&["INFO", "sessions can be opened again"])).await;
    archive.close().await;
    assert!(is_logged(&["the database is closed"]));
    assert!(is_logged(&["DEBUG", "session closed"]));
    let other = format!("database=\"{}\"", type_name::<Reports>());
    let lines = log::ours_with(&[&other, &proxy.port().to_string()]);
    assert!(lines.is_empty(), "the first name stays: {lines:?}");
}
