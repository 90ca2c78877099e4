//! A PgBouncer that keeps prepared statements, for the tests, where the distribution's is too old for that.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

use crate::run;

/// The first version that does.
const FIRST: (u32, u32) = (1, 21);

/// Fetches a newer one than `installed`, unless that will do or one was fetched before. Nothing on the machine changes. Returns the
/// program. Where that fails the tests run all the same, and skip those of it. (In CI they fail then.)
pub(crate) fn fetched(installed: &Path) -> Option<String> {
    if ARCH != "x86_64" || version(installed)? >= FIRST {
        return None;
    }
    let here = env!("CARGO_MANIFEST_DIR");
    let folder = format!("{}/target/newer-pgbouncer", Path::new(here).parent()?.display());
    let program = format!("{folder}/pgbouncer");
    if run::is_dry_run() || !Path::new(&program).is_file() {
        eprintln!("PgBouncer is older than 1.21 here: fetching a newer one for the tests.");
        if let Err(message) = run::plain("sh", &[&format!("{here}/newer-pgbouncer.sh"), &folder]) {
            eprintln!("xtask: {message}; the tests behind a newer PgBouncer are skipped");
            return None;
        }
    }
    Some(program)
}

/// What a program says of itself: `PgBouncer 1.18.0`.
fn version(program: &Path) -> Option<(u32, u32)> {
    let said = Command::new(program).arg("--version").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let mut numbers = said.strip_prefix("PgBouncer ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
