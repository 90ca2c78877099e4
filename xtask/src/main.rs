//! The commands of the project: `cargo xtask quickstart`, `cargo xtask demo`, `cargo xtask test`, `cargo xtask ci`.

use std::env;
use std::process::ExitCode;

mod run;
mod setup;
mod newer_pgbouncer;
mod checks;
#[path = "../../testing/src/binaries.rs"]
mod binaries;

const USAGE: &str = "\
Usage: cargo xtask <command>

  quickstart [arguments]  runs the example quickstart with these arguments
  demo                    runs an application with buttons beside its dashboard
  test [arguments]        runs cargo test --all-features with these arguments; without any, also the
                          tests of the derive macro and of the dashboard
  ci                      checks formatting, lints, documentation, what is packaged, each feature
                          alone, and each provider of TLS's cryptography; tests the examples that
                          are packages of their own

quickstart, demo and test need a PostgreSQL server and a C compiler, and some tests need PgBouncer,
Patroni with etcd and HAProxy, or Chromium with its driver. What is missing is installed with apt-get, dnf, apk or brew. No
PostgreSQL server is needed where TEST_DATABASE_URL names one, nor, for quickstart and demo, where
DATABASE_URL does. Tests of a pooler run behind the PgBouncer in PATH, and behind those that
PGBOUNCER names; apt fetches a newer one into target where the distribution's is older than 1.21.

For a trial:
  XTASK_DRY_RUN           prints the commands and runs none of them
  XTASK_POSTGRES_PATH     the folders to look for PostgreSQL in, instead of the usual ones
  XTASK_PGBOUNCER_PATH    the same for PgBouncer
  XTASK_PATRONI_PATH      the same for Patroni, etcd and HAProxy
  XTASK_CHROMIUM_PATH     the same for Chromium's driver
  XTASK_PACKAGE_MANAGER   apt-get, dnf, apk or brew, instead of the one that the machine has";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let result = match command.as_str() {
        "quickstart" => quickstart(&rest),
        "demo" if rest.is_empty() => demo(),
        "test" => test(&rest),
        "ci" if rest.is_empty() => checks::all(),
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn quickstart(arguments: &[String]) -> run::Result {
    setup::c_compiler()?;
    setup::postgres(&["DATABASE_URL", "TEST_DATABASE_URL"])?;
    run::cargo(
        ["run", "--example", "quickstart", "--"].into_iter().chain(arguments.iter().map(String::as_str)),
    )
}

fn demo() -> run::Result {
    setup::c_compiler()?;
    setup::postgres(&["DATABASE_URL", "TEST_DATABASE_URL"])?;
    run::cargo(["run", "--package", "actix-pg-demo"])
}

fn test(arguments: &[String]) -> run::Result {
    setup::c_compiler()?;
    setup::postgres(&["TEST_DATABASE_URL"])?;
    let pgbouncer = setup::pgbouncer();
    let variables: Vec<_> = pgbouncer.iter().map(|newer| ("PGBOUNCER", newer.as_str())).collect();
    if arguments.is_empty() {
        setup::patroni();
        setup::chromium();
        run::cargo_with(&variables, ["test", "--all-features"])?;
        let beside = ["actix-pg-derive", "actix-pg-dashboard", "actix-pg-demo"];
        return run::cargo(
            ["test"].into_iter().chain(beside.into_iter().flat_map(|name| ["--package", name])),
        );
    }
    let test = ["test", "--all-features"].into_iter();
    run::cargo_with(&variables, test.chain(arguments.iter().map(String::as_str)))
}
