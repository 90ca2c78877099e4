//! The throwaway server, with a configuration beside each DSN.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use actix_pg_testing as server;

use super::{Builder, Error, TestDatabase, config};
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
        self.server().database().await.map(TestDatabase::new)
    }

    /// Makes a database in which `schema`, any number of SQL statements, has been run: once for each text and server.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when a statement fails, the server refuses or cannot be reached.
    pub async fn database_with(&self, schema: &str) -> Result<TestDatabase, Error> {
        self.server().database_with(schema).await.map(TestDatabase::new)
    }

    /// Makes a database in which each of these texts has been run, one after the other and each by itself, as a tool for migrations
    /// does it: once for each list of texts and server.
    ///
    /// # Errors
    ///
    /// As [`database_with`](Self::database_with).
    pub async fn database_with_migrations(
        &self,
        migrations: &[impl AsRef<str>],
    ) -> Result<TestDatabase, Error> {
        self.server().database_with_migrations(migrations).await.map(TestDatabase::new)
    }

    /// Makes a copy of a database, for instance of one that migrations were run on. Nobody may be connected to the `template`
    /// meanwhile; the server waits up to 5 seconds for those who are still leaving.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when somebody is, the server refuses or cannot be reached.
    pub async fn database_from(&self, template: &TestDatabase) -> Result<TestDatabase, Error> {
        self.server().database_from(template.inner()).await.map(TestDatabase::new)
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

    /// Has the server read its configuration files again, and returns when it has. Does nothing while it is stopped.
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

    pub(super) fn own(server: server::Postgres) -> Self {
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
