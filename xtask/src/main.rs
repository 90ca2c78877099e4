//! The project's chores: `cargo xtask quickstart`, `cargo xtask test`, `cargo xtask ci`.

use std::env;
use std::process::ExitCode;

mod run;
mod setup;
mod checks;
#[path = "../../src/testing/binaries.rs"]
mod binaries;

const USAGE: &str = "\
Usage: cargo xtask <command>

  quickstart [arguments]  run the example; they are handed to it
  test [arguments]        run the tests; they are handed to cargo test
  ci                      formatting, lints, documentation, each feature alone, TLS's providers

The first two look for what they need, a PostgreSQL server and a C compiler, and for the tests
PgBouncer, and install what is missing with apt-get, dnf, apk or brew. With TEST_DATABASE_URL set,
or DATABASE_URL for quickstart, no PostgreSQL is looked for.

To try these out: with XTASK_DRY_RUN set, commands are printed and not run; XTASK_POSTGRES_PATH and
XTASK_PGBOUNCER_PATH are where the servers are looked for, and XTASK_PACKAGE_MANAGER is what they
are installed with.";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let result = match command.as_str() {
        "quickstart" => quickstart(&rest),
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

fn test(arguments: &[String]) -> run::Result {
    setup::c_compiler()?;
    setup::postgres(&["TEST_DATABASE_URL"])?;
    setup::pgbouncer();
    run::cargo(["test", "--all-features"].into_iter().chain(arguments.iter().map(String::as_str)))
}
