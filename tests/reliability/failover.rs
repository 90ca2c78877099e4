//! A primary and its standbys: which of them is found, and what a promotion, a demotion and a frozen primary cost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use actix_pg::testing::Cluster;

use actix_pg::{Config, Database, Error};
use actix_web::ResponseError;
use futures_util::future::join_all;
use test_support::{Proxy, all_returned, connected, eventually};
use tokio::time::timeout;

use crate::common::{HANG, sqlstate};

fn config(dsn: &str, wanted: &str) -> Config {
    Config {
        dsn: Some(format!("{dsn}?sslmode=disable&target_session_attrs={wanted}")),
        pool_min_size: 4,
        pool_max_size: 4,
        connect_timeout: Duration::from_secs(2),
        command_timeout: Some(Duration::from_secs(2)),
        ..Config::default()
    }
}

/// The port of the server that a pool finds; `None` where none will do.
async fn found(dsn: &str, wanted: &str) -> Option<u16> {
    let db = match Database::connect(Config { retry_limit: 1, ..config(dsn, wanted) }).await {
        Ok(db) => db,
        Err(Error::Connect(_)) => return None,
        Err(err) => panic!("{err}"),
    };
    let port: i32 = db.query_one_scalar("SELECT inet_server_port()", &[]).await.expect("a port");
    db.close().await;
    Some(u16::try_from(port).expect("a port"))
}

fn cluster() -> Cluster {
    Cluster::builder().synchronous(1).start().expect("a cluster")
}

/// The processes of a server, stopped until this is dropped.
struct Frozen(String);

impl Frozen {
    fn of(data: impl AsRef<Path>) -> Self {
        let text = fs::read_to_string(data.as_ref().join("postmaster.pid")).expect("a server");
        let postmaster = text.lines().next().expect("a process").to_owned();
        let stop = |processes: &str| signal("STOP", processes);
        // It first, so that there are no new ones.
        stop(&postmaster);
        let children = fs::read_dir("/proc").expect("processes").filter_map(|process| {
            let process = process.ok()?.file_name().into_string().ok()?;
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
            (parent == postmaster).then_some(process)
        });
        let all = children.chain([postmaster.clone()]).collect::<Vec<_>>().join(" ");
        stop(&all);
        Self(all)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

fn signal(name: &str, processes: &str) {
    Command::new("sh").args(["-c", &format!("kill -{name} {processes}")]).status().expect("a signal");
}

#[tokio::test]
async fn each_word_finds_its_server() {
    let cluster = cluster();
    let (primary, standby) = (cluster.primary().port(), cluster.standby(0).port());
    let (dsn, both) = (cluster.dsn().to_owned(), [Some(primary), Some(standby)]);
    let turned =
        dsn.replace(&format!("{primary},"), "x,").replace(&standby.to_string(), &primary.to_string());
    let turned = turned.replace("x,", &format!("{standby},"));
    for (wanted, expected) in [
        ("any", None),
        ("read-write", both[0]),
        ("primary", both[0]),
        ("read-only", both[1]),
        ("standby", both[1]),
        ("prefer-standby", both[1]),
    ] {
        for dsn in [&dsn, &turned] {
            let found = found(dsn, wanted).await;
            match expected {
                Some(_) => assert_eq!(found, expected, "{wanted}"),
                None => assert!(both.contains(&found), "{wanted}"),
            }
        }
    }

    // A primary that takes no writes.
    take_no_writes(&cluster);
    assert_eq!(found(&dsn, "primary").await, both[0]);
    assert_eq!(found(&dsn, "read-only").await, both[0]);
    assert_eq!(found(&dsn, "read-write").await, None);

    cluster.standby(0).stop().expect("a stop");
    assert_eq!(found(&dsn, "prefer-standby").await, both[0]);
    assert_eq!(found(&dsn, "standby").await, None);
}

/// As behind a pooler, and with PostgreSQL 13.
#[tokio::test]
async fn a_server_that_reports_nothing_is_asked() {
    let cluster = cluster();
    let mut ports = Vec::new();
    let mut proxies = Vec::new();
    for server in [cluster.primary(), cluster.standby(0)] {
        let proxy = Proxy::before(server.port()).await;
        proxy.hide("in_hot_standby");
        ports.push(Some(server.port()));
        proxies.push(proxy);
    }
    let dsn = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        proxies[0].port(),
        proxies[1].port()
    );
    for (wanted, expected) in
        [("read-write", 0), ("primary", 0), ("read-only", 1), ("standby", 1), ("prefer-standby", 1)]
    {
        assert_eq!(found(&dsn, wanted).await, ports[expected], "{wanted}");
    }
}

/// Writers that go on until they have succeeded for a while: what failed, and how long each call took.
struct Writes {
    failures: Vec<(Instant, Error)>,
    longest: Duration,
    last_success: Instant,
}

async fn write(db: &Database, writers: usize, until: Instant) -> Writes {
    let writer = async || {
        let mut writes =
            Writes { failures: Vec::new(), longest: Duration::ZERO, last_success: Instant::now() };
        while Instant::now() < until {
            let start = Instant::now();
            match db.execute("INSERT INTO runs DEFAULT VALUES", &[]).await {
                Ok(_) => writes.last_success = Instant::now(),
                Err(err) => writes.failures.push((Instant::now(), err)),
            }
            writes.longest = writes.longest.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        writes
    };
    let all = timeout(HANG, join_all((0..writers).map(|_| writer()))).await.expect("an end");
    all.into_iter()
        .reduce(|mut all, one| {
            all.failures.extend(one.failures);
            all.longest = all.longest.max(one.longest);
            all.last_success = all.last_success.max(one.last_success);
            all
        })
        .expect("writers")
}

const RUNS: &str = "CREATE TABLE runs (id bigint GENERATED ALWAYS AS IDENTITY)";

fn take_no_writes(cluster: &Cluster) {
    cluster.primary().write("postgresql.auto.conf", "default_transaction_read_only = on\n").expect("a file");
    cluster.primary().reload().expect("a reload");
}

/// Statements, transactions and a handle that is kept meet a server that takes no writes any more while its sessions live on, as in a
/// switchover. They get 503 and nothing else, and soon the other server.
#[tokio::test]
async fn sessions_of_a_server_that_became_read_only_are_replaced() {
    // Not synchronous: what was the primary would wait for its standby.
    let cluster = Cluster::start().expect("a cluster");
    let db = connected(config(cluster.dsn(), "read-write")).await;
    db.batch_execute(RUNS).await.expect("a table");
    let end = Instant::now() + Duration::from_secs(4);
    let (mut switched, kept) = (end, db.connection());
    let kept = async {
        while Instant::now() < end {
            if let Err(err) = kept.execute("INSERT INTO runs DEFAULT VALUES", &[]).await {
                assert_eq!(err.status_code().as_u16(), 503, "{err:#}");
                let _ = kept.release();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        kept.execute("INSERT INTO runs DEFAULT VALUES", &[]).await.expect("a write");
    };
    let transactions = async {
        while Instant::now() < end {
            let in_transaction = async {
                let tx = db.build_transaction().begin().await?;
                tx.execute("INSERT INTO runs DEFAULT VALUES", &[]).await?;
                tx.commit().await
            };
            if let Err(err) = in_transaction.await {
                assert_eq!(err.status_code().as_u16(), 503, "{err:#}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let switch = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.promote(0).expect("a promotion");
        take_no_writes(&cluster);
        switched = Instant::now();
    };
    let (writes, ..) = tokio::join!(write(&db, 4, end), kept, transactions, switch);
    for (at, err) in &writes.failures {
        assert_eq!(err.status_code().as_u16(), 503, "{err:#}");
        assert!(*at < switched + Duration::from_secs(3), "{:?} later: {err:#}", *at - switched);
    }
    eprintln!("{} failures, the longest write took {:?}", writes.failures.len(), writes.longest);
    assert!(writes.last_success > switched + Duration::from_secs(1));
    assert!(db.status().counters.ended.read_only > 0);
}

/// With `any` a server that takes no writes will do. A session that could write when it was opened is replaced, once.
#[tokio::test]
async fn with_any_a_session_is_replaced_once() {
    let cluster = cluster();
    let dsn = cluster.primary().dsn().to_owned();
    let db = connected(config(&dsn, "any")).await;
    db.batch_execute(RUNS).await.expect("a table");
    take_no_writes(&cluster);
    for _ in 0..200 {
        let err = db.execute("INSERT INTO runs DEFAULT VALUES", &[]).await.expect_err("read-only");
        assert_eq!(sqlstate(&err), "25006");
    }
    all_returned(&db).await;
    let counters = db.status().counters;
    assert!((1..=4).contains(&counters.ended.read_only), "{counters:?}");
    assert_eq!(db.query_one_scalar::<i32>("SELECT 1", &[]).await.expect("an answer"), 1);
}

/// With one host there is nowhere to go to. The answer says that the server is not there for writes, and is the same each time.
#[tokio::test]
async fn without_a_server_that_will_do_the_answer_is_the_same() {
    let cluster = Cluster::builder().standbys(2).start().expect("a cluster");
    let db = connected(config(cluster.dsn(), "primary")).await;
    cluster.primary().stop().expect("a stop");
    let end = Instant::now() + Duration::from_secs(3);
    let (mut told, mut failures) = (None, 0);
    while Instant::now() < end {
        let start = Instant::now();
        let err = db.query("SELECT 1", &[]).await.expect_err("no primary");
        assert_eq!(err.status_code().as_u16(), 503, "{err:#}");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        failures += 1;
        // The first may have met the end of its session.
        if failures > 20 {
            let text = format!("{err:#}");
            assert!(text.contains("is what `target_session_attrs` asks for"), "{text}");
            assert_eq!(*told.get_or_insert_with(|| text.clone()), text);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.promote(1).expect("a promotion");
    eventually("the promoted one is found", || async { db.query("SELECT 1", &[]).await.is_ok() }).await;
}

/// The kernel takes the connection, and no process answers. The next host has its turn after a quarter of a second.
#[tokio::test]
async fn a_silent_host_costs_no_time_out() {
    let cluster = cluster();
    let frozen = Frozen::of(cluster.primary().data_dir().expect("a folder"));
    let start = Instant::now();
    let db = connected(Config { pool_min_size: 1, pool_max_size: 8, ..config(cluster.dsn(), "any") }).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // It is remembered: the others have no head start to wait for.
    let conns: Vec<_> = (0..8).map(|_| db.connection()).collect();
    for conn in &conns {
        let port: i32 = conn.query_one_scalar("SELECT inet_server_port()", &[]).await.expect("a port");
        assert_eq!(port, i32::from(cluster.standby(0).port()));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    drop(frozen);
}

#[tokio::test]
async fn a_frozen_primary_costs_some_seconds_once() {
    let cluster = cluster();
    let db = connected(config(cluster.dsn(), "read-write")).await;
    db.batch_execute(RUNS).await.expect("a table");
    join_all((0..8).map(|_| db.execute("INSERT INTO runs DEFAULT VALUES", &[]))).await;
    let frozen = Frozen::of(cluster.primary().data_dir().expect("a folder"));
    cluster.promote(0).expect("a promotion");
    let start = Instant::now();
    let writes = write(&db, 8, start + Duration::from_secs(10)).await;
    let last = writes.failures.iter().map(|(at, _)| *at - start).max();
    eprintln!(
        "{} failures, the last after {last:?}; the longest took {:?}",
        writes.failures.len(),
        writes.longest
    );
    assert!(writes.longest < Duration::from_secs(5), "{:?}", writes.longest);
    assert!(last < Some(Duration::from_secs(5)), "{last:?}");
    assert!(writes.last_success > start + Duration::from_secs(9));
    drop(frozen);
}

#[tokio::test]
async fn a_write_in_a_read_only_transaction_costs_no_session() {
    let cluster = cluster();
    let db = connected(config(cluster.dsn(), "read-write")).await;
    db.batch_execute(RUNS).await.expect("a table");
    all_returned(&db).await;
    let before = db.status().counters;
    for number in 0..1_000 {
        let refused = match number % 2 {
            0 => {
                let read_only = db.build_transaction().read_only(true).begin().await.expect("a transaction");
                let refused = read_only.execute("INSERT INTO runs DEFAULT VALUES", &[]).await;
                read_only.rollback().await.expect("a rollback");
                refused
            }
            _ => {
                let conn = db.connection();
                conn.execute("SET default_transaction_read_only = on", &[]).await.expect("a setting");
                conn.execute("INSERT INTO runs DEFAULT VALUES", &[]).await
            }
        };
        let err = refused.expect_err("read-only");
        assert_eq!((sqlstate(&err), err.status_code().as_u16()), ("25006", 500));
    }
    all_returned(&db).await;
    let after = db.status().counters;
    assert_eq!(after.ended, before.ended);
    assert_eq!(db.execute("INSERT INTO runs DEFAULT VALUES", &[]).await.expect("a write"), 1);
}
