//! What a throwaway server is started with.

use std::path::PathBuf;

use crate::folder::{Folder, TRUSTING_HBA};
use crate::server::Server;
use crate::supervisor::Supervisor;
use crate::{Error, Postgres, binaries};

/// A throwaway server that is configured unlike the others; made by [`Postgres::builder`].
///
/// ```no_run
/// # use actix_pg_testing::Postgres;
/// let postgres = Postgres::builder()
///     .setting("max_connections", "20")
///     .setting("log_statement", "all")
///     .hba(["host all all 127.0.0.1/32 scram-sha-256"])
///     .start()?;
/// # Ok::<(), actix_pg_testing::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is started before `start`"]
pub struct Builder {
    settings: Vec<(String, String)>,
    files: Vec<(PathBuf, Vec<u8>)>,
    hba: Option<Vec<String>>,
    binaries: Option<PathBuf>,
}

impl Builder {
    /// Set a parameter of `postgresql.conf`, any but `port` and `unix_socket_directories`.
    ///
    /// The last value of a name counts. Ahead of these a throwaway server has `fsync`,
    /// `synchronous_commit` and `full_page_writes` off, `max_connections` 200, `max_wal_size`
    /// 256 MB, `listen_addresses` 127.0.0.1 and the time zone UTC; for what its users see, it has
    /// PostgreSQL's own defaults.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Sets a parameter, unless the caller does.
    pub(crate) fn default_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(0, (name.into(), value.into()));
        self
    }

    /// Put a file into the data directory before the server starts, such as `server.key` for `ssl =
    /// on`.
    ///
    /// It belongs to the server's user and is readable by no other, which PostgreSQL insists on for
    /// a key.
    pub fn file(mut self, name: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.into(), contents.into()));
        self
    }

    /// Say who may connect and how, in lines of `pg_hba.conf`.
    ///
    /// Defaults to trusting everybody on 127.0.0.1 and on the Unix socket. Whatever the lines say,
    /// the user `postgres` gets in through the socket: that is how databases are made.
    pub fn hba(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.hba = Some(lines.into_iter().map(Into::into).collect());
        self
    }

    /// Use the programs in this folder, and search nowhere else.
    ///
    /// Defaults to the first folder of `PATH` that holds both `initdb` and `postgres`, else the
    /// newest version among the places where packages keep them.
    pub fn binaries(mut self, folder: impl Into<PathBuf>) -> Self {
        self.binaries = Some(folder.into());
        self
    }

    /// Start the server, and come back when it accepts connections. Blocks for about half a second.
    ///
    /// `TEST_DATABASE_URL` is not looked at: a server that others use could not be given these
    /// settings.
    ///
    /// # Errors
    ///
    /// [`Error::NoBinaries`] when there is nothing to start, and [`Error::Start`] with the end of
    /// the server's log when it does not start, for instance because of a setting it does not
    /// know.
    pub fn start(self) -> Result<Postgres, Error> {
        let (folder, mut supervisor) = self.folder()?;
        folder.initialize(&mut supervisor)?;
        self.configure(&folder)?;
        match &self.hba {
            Some(lines) => folder.hba(lines)?,
            None => folder.hba(&TRUSTING_HBA)?,
        }
        self.files.iter().try_for_each(|(name, contents)| folder.write(name, contents))?;
        Postgres::ours(Server::start(folder, supervisor)?)
    }

    /// Starts a copy of `primary` that follows it, with these settings on top of the primary's own.
    pub(crate) fn start_standby(self, primary: &Postgres) -> Result<Postgres, Error> {
        let (folder, mut supervisor) = self.folder()?;
        folder.copy(&mut supervisor, primary.folder()?, primary.port())?;
        self.configure(&folder)?;
        folder.write("standby.signal".as_ref(), b"")?;
        Postgres::ours(Server::start(folder, supervisor)?)
    }

    fn folder(&self) -> Result<(Folder, Supervisor), Error> {
        Folder::new(self.binaries.as_ref().map_or_else(binaries::search_path, |path| vec![path.clone()]))
    }

    fn configure(&self, folder: &Folder) -> Result<(), Error> {
        folder.configure(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}
