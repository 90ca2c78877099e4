//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;

use crate::contenders::{Contender, Outcome};
use crate::loads::Load;

pub(crate) const HELP: &str = "\
Runs one server process per contender and drives them in turn.

Usage: cargo run --release -p bench -- [OPTIONS]

  --quick           some loads, 3 rounds of 0.8 s: under 3 minutes
  --only A,B,…      these contenders; the first is compared with the others
  --loads A,B,…     these loads
  --rounds N        how often each contender is measured under each load [7]
  --seconds S       how long each time [3]
  --pin             server, database and clients on processors of their own (needs taskset)
  --json FILE       write every sample, the settings and the targets
  --charts FOLDER   write SVG charts
  -h, --help

`simulate` instead of options simulates the sizes of pools: see simulate --help.

Contenders: actix-pg, actix-pg-shared, bb8-postgres, bb8-postgres-tuned, deadpool-postgres, sqlx, limit, wire, gino-starlette,
  none
Loads: c8w2, c16w2, c64w2, c256w2 (clients, workers), c8w1, c16w1, c64w1, c256w1, plain, five, slow, uneven,
  tenants, transaction, mixed, dirty

PostgreSQL: a throwaway server, or a database on that of TEST_DATABASE_URL.
";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) loads: Vec<Load>,
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    /// Ahead of each sample.
    pub(crate) warm_up: Duration,
    pub(crate) pin: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) charts: Option<PathBuf>,
    /// As it was typed.
    pub(crate) command: String,
}

impl Args {
    pub(crate) fn parse() -> Outcome<Self> {
        let (mut contenders, mut loads) = (None, None);
        let (mut rounds, mut duration) = (None, None);
        let (mut json, mut charts) = (None, None);
        let (mut quick, mut pin) = (false, false);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("quick") => quick = true,
                Long("pin") => pin = true,
                Long("only") => contenders = Some(list(parser.value()?, Contender::named)?),
                Long("loads") => loads = Some(list(parser.value()?, Load::named)?),
                Long("rounds") => rounds = Some(parser.value()?.parse()?),
                Long("seconds") => {
                    duration = Some(Duration::try_from_secs_f64(parser.value()?.parse()?)?);
                }
                Long("json") => json = Some(PathBuf::from(parser.value()?)),
                Long("charts") => charts = Some(PathBuf::from(parser.value()?)),
                Short(_) | Long(_) | lexopt::Arg::Value(_) => return Err(arg.unexpected().into()),
            }
        }
        let typed: Vec<String> = std::env::args().skip(1).collect();
        Ok(Self {
            contenders: contenders.unwrap_or_else(|| Contender::ALL.to_vec()),
            loads: loads.unwrap_or_else(|| if quick { Load::quick() } else { Load::all() }),
            rounds: rounds.unwrap_or(if quick { 3 } else { 7 }),
            duration: duration.unwrap_or(Duration::from_millis(if quick { 800 } else { 3000 })),
            warm_up: Duration::from_millis(if quick { 200 } else { 500 }),
            pin,
            json,
            charts,
            command: ["cargo run --release -p bench --", &typed.join(" ")].join(" "),
        })
    }
}

fn list<T>(value: OsString, named: impl Fn(&str) -> Option<T>) -> Outcome<Vec<T>> {
    value
        .string()?
        .split(',')
        .map(|name| named(name).ok_or_else(|| format!("unknown name {name:?}; see --help").into()))
        .collect()
}
