//! A server that goes silent without a word is noticed (P15).
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use actix_pg::Config;
use test_support::{Proxy, connected, database, sized};
use tokio::time::timeout;

/// More than the buffers of all sockets in between hold.
const LARGE: usize = 64 << 20;

/// How long a statement that the server does not read takes to fail; `None` if it has not within the bound.
async fn unread(parameters: &str, bound: Duration) -> Option<Duration> {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let dsn = format!("{}?keepalives=0&{parameters}", config.dsn.expect("a DSN"));
    let db = connected(sized(Config::from_dsn(&dsn).expect("a DSN"), 1)).await;
    let conn = db.connection();
    let sql = "SELECT length($1::text)";
    conn.query(sql, &[&""]).await.expect("a prepared statement");
    proxy.stall();
    let start = Instant::now();
    let failed = timeout(bound, conn.query(sql, &[&"x".repeat(LARGE)])).await.ok()?;
    failed.expect_err("nobody reads");
    Some(start.elapsed())
}

#[actix_web::test]
async fn what_is_sent_and_not_taken_is_given_up_on() {
    let bound = Duration::from_millis(500);
    let noticed = unread("tcp_user_timeout=500ms", 10 * bound).await.expect("noticed");
    // The kernel looks at the bound with each probe, and probes after 0.2, 0.6, 1.4 and 3 s.
    assert!((bound..8 * bound).contains(&noticed), "{noticed:?}");
    assert_eq!(unread("tcp_user_timeout=0", 9 * bound).await, None);
}
