//! A database of one test.

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::keeper::Keeper;

/// How long the database of a failed test is kept, in seconds.
const KEEP_FAILED: &str = "TEST_KEEP_FAILED";

/// A database that is dropped when this is. Connections to it are ended.
///
/// On a server of our own that happens in the background. On that of `TEST_DATABASE_URL` the drop
/// waits for it, some milliseconds as a rule and 5 seconds at most; what a killed process left
/// there goes when the next one starts.
///
/// With `TEST_KEEP_FAILED=600` in the environment, the drop in a test that panics says where the
/// database can be looked at, and waits for 600 seconds. So does the test; the others go on.
pub struct TestDatabase {
    dsn: String,
    name: String,
    keeper: Keeper,
}

impl TestDatabase {
    pub(crate) fn new(dsn: String, name: String, keeper: Keeper) -> Self {
        Self { dsn, name, keeper }
    }

    /// The DSN of the server with this database's name.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The name, unique on the server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl TestDatabase {
    /// Writes to the error output itself, because what a test prints is shown when it has ended.
    fn keep(&self, seconds: &str) {
        let Ok(seconds) = seconds.parse() else {
            let _ = writeln!(io::stderr(), "{KEEP_FAILED} has to be a number of seconds");
            return;
        };
        // The DSN of a given server may have a password in it.
        let place = if self.keeper.is_ours() { self.dsn() } else { self.name() };
        let _ = writeln!(
            io::stderr(),
            "the test failed; for {seconds} s its database can be looked at: psql {place}"
        );
        thread::sleep(Duration::from_secs(seconds));
    }
}

impl fmt::Debug for TestDatabase {
    /// Not the DSN, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(seconds) = env::var(KEEP_FAILED)
        {
            self.keep(&seconds);
        }
        self.keeper.drop_database(&self.name);
    }
}
