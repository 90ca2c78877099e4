//! The tests of a pooler once more, behind each PgBouncer that can keep prepared statements, where it does and where it does not.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bouncer::{PROGRAM, SETTINGS};
use crate::programs::find;

/// The first version that can.
const FIRST: (u32, u32) = (1, 21);

#[test]
fn newer_poolers_that_keep_prepared_statements_and_that_do_not() {
    let named = env::var_os("PGBOUNCER").unwrap_or_default();
    let named = env::split_paths(&named).filter(|program| !program.as_os_str().is_empty());
    let newer: Vec<PathBuf> =
        find("pgbouncer").into_iter().chain(named).filter(|program| version(program) >= FIRST).collect();
    if newer.is_empty() {
        assert!(env::var_os("CI").is_none(), "no PgBouncer is 1.21 or newer: PGBOUNCER names one");
        eprintln!("skipped: no PgBouncer is 1.21 or newer; PGBOUNCER names one");
    }
    for program in &newer {
        passes(program, "max_prepared_statements = 200", &["transaction_pooler::", "pgbouncer::"]);
        passes(program, "max_prepared_statements = 0", &["transaction_pooler::"]);
    }
}

/// Runs these tests in a process of their own.
fn passes(program: &Path, settings: &str, tests: &[&str]) {
    let mut command = Command::new(env::current_exe().expect("this program"));
    let run = command.args(tests).env(PROGRAM, program).env(SETTINGS, settings).output().expect("a run");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}, {settings}: {said}", program.display());
}

/// What a program says of itself: `PgBouncer 1.18.0`.
fn version(program: &Path) -> (u32, u32) {
    let said = Command::new(program).arg("--version").output().expect("a program").stdout;
    let said = String::from_utf8(said).expect("text");
    let mut numbers =
        said.trim_start_matches("PgBouncer ").split('.').map_while(|number| number.parse().ok());
    (numbers.next().expect("a version"), numbers.next().expect("a version"))
}
