//! The server as a test sees it.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::folder::Folder;
use crate::keeper::Keeper;
use crate::origin::Origin;
use crate::server::{Server, Shutdown};
use crate::{Builder, Error, TestDatabase, dsn};

/// Names a server to be used instead of a throwaway one.
const URL: &str = "TEST_DATABASE_URL";

/// Bound on the wait for the server to have read its files anew.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A PostgreSQL server for tests: one of our own, gone when this is dropped or the process ends in
/// whatever way, or that of `TEST_DATABASE_URL`.
///
/// Everything but making databases blocks the thread, for at most about half a second; none of it
/// needs a runtime, and all of it may be called within one.
pub struct Postgres {
    dsn: String,
    port: u16,
    keeper: Keeper,
    server: Option<Server>,
}

impl Postgres {
    /// Start a server with durability off, on a free port of 127.0.0.1, and come back when it
    /// accepts connections.
    ///
    /// Where `TEST_DATABASE_URL` is set, that server is used and none is started.
    ///
    /// # Errors
    ///
    /// [`Error::NoBinaries`], whose text says what to install, when the machine has no PostgreSQL;
    /// the others as they say.
    pub fn start() -> Result<Self, Error> {
        match env::var(URL) {
            Ok(url) if !url.is_empty() => Self::given(url),
            _ => Self::builder().start(),
        }
    }

    /// A server that is configured in another way than [`start`](Self::start) does it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The server that all tests of this process share; started by the first caller, gone with the
    /// process.
    ///
    /// # Errors
    ///
    /// The error of the one start, for every caller.
    pub fn shared() -> Result<&'static Self, &'static Error> {
        static SHARED: OnceLock<Result<Postgres, Error>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// The DSN of the superuser `postgres` and the database `postgres`, or the text of
    /// `TEST_DATABASE_URL`.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The TCP port. It stays the same when the server is stopped and started again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Make an empty database.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when the server refuses or cannot be reached.
    pub async fn database(&self) -> Result<TestDatabase, Error> {
        self.keep(self.keeper.create().await?)
    }

    /// Make a database in which `schema`, any number of SQL statements, has been run.
    ///
    /// The statements run once for each text and server; the databases are copies of what they
    /// made.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when a statement fails, the server refuses or cannot be reached.
    pub async fn database_with(&self, schema: &str) -> Result<TestDatabase, Error> {
        self.database_with_migrations(&[schema]).await
    }

    /// Make a database in which each of these texts has been run, one after the other and each by
    /// itself, as a tool for migrations does it.
    ///
    /// They run once for each list of texts and server; the databases are copies of what they made.
    ///
    /// # Errors
    ///
    /// As [`database_with`](Self::database_with).
    pub async fn database_with_migrations(
        &self,
        migrations: &[impl AsRef<str>],
    ) -> Result<TestDatabase, Error> {
        let texts = migrations.iter().map(|text| text.as_ref().to_owned()).collect();
        self.keep(self.keeper.create_with(texts).await?)
    }

    /// Make a copy of a database, for instance of one that migrations were run on.
    ///
    /// Nobody may be connected to the `template` meanwhile; the server waits up to 5 seconds for
    /// those who are still leaving.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when somebody is, the server refuses or cannot be reached.
    pub async fn database_from(&self, template: &TestDatabase) -> Result<TestDatabase, Error> {
        self.keep(self.keeper.create_from(template.name()).await?)
    }

    /// The data directory, for a test to look at and to put files in; see also
    /// [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], as with all that follows.
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        Ok(self.folder()?.data())
    }

    /// The directory of the Unix socket, which can stand as the host in a DSN.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`].
    pub fn socket_dir(&self) -> Result<PathBuf, Error> {
        Ok(self.folder()?.sockets())
    }

    /// Put a file into the data directory, owned by the server's user and readable by no other.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Folder`].
    pub fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<(), Error> {
        self.folder()?.write(name.as_ref(), contents.as_ref())
    }

    /// Say who may connect from now on, and how, in lines of `pg_hba.conf`; see [`Builder::hba`].
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], and as [`reload`](Self::reload).
    pub fn hba(&self, lines: &[impl AsRef<str>]) -> Result<(), Error> {
        self.folder()?.hba(lines)?;
        self.reload()
    }

    /// Have the server read its configuration files again, and come back when it has. Nothing
    /// happens while it is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Database`] when it cannot be asked whether it has.
    pub fn reload(&self) -> Result<(), Error> {
        let server = self.server()?;
        let before = self.load_time();
        if !server.hang_up()? {
            return Ok(());
        }
        let (before, start) = (before?, Instant::now());
        while self.load_time()? == before && start.elapsed() < RELOAD_TIMEOUT {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Stop the server in an orderly way: transactions are rolled back, clients are told and sent
    /// away.
    ///
    /// The port is kept free meanwhile, and connecting to it refused. Nothing happens when it is
    /// stopped already.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Program`] when it would not stop.
    pub fn stop(&self) -> Result<(), Error> {
        self.server()?.stop(Shutdown::Fast)
    }

    /// Stop the server as a crash would: it recovers when it is started again.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub fn crash(&self) -> Result<(), Error> {
        self.server()?.stop(Shutdown::Immediate)
    }

    /// Start a stopped server on the same port and data. Nothing happens when it is running.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`], or [`Error::Start`] with the end of its log.
    pub fn start_again(&self) -> Result<(), Error> {
        self.server()?.start_again()
    }

    pub(crate) fn ours(server: Server) -> Result<Self, Error> {
        let port = server.port();
        let dsn = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let mut admin = tokio_postgres::Config::new();
        admin.host_path(server.folder().sockets()).port(port).user("postgres").dbname("postgres");
        Ok(Self { dsn, port, keeper: Keeper::start(admin, Origin::Ours)?, server: Some(server) })
    }

    fn given(url: String) -> Result<Self, Error> {
        let admin: tokio_postgres::Config = url.parse().map_err(Error::Url)?;
        let port = admin.get_ports().first().copied().unwrap_or(5432);
        Ok(Self { dsn: url, port, keeper: Keeper::start(admin, Origin::Given)?, server: None })
    }

    /// When the server last read its configuration, in its own words.
    fn load_time(&self) -> Result<String, Error> {
        self.keeper.ask("ask when it was configured", "SELECT pg_conf_load_time()::text")
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(crate) fn folder(&self) -> Result<&Folder, Error> {
        Ok(self.server()?.folder())
    }

    fn server(&self) -> Result<&Server, Error> {
        self.server.as_ref().ok_or(Error::NotOurs)
    }

    fn keep(&self, name: String) -> Result<TestDatabase, Error> {
        Ok(TestDatabase::new(dsn::with_database(&self.dsn, &name), name, self.keeper.clone()))
    }
}

impl fmt::Debug for Postgres {
    /// Not the DSN, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_ours = self.server.is_some();
        f.debug_struct("Postgres")
            .field("port", &self.port)
            .field("is_ours", &is_ours)
            .finish_non_exhaustive()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.keeper.finish();
    }
}
