//! What an application costs over time: memory, file descriptors, backends and permits have to stay flat.
//!
//! ```sh
//! cargo run --release --example soak -- --minutes 10
//! ```

use std::env;
use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database};
use futures_util::TryStreamExt;
use tokio::time::{Instant, sleep, timeout};

const CLIENTS: u64 = 32;
const ROWS: u64 = 15;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let length = Duration::from_secs_f64(minutes()? * 60.0);
    let postgres = Postgres::start()?;
    let database = postgres.database_with("CREATE TABLE written (id bigserial, text text)").await?;
    let db = Database::connect(Config {
        pool_max_size: 8,
        max_lifetime: Some(Duration::from_secs(20)),
        command_timeout: Some(Duration::from_secs(5)),
        ..database.config()
    })
    .await?;
    let observer = Database::connect(Config {
        pool_min_size: 1,
        pool_max_size: 1,
        application_name: Some("observer".into()),
        ..database.config()
    })
    .await?;
    let (requests, failures) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (db, requests, failures) = (db.clone(), Arc::clone(&requests), Arc::clone(&failures));
            tokio::spawn(async move {
                for round in number.. {
                    if request(db.connection(), round).await.is_err() {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    println!(
        "{:>6} {:>10} {:>8} {:>9} {:>5} {:>9} {:>6} {:>6}",
        "s", "requests", "failed", "rss kB", "fds", "backends", "open", "used"
    );
    let start = Instant::now();
    let mut ended = 0_u64;
    while start.elapsed() < length {
        sleep(
            (length / ROWS as u32).min(length.saturating_sub(start.elapsed())).max(Duration::from_millis(1)),
        )
        .await;
        // A server that ends sessions now and then is part of the life of a pool.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name <> 'observer' AND backend_type = 'client backend' LIMIT 2";
        ended += observer.connection().query(end, &[]).await?.len() as u64;
        print_row(&db, &observer, start, &requests, &failures).await?;
    }
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    for client in clients {
        let _ = client.await;
    }
    let rested = async {
        while db.status().used > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), rested).await?;
    println!("at rest, after {ended} sessions were ended by the server:");
    print_row(&db, &observer, start, &requests, &failures).await?;
    db.close().await;
    observer.close().await;
    Ok(())
}

/// A little of everything, failures and abandoned statements included.
async fn request(conn: Connection, round: u64) -> actix_pg::Result<()> {
    match round % 8 {
        0 => drop(timeout(Duration::from_millis(1), conn.query("SELECT pg_sleep(0.01)", &[])).await),
        1 => drop(conn.query("SELECT 1 / 0", &[]).await),
        2 => {
            conn.query_raw("SELECT generate_series(1, 10000)", &[]).await?.try_next().await?;
        }
        3 => {
            conn.batch_execute(
                "SET search_path = pg_temp; CREATE TEMP TABLE t (id int); PREPARE p AS SELECT 1",
            )
            .await?
        }
        4 => {
            conn.batch_execute("BEGIN").await?;
            conn.execute("INSERT INTO written (text) VALUES ('rolled back')", &[]).await?;
        }
        // A text of its own each time: the cache of statements has to forget.
        5 => drop(conn.query(&format!("SELECT {round}"), &[]).await?),
        6 => drop(conn.client().await?.query("SELECT 1", &[]).await?),
        _ => drop(conn.query("SELECT count(*) FROM written WHERE id < $1", &[&(round as i64)]).await?),
    }
    Ok(())
}

async fn print_row(
    db: &Database,
    observer: &Database,
    start: Instant,
    requests: &AtomicU64,
    failures: &AtomicU64,
) -> Result<(), Box<dyn Error>> {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name <> 'observer' AND backend_type = 'client backend'";
    let backends: i64 = observer.connection().query_one_scalar(count, &[]).await?;
    let status = db.status();
    println!(
        "{:>6.0} {:>10} {:>8} {:>9} {:>5} {:>9} {:>6} {:>6}",
        start.elapsed().as_secs_f64(),
        requests.load(Ordering::Relaxed),
        failures.load(Ordering::Relaxed),
        resident().unwrap_or_default(),
        fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        backends,
        status.open,
        status.used,
    );
    Ok(())
}

/// Memory in kB, where the system says it.
fn resident() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").to_owned())
}

fn minutes() -> Result<f64, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(10.0),
        (Some("--minutes"), Some(minutes)) => Ok(minutes.parse()?),
        _ => Err("usage: soak --minutes N".into()),
    }
}
