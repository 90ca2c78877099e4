//! The same requests on a real server: pools of `actix-pg`, as many as there are processes, all in this one.

use std::time::{Duration, Instant};

use actix_pg::{Config, Database};
use actix_web::rt::{self, System};
use tokio_postgres::NoTls;

use super::model::{Model, Request};
use crate::contenders::Outcome;

/// Waits, and works for so many rows. The sort keeps the server from finding a shorter way.
const STATEMENT: &str =
    "SELECT pg_sleep($1), (SELECT max(n * n % 1009) FROM generate_series(1, $2::bigint) AS n)";

/// What a server is found to need, when nobody else asks it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calibration {
    /// For a statement that neither waits nor works.
    pub(super) round_trip: Duration,
    /// That it works on in a second.
    pub(super) rows_per_second: f64,
}

/// What became of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) arrived: Duration,
    pub(super) queued: Duration,
    pub(super) held: Duration,
}

/// Makes the waits whole milliseconds, as `pg_sleep` counts them.
pub(super) fn rounded(requests: &mut [Request]) {
    for request in requests {
        let milliseconds = request.wait.as_nanos().div_ceil(1_000_000);
        request.wait = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX));
    }
}

pub(super) fn calibrate(dsn: &str) -> Outcome<Calibration> {
    System::new().block_on(async {
        let (client, driver) = tokio_postgres::connect(dsn, NoTls).await?;
        rt::spawn(driver);
        let statement = client.prepare(STATEMENT).await?;
        let median = async |rows: i64| -> Outcome<Duration> {
            let mut times = Vec::new();
            for _ in 0..101 {
                let begun = Instant::now();
                client.query_one(&statement, &[&0.0, &rows]).await?;
                times.push(begun.elapsed());
            }
            times.sort_unstable();
            Ok(times[times.len() / 2])
        };
        const ROWS: i32 = 20_000;
        let round_trip = median(0).await?;
        let working = median(ROWS.into()).await?.saturating_sub(round_trip);
        Ok(Calibration { round_trip, rows_per_second: f64::from(ROWS) / working.as_secs_f64() })
    })
}

/// Sends the requests at their times, and says how long each has queued for a session and held it.
pub(super) fn run(
    model: Model,
    requests: &[Request],
    dsn: &str,
    calibration: Calibration,
) -> Outcome<Vec<Measured>> {
    System::new().block_on(async {
        let size = u32::try_from(model.sessions)?;
        let config = Config {
            dsn: Some(dsn.to_owned()),
            pool_min_size: size,
            pool_max_size: size,
            ..Config::default()
        };
        let mut pools = Vec::new();
        for _ in 0..model.processes {
            let db = Database::connect(config.clone()).await?;
            // Has each session prepare the statement.
            let warm = (0..size * 4).map(|_| {
                let db = db.clone();
                rt::spawn(async move { db.query_one(STATEMENT, &[&0.002, &0_i64]).await.map(drop) })
            });
            for one in warm.collect::<Vec<_>>() {
                one.await??;
            }
            pools.push(db);
        }
        let start = Instant::now();
        let mut running = Vec::new();
        for (index, request) in requests.iter().copied().enumerate() {
            let db = pools[index % pools.len()].clone();
            rt::time::sleep((start + request.arrives).saturating_duration_since(Instant::now())).await;
            let rows = (request.core.as_secs_f64() * calibration.rows_per_second) as i64;
            running.push(rt::spawn(async move {
                let arrived = Instant::now();
                let conn = db.connection();
                // Borrows. The rest of its time is a round trip.
                conn.query("SELECT 1", &[]).await?;
                let queued = arrived.elapsed().saturating_sub(calibration.round_trip);
                conn.query_one(STATEMENT, &[&request.wait.as_secs_f64(), &rows]).await?;
                let held = arrived.elapsed().saturating_sub(queued);
                Ok::<_, actix_pg::Error>(Measured { arrived: arrived - start, queued, held })
            }));
        }
        let mut served = Vec::new();
        for one in running {
            served.push(one.await??);
        }
        for db in pools {
            db.close().await;
        }
        Ok(served)
    })
}
