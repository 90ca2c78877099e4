//! Server, database and load generator on processors of their own, as on machines of their own.

use std::fmt;
use std::process::{self, Command, Stdio};

use crate::contenders::Outcome;
use crate::process_stats::{children, processors};

/// The processors of each, as `taskset` takes them.
#[derive(Debug)]
pub(crate) struct Cores {
    pub(crate) server: String,
    database: String,
    clients: String,
}

impl Cores {
    /// Divides the processors of the machine. Of two, the clients share that of the database: the server's own time is what is
    /// measured.
    pub(crate) fn divide() -> Outcome<Self> {
        let all = processors().ok_or("pinning needs Linux")?;
        let (clients, others) = match all[..] {
            [] | [_] => return Err("pinning needs two processors at least".into()),
            [_, second] => (second, &all[..]),
            [ref others @ .., last] => (last, others),
        };
        let (server, database) = others.split_at(others.len() / 2);
        Ok(Self { server: list(server), database: list(database), clients: list(&[clients]) })
    }

    /// Pins this process, and the database with the processes that it has started and will start.
    pub(crate) fn pin(&self, postmaster: u32) -> Outcome {
        // The postmaster first, so that no process is started meanwhile that is not.
        process(postmaster, &self.database)?;
        for child in children(postmaster) {
            // It may have ended.
            let _ = process(child, &self.database);
        }
        process(process::id(), &self.clients)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, database, clients } = self;
        write!(f, "server on processor {server}, PostgreSQL on {database}, clients on {clients}")
    }
}

/// Pins a process with all its threads.
pub(crate) fn process(pid: u32, cores: &str) -> Outcome {
    let mut taskset = Command::new("taskset");
    taskset.args(["-acp", cores, &pid.to_string()]).stdout(Stdio::null());
    let status = taskset.status().map_err(|err| format!("taskset (of util-linux): {err}"))?;
    if status.success() { Ok(()) } else { Err(format!("taskset failed: {status}").into()) }
}

fn list(processors: &[u32]) -> String {
    processors.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
