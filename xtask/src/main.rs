//! The commands of the project: `cargo xtask quickstart`, `cargo xtask test`, `cargo xtask ci`.

use std::env;
use std::process::ExitCode;

mod run;
mod setup;
mod checks;
#[path = "../../testing/src/binaries.rs"]
mod binaries;

const USAGE: &str = "\
Usage: cargo xtask <command>

  quickstart [arguments]  runs the example quickstart with these arguments
  test [arguments]        runs cargo test --all-features with these arguments
  ci                      checks formatting, lints, documentation, what is packaged, each feature
                          alone, and each provider of TLS's cryptography

quickstart and test need a PostgreSQL server and a C compiler, and some tests need PgBouncer. What
is missing is installed with apt-get, dnf, apk or brew. No PostgreSQL server is needed where
TEST_DATABASE_URL names one, nor, for quickstart, where DATABASE_URL does.

For a trial:
  XTASK_DRY_RUN           prints the commands and runs none of them
  XTASK_POSTGRES_PATH     the folders to look for PostgreSQL in, instead of the usual ones
  XTASK_PGBOUNCER_PATH    the same for PgBouncer
  XTASK_PACKAGE_MANAGER   apt-get, dnf, apk or brew, instead of the one that the machine has";

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
