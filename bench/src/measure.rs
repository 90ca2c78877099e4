//! In turn, round after round.

use crate::app::Route;
use crate::args::Args;
use crate::client::Clients;
use crate::contenders::{Contender, Outcome, Setup};
use crate::load_results::{LoadResults, Measured, Sample};
use crate::loads::Load;
use crate::pin::{self, Cores};
use crate::process_stats as stats;
use crate::server::Server;

/// Every load, with the contenders that suit it.
pub(crate) fn all(args: &Args, dsn: &str, cores: Option<&Cores>) -> Outcome<Vec<LoadResults>> {
    let mut results = Vec::new();
    for load in &args.loads {
        let contenders: Vec<_> =
            args.contenders.iter().copied().filter(|contender| load.suits(*contender)).collect();
        if !contenders.is_empty() {
            eprintln!("{}: {}", load.name, load.text());
            results.push(one(args, dsn, cores, load, &contenders)?);
        }
    }
    Ok(results)
}

/// One load. Servers that are not being measured idle.
///
/// Every other round goes backwards, so that no contender always follows the same one, and a machine that slows down
/// meanwhile does not always slow down the same ones.
fn one(
    args: &Args,
    dsn: &str,
    cores: Option<&Cores>,
    load: &Load,
    contenders: &[Contender],
) -> Outcome<LoadResults> {
    let mut servers = Vec::new();
    for &contender in contenders {
        let setup = Setup { dsn: dsn.to_owned(), workers: load.workers, clean: load.route == Route::Dirty };
        let server = Server::start(contender, &setup)?;
        if let Some(cores) = cores {
            pin::process(server.pid(), &cores.server)?;
        }
        Clients::connect(server.addr(), load)?.drive(args.warm_up)?;
        servers.push((server, Measured::new(contender)));
    }
    for round in 0..args.rounds {
        let mut turn: Vec<_> = servers.iter_mut().collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for (server, measured) in turn {
            measured.samples.push(sample(args, load, server)?);
        }
    }
    let contenders = servers.into_iter().map(|(_, measured)| measured).collect::<Vec<_>>();
    Ok(LoadResults::new(load, contenders))
}

fn sample(args: &Args, load: &Load, server: &Server) -> Outcome<Sample> {
    let mut clients = Clients::connect(server.addr(), load)?;
    clients.drive(args.warm_up)?;
    stats::forget_peak_memory(server.pid());
    let before = stats::cpu_time(server.pid());
    let driven = clients.drive(args.duration)?;
    let after = stats::cpu_time(server.pid());
    let peak_memory = stats::peak_memory(server.pid());
    let driven = clients.finish(driven)?;
    let cpu_time = before.zip(after).map(|(before, after)| after - before);
    Ok(Sample::new(driven, cpu_time, peak_memory))
}
