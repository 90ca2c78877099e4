//! A server that goes silent without a word is noticed (P15).
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use actix_pg::{Config, Error};
use test_support::{FakeServer, Fault, Phase, Proxy, connected, database, sized, soon};
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

/// P17: the server is asked why it has refused a write, and does not answer. The session is not lent again, and nobody waits behind the
/// question.
#[actix_web::test]
async fn a_server_that_does_not_say_whether_it_takes_writes_costs_a_session() {
    let server = FakeServer::start().await;
    server.reports("server_version", "15.8");
    server.reports("in_hot_standby", "off");
    server.reports("default_transaction_read_only", "off");
    let config = Config { reset_timeout: Duration::from_millis(200), ..server.config(2) };
    let config =
        Config { dsn: config.dsn.map(|dsn| format!("{dsn}&target_session_attrs=read-write")), ..config };
    let db = connected(config).await;
    let conn = db.connection();
    server.script(Phase::Statement, "INSERT", Fault::Error("25006"));
    server.script(Phase::Simple, "pg_is_in_recovery", Fault::Silence);
    let refused = conn.execute("INSERT INTO a VALUES ($1)", &[&1_i64]).await.expect_err("it is refused");
    assert!(refused.is_unavailable());
    let lost = soon("an answer", conn.query("SELECT 1", &[])).await.expect_err("no answer came");
    assert!(matches!(lost, Error::SessionLost), "{lost:?}");
    conn.release().expect("nothing runs");
    soon("an answer", conn.query("SELECT 1", &[])).await.expect("another session");
    assert_eq!(server.passed(Phase::Connect), 2);
    drop(conn);
    db.close().await;
}
