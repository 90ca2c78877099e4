//! A throwaway server that is configured unlike the others.

use std::path::PathBuf;

use actix_pg_testing as server;

use super::{Error, Postgres};

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
