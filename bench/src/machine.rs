//! Where and with what was measured.

use std::thread::available_parallelism;
use std::{env, fs};

use serde::Serialize;

const LOCK: &str = include_str!("../../Cargo.lock");

const CRATES: [&str; 8] =
    ["actix-pg", "actix-web", "bb8", "bb8-postgres", "deadpool-postgres", "sqlx", "tokio", "tokio-postgres"];

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: Option<u64>,
    pub(crate) system: String,
    pub(crate) rustc: &'static str,
    pub(crate) postgres: String,
    pub(crate) crates: Vec<String>,
}

impl Machine {
    pub(crate) fn look(postgres: String) -> Self {
        let processor = proc_line("cpuinfo", "model name").unwrap_or_else(|| env::consts::ARCH.to_owned());
        let memory = proc_line("meminfo", "MemTotal")
            .and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor,
            processors: available_parallelism().map_or(1, usize::from),
            memory_gib: memory.map(|kibibytes| (kibibytes / f64::from(1 << 20)).round() as u64),
            system: format!("{} {}", env::consts::OS, kernel.trim()).trim().to_owned(),
            rustc: env!("RUSTC_VERSION"),
            postgres,
            crates: CRATES.iter().filter_map(|name| version(name)).collect(),
        }
    }

    pub(crate) fn text(&self) -> [String; 2] {
        let Self { processor, processors, memory_gib, system, rustc, postgres, crates } = self;
        let memory = memory_gib.map_or_else(String::new, |gib| format!(", {gib} GiB"));
        [
            format!("{processors} × {processor}{memory}, {system}; PostgreSQL {postgres}; {rustc}"),
            crates.join(", "),
        ]
    }
}

fn proc_line(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{file}")).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key)?;
    Some(value.trim().to_owned())
}

fn version(name: &str) -> Option<String> {
    let (_, package) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    let (version, _) = package.split_once('"')?;
    Some(format!("{name} {version}"))
}
