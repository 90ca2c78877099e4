//! What a viewer is sent.

use std::time::{Duration, Instant};

use actix_pg::Config;
use serde_json::Value;

use crate::support::TestApp;

#[actix_web::test]
async fn an_event_a_second_says_what_the_pool_does() {
    let app = TestApp::start(|config| Config { pool_min_size: 2, pool_max_size: 3, ..config }).await;
    let mut viewer = app.look().await;
    let first = viewer.next().await.expect("an event");
    assert_eq!(first.name, "history");
    let before = viewer.sample().await;
    assert_eq!(before.data["status"]["max"], 3);
    assert_eq!(before.data["sessions"].as_array().unwrap().len(), 2);
    viewer.sample().await;

    let (since, mut id) = (Instant::now(), before.id);
    for _ in 0..3 {
        let event = viewer.sample().await;
        assert!(event.id > id, "{} after {id}", event.id);
        id = event.id;
    }
    let elapsed = since.elapsed();
    assert!((Duration::from_millis(2500)..Duration::from_secs(6)).contains(&elapsed), "{elapsed:?}");

    let conn = app.db.connection();
    let tx = conn.transaction().await.unwrap();
    tx.query("SELECT 1 FROM pg_class LIMIT 5", &[]).await.unwrap();
    let event = viewer.sample_where(|data| data["statement_count"] != 0 && data["status"]["used"] == 1).await;
    let session =
        event.data["sessions"].as_array().unwrap().iter().find(|session| session["state"] != "idle");
    let session = session.expect("a session in use");
    assert_eq!(session["state"], "idle_in_transaction");
    assert_eq!(session["statement"], "SELECT pg_class");
    assert!(session["caller"].as_str().unwrap().contains("events.rs:"), "{session}");
    let one = statement(&event.data, "SELECT pg_class").expect("the statement");
    assert_eq!((&one["sql"], &one["calls"]), (&"SELECT ? FROM pg_class LIMIT ?".into(), &1.into()));
    assert_eq!((&one["rows"], &one["only_reads"]), (&5.into(), &true.into()));
    assert!(one["longest"].as_u64() <= one["total"].as_u64());
    tx.rollback().await.unwrap();

    conn.query("SELECT 1 / 0", &[]).await.unwrap_err();
    let event = viewer.sample_where(|data| statement(data, "SELECT").is_some()).await;
    let failed = event.data["statements"].as_array().unwrap().iter().find(|one| one["sql"] == "SELECT ? / ?");
    assert_eq!(failed.expect("the failed one")["errors"]["22012"], 1);
    drop(conn);
    app.stop().await;
}

#[actix_web::test]
async fn sql_that_is_markup_is_sent_as_text_and_without_its_literals() {
    let app = TestApp::start(|config| config).await;
    let mut viewer = app.look().await;
    viewer.sample().await;
    let sql = "SELECT 'a secret' AS \"<script>alert(1)</script>\n\ndata: x\"";
    app.db.connection().query(sql, &[]).await.unwrap();
    let event = viewer.sample_where(|data| data["statement_count"] != 0).await;
    let shown = event.data["statements"][0]["sql"].as_str().unwrap();
    assert!(shown.starts_with("SELECT ? AS \"<script>alert(1)</script>"), "{shown}");
    assert!(!event.data.to_string().contains("secret"));
    app.stop().await;
}

#[actix_web::test]
async fn the_last_minutes_come_first_and_what_was_seen_does_not_come_again() {
    let app = TestApp::start(|config| config).await;
    let mut viewer = app.look().await;
    let first = viewer.sample().await;
    viewer.sample().await;
    let third = viewer.sample().await;
    drop(viewer);

    let times = |history: &Value| -> Vec<u64> {
        history["points"].as_array().unwrap().iter().map(|point| point["at"].as_u64().unwrap()).collect()
    };
    let all = times(&app.look().await.next().await.unwrap().data);
    assert_eq!(all.first(), Some(&first.id));
    assert!(all.contains(&third.id), "{all:?}");
    let newer = times(&app.look_again(Some(third.id)).await.next().await.unwrap().data);
    assert!(newer.iter().all(|at| *at > third.id), "{newer:?}");
    app.stop().await;
}

#[actix_web::test]
async fn what_happens_in_the_pool_is_noted() {
    let app = TestApp::start(|config| Config {
        pool_min_size: 1,
        pool_max_size: 1,
        acquire_timeout: Duration::from_millis(50),
        ..config
    })
    .await;
    let mut viewer = app.look().await;
    viewer.sample().await;
    let holder = app.db.connection();
    let tx = holder.transaction().await.unwrap();
    for _ in 0..2 {
        app.db.connection().execute("SELECT 1", &[]).await.unwrap_err();
    }
    let mut timeouts = 0;
    while timeouts < 2 {
        let event = viewer.sample().await;
        let notes = event.data["notes"].as_array().unwrap();
        timeouts += notes
            .iter()
            .filter(|note| note["kind"] == "timeouts")
            .filter_map(|note| note["count"].as_u64())
            .sum::<u64>();
    }
    assert_eq!(timeouts, 2);
    tx.rollback().await.unwrap();
    // A viewer who comes later sees it too.
    let history = app.look().await.next().await.unwrap().data;
    assert!(history["notes"].as_array().unwrap().iter().any(|note| note["kind"] == "timeouts"), "{history}");
    drop(holder);
    app.stop().await;
}

#[actix_web::test]
async fn warnings_are_noted_with_their_line_and_alike_ones_once() {
    let slow = Some(Duration::from_millis(1));
    let app = TestApp::start(|config| Config { slow_statement: slow, ..config }).await;
    let mut viewer = app.look().await;
    viewer.sample().await;
    for _ in 0..5 {
        app.db.connection().query("SELECT 'a secret' FROM pg_sleep(0.02)", &[]).await.unwrap();
    }
    let (mut notes, mut count) = (Vec::new(), 0);
    while count < 5 {
        let event = viewer.sample().await;
        let new = event.data["notes"].as_array().unwrap().clone();
        let warnings = new.into_iter().filter(|note| note["kind"] == "slow_statement");
        for note in warnings {
            count += note["count"].as_u64().unwrap();
            notes.push(note);
        }
    }
    assert!(count == 5 && notes.len() <= 2, "{notes:?}");
    assert!(notes[0]["duration"].as_u64() >= Some(20_000), "{notes:?}");
    assert!(notes[0]["caller"].as_str().unwrap().contains("events.rs:"), "{notes:?}");
    assert!(!format!("{notes:?}").contains("secret"), "{notes:?}");
    app.stop().await;
}

fn statement<'a>(data: &'a Value, summary: &str) -> Option<&'a Value> {
    data["statements"].as_array()?.iter().find(|statement| statement["summary"] == summary)
}
