//! Runs a command, such as `cargo test`, with one throwaway server for all of it.
//!
//! ```console
//! $ with-postgres cargo test --workspace
//! ```
//!
//! All test binaries make their databases on that server, and each schema runs once for all of them. The server goes with the
//! command.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    use std::env;
    use std::error::Error;
    use std::iter::successors;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use actix_pg_testing::Postgres;

    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-postgres COMMAND [ARGUMENT ...], for instance: with-postgres cargo test");
        return ExitCode::from(2);
    };
    let postgres = match Postgres::builder().start() {
        Ok(postgres) => postgres,
        Err(err) => {
            let causes: Vec<_> =
                successors(Some(&err as &dyn Error), |&err| err.source()).map(ToString::to_string).collect();
            eprintln!("with-postgres: {}", causes.join(": "));
            return ExitCode::from(2);
        }
    };
    let mut command = Command::new(&program);
    command.args(arguments);
    command.env("TEST_DATABASE_URL", postgres.dsn()).env("TEST_DATABASE_TEMPLATES", "shared");
    match command.status() {
        // As a shell says that a signal has ended it.
        Ok(status) => {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Err(err) => {
            eprintln!("with-postgres: {}: {err}", program.display());
            ExitCode::from(127)
        }
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("with-postgres: not on this system");
    ExitCode::from(2)
}
