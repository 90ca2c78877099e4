//! A database of one test.

use std::fmt;

use crate::keeper::Keeper;

/// A database that is dropped, with whoever is still connected to it, when this is.
///
/// On a server of our own that happens in the background. On that of `TEST_DATABASE_URL` the drop
/// waits for it, some milliseconds as a rule and 5 seconds at most; what a killed process left
/// there goes when the next one starts.
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

impl fmt::Debug for TestDatabase {
    /// Not the DSN, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.keeper.drop_database(&self.name);
    }
}
