//! `bench simulate`: how long requests queue, by the sizes of pools, the number of processes, a pooler and the cores of the database.

mod measured;
mod model;

use std::thread::available_parallelism;
use std::time::Duration;

use measured::Calibration;
use model::{Model, Request};

use crate::contenders::Outcome;
use crate::database::Server;

pub(crate) const HELP: &str = "\
Simulates how long requests queue for a session.

Usage: cargo run --release -p bench -- simulate [OPTIONS]

  --seed N    other requests [1]
  --check     runs some of them on a PostgreSQL server too, and compares
  -h, --help
";

/// So many requests of each simulation.
const REQUESTS: usize = 200_000;

/// And of each that is measured.
const MEASURED: usize = 3_000;

const MS: Duration = Duration::from_millis(1);

/// A table: its title, the load of all its rows, and the rows.
struct Table {
    title: &'static str,
    rate: f64,
    wait: Duration,
    core: Duration,
    rows: Vec<Model>,
}

pub(crate) fn run(args: &[&str]) -> Outcome {
    let (mut seed, mut check) = (1, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--seed" => seed = args.next().ok_or("--seed needs a number")?.parse()?,
            "--check" => check = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            other => return Err(format!("{other:?} is no option; see simulate --help").into()),
        }
    }
    println!("Seed {seed}, {REQUESTS} requests a row. Times in milliseconds.\n");
    for table in tables() {
        simulate(&table, seed);
    }
    if check { compare(seed) } else { Ok(()) }
}

fn tables() -> Vec<Table> {
    let one = Model { processes: 1, sessions: 1, pooler: None, cores: 8 };
    let sessions =
        |counts: &[usize]| counts.iter().map(|sessions| Model { sessions: *sessions, ..one }).collect();
    vec![
        Table {
            title: "The size of a pool",
            rate: 400.0,
            wait: MS * 4,
            core: MS,
            rows: sessions(&[3, 4, 5, 6, 8, 10]),
        },
        Table {
            title: "As many sessions, in more processes",
            rate: 2200.0,
            wait: MS * 4,
            core: MS,
            rows: [(1, 16), (2, 8), (4, 4), (8, 2), (8, 4)]
                .map(|(processes, sessions)| Model { processes, sessions, ..one })
                .into(),
        },
        Table {
            title: "Work alone, on 4 cores",
            rate: 800.0,
            wait: Duration::ZERO,
            core: MS * 4,
            rows: [4, 5, 6, 8, 16, 64].map(|sessions| Model { sessions, cores: 4, ..one }).into(),
        },
        Table {
            title: "A pooler in between",
            rate: 2200.0,
            wait: MS * 4,
            core: MS,
            rows: [Some(12), Some(16), Some(24), Some(32), None]
                .map(|pooler| Model { processes: 8, sessions: 8, pooler, ..one })
                .into(),
        },
    ]
}

fn simulate(table: &Table, seed: u64) {
    let requests = model::requests(seed, REQUESTS, table.rate, table.wait, table.core);
    println!("## {}\n", table.title);
    println!("{}.\n", load(table));
    println!(
        "| processes | `pool_max_size` | pooler | cores | queue p50 | queue p99 | total p50 | total p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for &model in &table.rows {
        let served = model::run(model, &requests);
        let [queue_50, queue_99] = quantiles(served.iter().map(|one| one.queued));
        let [total_50, total_99] = quantiles(served.iter().map(|one| one.total));
        println!("{} {queue_50} | {queue_99} | {total_50} | {total_99} |", columns(model));
    }
    println!();
}

fn load(table: &Table) -> String {
    let Table { rate, wait, core, .. } = table;
    format!(
        "{rate} requests a second in all, each of which waits for {wait:?} and works for {core:?} on the average"
    )
}

fn columns(Model { processes, sessions, pooler, cores }: Model) -> String {
    let pooler = pooler.map_or_else(|| "none".to_owned(), |connections| connections.to_string());
    format!("| {processes} | {sessions} | {pooler} | {cores} |")
}

/// The same requests by the model and on a server.
fn compare(seed: u64) -> Outcome {
    let server = Server::start()?;
    let calibration = measured::calibrate(server.dsn())?;
    let Calibration { round_trip, rows_per_second } = calibration;
    let cores = available_parallelism()?.get();
    println!("## Checked\n");
    println!(
        "PostgreSQL {} on {cores} cores that it shares with the client; a round trip takes {round_trip:?}, a core works on {:.1} million rows \
         a second. {MEASURED} requests a row.\n",
        server.version()?,
        rows_per_second / 1e6
    );
    println!(
        "| requests a second | wait | work | processes | `pool_max_size` | held, mean | queue p50 | model | queue p99 | model |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let work = |part: f64| part * cores as f64 / 0.004;
    for (rate, wait, core, processes, sessions) in [
        (200.0, MS * 10, Duration::ZERO, 1, 4),
        (320.0, MS * 10, Duration::ZERO, 1, 4),
        (320.0, MS * 10, Duration::ZERO, 2, 2),
        (320.0, MS * 10, Duration::ZERO, 1, 6),
        (work(0.5), Duration::ZERO, MS * 4, 1, cores),
        (work(0.5), Duration::ZERO, MS * 4, 1, 4 * cores),
    ] {
        let model = Model { processes, sessions, pooler: None, cores };
        let mut requests = model::requests(seed, MEASURED, rate, wait, core);
        if !wait.is_zero() {
            measured::rounded(&mut requests);
        }
        let measured = measured::run(model, &requests, server.dsn(), calibration)?;
        let held: f64 = measured.iter().map(|one| one.held.as_secs_f64()).sum();
        let held = held / measured.len() as f64 * 1e3;
        // The model gets the times that sessions were held. So it is its queues that are compared, and not how busy the machine is.
        let requests: Vec<_> = measured
            .iter()
            .map(|one| Request { arrives: one.arrived, wait: one.held, core: Duration::ZERO })
            .collect();
        let simulated = model::run(Model { cores: usize::MAX, ..model }, &requests);
        let [measured_50, measured_99] = quantiles(measured.iter().map(|one| one.queued));
        let [model_50, model_99] = quantiles(simulated.iter().map(|one| one.queued));
        println!(
            "| {rate} | {wait:?} | {core:?} | {processes} | {sessions} | {held:.1} | {measured_50} | {model_50} | {measured_99} | {model_99} |"
        );
    }
    Ok(())
}

/// The median and the 99th percentile, in milliseconds.
fn quantiles(times: impl IntoIterator<Item = Duration>) -> [String; 2] {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort_unstable();
    [50, 99].map(|percent| {
        let time = times.get(times.len() * percent / 100).copied().unwrap_or_default();
        format!("{:.1}", time.as_secs_f64() * 1e3)
    })
}
