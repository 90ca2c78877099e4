//! A planned change of the primary, by Patroni: what the application sees of it, and what is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use actix_pg::{Config, Database, Error};
use test_support::{connected, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::patroni::Patroni;

/// How long after Patroni's answer the first write may take, on a machine under load.
const RESUMED: Duration = Duration::from_secs(5);

/// What writers have done.
#[derive(Default)]
struct Written {
    next: AtomicI64,
    /// Acknowledged and after the last mark.
    recent: AtomicU64,
    failed: AtomicU64,
    stopped: AtomicBool,
}

/// Writes with ten writers, switches over, and counts what was acknowledged and is gone.
async fn survives(patroni: &Patroni, dsn: String, table: &str) {
    patroni.is_whole().await;
    let db = connected(Config {
        dsn: Some(dsn),
        pool_max_size: 5,
        command_timeout: Some(Duration::from_secs(2)),
        connect_timeout: Duration::from_secs(2),
        acquire_timeout: Duration::from_secs(3),
        ..Config::default()
    })
    .await;
    db.connection()
        .batch_execute(&format!("CREATE TABLE {table} (id int8 PRIMARY KEY)"))
        .await
        .expect("a table");

    let written = Arc::new(Written::default());
    let mut writers = JoinSet::new();
    for _ in 0..10 {
        writers.spawn(write(db.clone(), format!("INSERT INTO {table} VALUES ($1)"), Arc::clone(&written)));
    }
    eventually("writes", || async { written.recent.load(Ordering::Relaxed) > 100 }).await;

    patroni.switch_over().await;
    let since = Instant::now();
    written.recent.store(0, Ordering::Relaxed);
    while written.recent.load(Ordering::Relaxed) == 0 && since.elapsed() < RESUMED {
        sleep(Duration::from_millis(10)).await;
    }
    let resumed = since.elapsed();
    let failed = written.failed.swap(0, Ordering::Relaxed);
    assert!(resumed < RESUMED, "no write {resumed:?} after the switchover");
    eventually("writes", || async { written.recent.load(Ordering::Relaxed) > 500 }).await;
    written.stopped.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    while let Some(of_writer) = writers.join_next().await {
        acknowledged.extend(of_writer.expect("no panic"));
    }
    let kept: Vec<i64> =
        db.query_scalar(&format!("SELECT id FROM {table} ORDER BY id"), &[]).await.expect("rows");
    let lost = acknowledged.iter().filter(|id| kept.binary_search(id).is_err()).count();
    eprintln!(
        "{table}: {} acknowledged, {failed} failed, writes resumed after {resumed:.2?}",
        acknowledged.len()
    );
    assert_eq!(lost, 0, "acknowledged and gone");
    db.close().await;
}

/// The numbers whose rows were acknowledged.
async fn write(db: Database, sql: String, written: Arc<Written>) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    while !written.stopped.load(Ordering::Relaxed) {
        let id = written.next.fetch_add(1, Ordering::Relaxed);
        match db.execute(&sql, &[&id]).await {
            Ok(_) => {
                acknowledged.push(id);
                written.recent.fetch_add(1, Ordering::Relaxed);
            }
            Err(err) => {
                written.failed.fetch_add(1, Ordering::Relaxed);
                let expected =
                    err.is_unavailable() || matches!(err, Error::TimedOut { .. }) || err.code().is_some();
                assert!(expected, "{err:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    acknowledged
}

/// P29.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_follow_patronis_primary_and_none_is_lost() {
    let Some(patroni) = Patroni::start().await else { return };
    survives(&patroni, patroni.dsn() + "?target_session_attrs=read-write", "several_hosts").await;
    survives(&patroni, patroni.proxy_dsn(), "behind_haproxy").await;
}
