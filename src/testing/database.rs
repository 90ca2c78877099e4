//! A database of one test.

use actix_pg_testing as server;

use super::config;
use crate::Config;

/// A database that is dropped when this is. Connections to it are ended.
///
/// On a server of our own that happens in the background. On that of `TEST_DATABASE_URL` the drop waits for it, some
/// milliseconds as a rule and 5 seconds at most; what a killed process left there goes when the next one starts.
#[derive(Debug)]
pub struct TestDatabase(server::TestDatabase);

impl TestDatabase {
    pub(super) fn new(database: server::TestDatabase) -> Self {
        Self(database)
    }

    pub(super) fn inner(&self) -> &server::TestDatabase {
        &self.0
    }

    /// The DSN of the server with this database's name.
    pub fn dsn(&self) -> &str {
        self.0.dsn()
    }

    /// A configuration with this DSN and the default of everything else.
    pub fn config(&self) -> Config {
        config(self.dsn())
    }

    /// The name, unique on the server.
    pub fn name(&self) -> &str {
        self.0.name()
    }
}
