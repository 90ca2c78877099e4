//! A throwaway PostgreSQL server, and fresh databases on it, for tests and examples (feature `testing`).
//!
//! [`Postgres`] starts a server of its own from the PostgreSQL programs found on the machine: no container, no account,
//! nothing to configure, about half a second. It is gone when it is dropped, when the test panics, and when the process is
//! killed. A [`TestDatabase`] is made in milliseconds, so that every test can have its own.
//!
//! ```
//! use actix_pg::testing::Postgres;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let postgres = Postgres::shared()?;
//! let database = postgres.database_with("CREATE TABLE users (id bigint, name text)").await?;
//! let config = database.config();
//! assert_eq!(config.dsn.as_deref(), Some(database.dsn()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the environment variable `TEST_DATABASE_URL` is set, no server is started, and the databases are made on that one. A
//! server of our own trusts whoever connects: while it runs, every user of the machine is a superuser of it.
//!
//! All of this is the crate [`actix_pg_testing`], with a `config()` beside each DSN. Its page says more of both, and where the
//! server's files are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use actix_pg_testing as server;
pub use actix_pg_testing::Error;

use crate::Config;

/// A PostgreSQL server for tests: one of our own, gone when this is dropped or the process ends in whatever way, or that of
/// `TEST_DATABASE_URL`.
///
/// Each method is that of [`actix_pg_testing::Postgres`]; only [`config`](Self::config) is added. Everything but making
/// databases blocks the thread, for at most about half a second; none of it needs a runtime, and all of it may be called
/// within one.
pub struct Postgres(Server);

enum Server {
    Own(server::Postgres),
    Shared(&'static server::Postgres),
}

impl Postgres {
    /// Starts a server with durability off, on a free port of 127.0.0.1, and returns when it accepts connections.
    ///
    /// Where `TEST_DATABASE_URL` is set, that server is used and none is started.
    ///
    /// # Errors
    ///
    /// [`Error::NoBinaries`], whose text says what to install, when the machine has no PostgreSQL; the others as they say.
    pub fn start() -> Result<Self, Error> {
        server::Postgres::start().map(Self::own)
    }

    /// Configures a server in another way than [`start`](Self::start) does.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The server that all tests of this process share; started by the first caller, gone with the process.
    ///
    /// # Errors
    ///
    /// The error of the one start, for every caller.
    pub fn shared() -> Result<&'static Self, &'static Error> {
        static SHARED: OnceLock<Result<Postgres, &'static Error>> = OnceLock::new();
        let shared =
            SHARED.get_or_init(|| server::Postgres::shared().map(|server| Self(Server::Shared(server))));
        shared.as_ref().map_err(|err| *err)
    }

    /// The DSN of the superuser `postgres` and the database `postgres`, or the text of `TEST_DATABASE_URL`.
    pub fn dsn(&self) -> &str {
        self.server().dsn()
    }

    /// A configuration with this DSN and the default of everything else.
    pub fn config(&self) -> Config {
        config(self.dsn())
    }

    /// The TCP port. It stays the same when the server is stopped and started again.
    pub fn port(&self) -> u16 {
        self.server().port()
    }

    /// Makes an empty database.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when the server refuses or cannot be reached.
    pub async fn database(&self) -> Result<TestDatabase, Error> {
        self.server().database().await.map(TestDatabase)
    }

    /// Makes a database in which `schema`, any number of SQL statements, has been run: once for each text and server.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when a statement fails, the server refuses or cannot be reached.
    pub async fn database_with(&self, schema: &str) -> Result<TestDatabase, Error> {
        self.server().database_with(schema).await.map(TestDatabase)
    }

    /// Makes a copy of a database, for instance of one that migrations were run on. Nobody may be connected to the `template`
    /// meanwhile; the server waits up to 5 seconds for those who are still leaving.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when somebody is, the server refuses or cannot be reached.
    pub async fn database_from(&self, template: &TestDatabase) -> Result<TestDatabase, Error> {
        self.server().database_from(&template.0).await.map(TestDatabase)
    }

    /// The data directory, for a test to look at; to put files there see [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], as with all that follows.
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        self.server().data_dir()
    }

    /// The directory of the Unix socket, which can stand as the host in a DSN.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`].
    pub fn socket_dir(&self) -> Result<PathBuf, Error> {
        self.server().socket_dir()
    }

    /// Puts a file into the data directory, owned by the server's user and readable by no other.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Folder`].
    pub fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<(), Error> {
        self.server().write(name, contents)
    }

    /// Says who may connect from now on, and how, in lines of `pg_hba.conf`; see [`Builder::hba`].
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], and as [`reload`](Self::reload).
    pub fn hba(&self, lines: &[impl AsRef<str>]) -> Result<(), Error> {
        self.server().hba(lines)
    }

    /// Has the server read its configuration files anew, and returns when it has. Does nothing while it is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Database`] when it cannot be asked whether it has.
    pub fn reload(&self) -> Result<(), Error> {
        self.server().reload()
    }

    /// Stops the server in an orderly way: transactions are rolled back, clients are told and sent away. The port is kept free
    /// meanwhile, and connecting to it refused.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Program`] when it would not stop.
    pub fn stop(&self) -> Result<(), Error> {
        self.server().stop()
    }

    /// Stops the server as a crash would: it recovers when it is started again.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub fn crash(&self) -> Result<(), Error> {
        self.server().crash()
    }

    /// Starts a stopped server on the same port and data. Does nothing when it is running.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Start`] with the end of its log.
    pub fn start_again(&self) -> Result<(), Error> {
        self.server().start_again()
    }

    fn own(server: server::Postgres) -> Self {
        Self(Server::Own(server))
    }

    fn server(&self) -> &server::Postgres {
        match &self.0 {
            Server::Own(server) => server,
            Server::Shared(server) => server,
        }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server().fmt(f)
    }
}

/// A throwaway server that is configured unlike the others; made by [`Postgres::builder`].
///
/// ```no_run
/// # use actix_pg::testing::Postgres;
/// let postgres = Postgres::builder()
///     .setting("max_connections", "20")
///     .setting("log_statement", "all")
///     .hba(["host all all 127.0.0.1/32 scram-sha-256"])
///     .start()?;
/// # Ok::<(), actix_pg::testing::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is started before `start`"]
pub struct Builder(server::Builder);

impl Builder {
    /// Sets a parameter of `postgresql.conf`, any but `port` and `unix_socket_directories`. The last value of a name counts.
    ///
    /// [Which are set ahead of these](actix_pg_testing::Builder::setting).
    pub fn setting(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.setting(name, value))
    }

    /// Puts a file into the data directory before the server starts, such as `server.key` for `ssl = on`. It belongs to the
    /// server's user and is readable by no other.
    pub fn file(self, name: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> Self {
        Self(self.0.file(name, contents))
    }

    /// Says who may connect and how, in lines of `pg_hba.conf`. Defaults to trusting everybody on 127.0.0.1 and on the Unix
    /// socket.
    pub fn hba(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(self.0.hba(lines))
    }

    /// Uses the programs in this folder, and searches nowhere else.
    pub fn binaries(self, folder: impl Into<PathBuf>) -> Self {
        Self(self.0.binaries(folder))
    }

    /// Starts the server, and returns when it accepts connections. Blocks for about half a second. `TEST_DATABASE_URL` is not
    /// looked at: a server that others use could not be given these settings.
    ///
    /// # Errors
    ///
    /// [`Error::NoBinaries`] when there is nothing to start, and [`Error::Start`] with the end of the server's log when it does
    /// not start, for instance because of a setting it does not know.
    pub fn start(self) -> Result<Postgres, Error> {
        self.0.start().map(Postgres::own)
    }
}

/// A database that is dropped, with whoever is still connected to it, when this is.
///
/// On a server of our own that happens in the background. On that of `TEST_DATABASE_URL` the drop waits for it, some
/// milliseconds as a rule and 5 seconds at most; what a killed process left there goes when the next one starts.
#[derive(Debug)]
pub struct TestDatabase(server::TestDatabase);

impl TestDatabase {
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

fn config(dsn: &str) -> Config {
    Config { dsn: Some(dsn.to_owned()), ..Config::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_server_is_one_and_its_configuration_has_its_dsn() {
        let postgres = Postgres::shared().expect("a server");
        assert_eq!(postgres.config().dsn.as_deref(), Some(postgres.dsn()));
        assert_eq!(postgres.dsn(), server::Postgres::shared().expect("a server").dsn());
        assert_eq!(format!("{postgres:?}"), format!("{:?}", server::Postgres::shared().expect("a server")));
    }
}
