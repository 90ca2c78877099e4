//! `actix-pg` beside its peers: one server process each, driven in turn against the same PostgreSQL.

use std::{env, fs, process};

mod args;
mod loads;
mod measure;
mod client;
mod process_stats;
mod pin;
mod server;
mod database;
mod app;
mod session;
mod contenders;
mod results;
mod load_results;
mod targets;
mod machine;
mod report;
mod simulate;
mod chart;

use args::Args;
use contenders::{Outcome, serve};
use database::Server;
use machine::Machine;
use pin::Cores;
use results::Results;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", name, workers] => {
            workers.parse().map_err(Into::into).and_then(|workers| serve(name, workers))
        }
        ["simulate", ref options @ ..] => simulate::run(options),
        ["--help" | "-h"] => {
            print!("{}", args::HELP);
            Ok(())
        }
        _ => Args::parse().and_then(run),
    };
    if let Err(err) = outcome {
        eprintln!("error: {err}");
        process::exit(1);
    }
}

fn run(mut args: Args) -> Outcome {
    args.contenders.retain(|contender| {
        let ready = contender.prepare();
        if let Err(reason) = &ready {
            eprintln!("{} is skipped: {reason}", contender.name());
        }
        ready.is_ok()
    });
    let cores = if args.pin { Some(Cores::divide()?) } else { None };
    let server = Server::start()?;
    let machine = Machine::look(server.version()?);
    if let Some(cores) = &cores {
        cores.pin(server.postmaster()?)?;
        eprintln!("{cores}");
    }
    let loads = measure::all(&args, server.dsn(), cores.as_ref())?;
    let results = Results::new(machine, &args, cores.map(|cores| cores.to_string()), loads);
    print!("{}", report::markdown(&results));
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&results)?)?;
    }
    if let Some(folder) = &args.charts {
        chart::draw(&results, folder)?;
    }
    Ok(())
}
