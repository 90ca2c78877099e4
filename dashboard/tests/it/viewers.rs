//! What viewers cost.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::rt::{net::TcpStream, time::sleep};
use socket2::{Domain, Socket, Type};
use std::io::Write;

use crate::support::TestApp;

#[actix_web::test]
async fn without_a_viewer_no_figures_are_kept() {
    let app = TestApp::start(|config| config).await;
    let conn = app.db.connection();
    conn.query("SELECT 1 AS nobody_looks_yet", &[]).await.unwrap();
    let mut viewer = app.look().await;
    viewer.sample().await;
    conn.query("SELECT 2 AS somebody_looks", &[]).await.unwrap();
    viewer.sample_where(|data| data["statement_count"] == 1).await;
    drop(viewer);

    wait_until_nobody_watches().await;
    conn.query("SELECT 3 AS nobody_looks_anymore", &[]).await.unwrap();
    let event = app.look().await.sample().await;
    let texts = event.data["statements"].to_string();
    assert!(texts.contains("somebody_looks") && !texts.contains("nobody"), "{texts}");
    drop(conn);
    app.stop().await;
}

#[actix_web::test]
async fn all_viewers_are_sent_the_same_samples() {
    let app = TestApp::start(|config| config).await;
    let mut viewers = Vec::new();
    for _ in 0..30 {
        viewers.push(app.look().await);
    }
    let mut samples = HashMap::new();
    for viewer in &mut viewers {
        for _ in 0..4 {
            let sample = viewer.sample().await;
            // The time of a sample is its id: two samples in one second would have two.
            samples.insert(sample.id, sample.data);
        }
    }
    let mut times: Vec<u64> = samples.into_keys().collect();
    times.sort_unstable();
    let seconds = (times[times.len() - 1] - times[0]) / 1000;
    assert!(times.len() as u64 <= seconds + 2, "{times:?}");
    app.stop().await;
}

#[actix_web::test]
async fn a_hundred_may_look_at_a_time() {
    let app = TestApp::start(|config| config).await;
    let mut viewers = Vec::new();
    for _ in 0..100 {
        viewers.push(app.look().await);
    }
    let (status, headers, _) = app.get("/dashboard/events").await;
    assert_eq!((status.as_u16(), headers.contains_key("retry-after")), (503, true));
    drop(viewers);
    let mut attempts = 0;
    while awc::Client::new().get(app.url("/dashboard/events")).send().await.unwrap().status() == 503 {
        attempts += 1;
        assert!(attempts < 100, "nobody's place was given back");
        sleep(Duration::from_millis(100)).await;
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_dropped() {
    let app = TestApp::start(|config| config).await;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&app.address.into()).unwrap();
    let mut socket = std::net::TcpStream::from(socket);
    socket.write_all(b"GET /dashboard/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = TcpStream::from_std(socket).unwrap();

    let conn = app.db.connection();
    // It is a viewer at first: the figures of its statement are kept.
    sleep(Duration::from_secs(2)).await;
    conn.query("SELECT 1 AS watched", &[]).await.unwrap();
    sleep(Duration::from_secs(25)).await;
    conn.query("SELECT 2 AS not_watched", &[]).await.unwrap();
    let texts = app.look().await.sample().await.data["statements"].to_string();
    assert!(texts.contains("? AS watched"), "{texts}");
    assert!(!texts.contains("not_watched"), "{texts}");
    drop(socket);
    drop(conn);
    app.stop().await;
}

/// The watch outlives the last viewer by three seconds.
async fn wait_until_nobody_watches() {
    sleep(Duration::from_secs(6)).await;
}
