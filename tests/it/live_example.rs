//! The example `live`, run: server-sent events for 500 browsers from one session.

use std::time::Duration;

use actix_pg::Config;
use futures_util::future::join_all;
use serde_json::json;
use test_support::{Observer, TestApp, Wire, connected, database, eventually, sized, within};

#[path = "../../examples/live.rs"]
mod example;

const BROWSERS: usize = 500;

/// One backend for all of them; one that does not read delays nobody.
#[actix_web::test]
async fn five_hundred_browsers_are_one_session() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(Config { pool_min_size: 1, ..sized(database.config(), 2) }).await;
    db.batch_execute(example::SCHEMA).await.expect("a schema");
    let app = TestApp::with_workers(2, &db, example::routes);

    let browser = async || {
        let mut wire = Wire::to(&app).await;
        wire.send("/events").await;
        within(Duration::from_secs(60), "a stream", wire.read_until(": listening")).await;
        wire
    };
    let mut browsers = join_all((0..BROWSERS).map(|_| browser())).await;
    let lazy = browsers.pop();
    let status = db.status();
    assert_eq!(status.used, 0, "{status:?}");
    assert_eq!(observer.backends().await, i64::from(status.open) + 1);

    for text in ["first", "two\nlines\n\nevent: forged"] {
        let sent = app.post("/messages", &json!(text)).await;
        assert_eq!(sent.status, 204);
    }
    let heard = join_all(browsers.iter_mut().map(|wire| wire.read_until("forged"))).await;
    for heard in heard {
        let first = heard.find("first").unwrap_or_else(|| panic!("{heard:?}"));
        assert!(first < heard.find("forged").expect("the other"), "{heard:?}");
        // In JSON, as it was sent: one line.
        assert!(!heard.contains("\nevent: forged"), "{heard:?}");
    }

    // They hang up, and the session is gone.
    drop((browsers, lazy));
    app.stop().await;
    eventually("nobody listens", async || observer.backends().await == i64::from(db.status().open)).await;
}

/// A text with line ends is one event, whatever it looks like.
#[actix_web::test]
async fn a_text_cannot_forge_an_event() {
    let database = database().await;
    let db = connected(sized(database.config(), 2)).await;
    db.batch_execute(example::SCHEMA).await.expect("a schema");
    let app = TestApp::with_workers(1, &db, example::routes);
    let mut wire = Wire::to(&app).await;
    wire.send("/events").await;
    wire.read_until(": listening").await;
    let text = "a\n\nevent: reload\rdata: b\r\nc";
    db.execute("INSERT INTO messages (text) VALUES ($1)", &[&text]).await.expect("a row");
    let heard = wire.read_until("data: c\n\n").await;
    assert!(heard.contains("data: a\ndata: \ndata: event: reload\ndata: data: b\n"), "{heard:?}");
    drop(wire);
    // The stream ends with the database.
    let mut wire = Wire::to(&app).await;
    wire.send("/events").await;
    wire.read_until(": listening").await;
    db.close().await;
    wire.read_until("0\r\n\r\n").await;
    app.stop().await;
}
