//! What can fail while a test gets its server or its database.

use std::error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::tokio_postgres;

/// Why there is no server, or no database.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The machine has no PostgreSQL server programs in any of the folders searched.
    NoBinaries {
        /// In this order.
        searched: Vec<PathBuf>,
    },
    /// We are root, as whom PostgreSQL refuses to run, and there is neither a user `postgres` nor `nobody`.
    NoUser,
    /// No free TCP port was found.
    NoPort(io::Error),
    /// The server's folder could not be made or written to.
    Folder(io::Error),
    /// A program could not be run.
    Program {
        /// Its name.
        program: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// `initdb` made no data directory.
    Init {
        /// The end of what it printed.
        log: String,
    },
    /// The server ended while it started.
    Start {
        /// The end of its log.
        log: String,
    },
    /// The server was not ready in time.
    StartTimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
    /// Only a server of our own has a folder, and can be stopped, started and reconfigured; this one is that of
    /// `TEST_DATABASE_URL`.
    NotOurs,
    /// `TEST_DATABASE_URL` is not a DSN.
    Url(tokio_postgres::Error),
    /// The server refused something, or could not be reached.
    Database {
        /// What was to be done.
        action: &'static str,
        /// What the driver says.
        source: tokio_postgres::Error,
    },
    /// The thread that makes databases has ended.
    Ended,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinaries { searched } => {
                out.write_str(
                    "no PostgreSQL server found: there is no folder with both initdb and postgres. Install it\n\
                     \x20 on Debian, Ubuntu:  apt-get install postgresql\n\
                     \x20 on Fedora, RHEL:    dnf install postgresql-server\n\
                     \x20 on Alpine:          apk add postgresql\n\
                     \x20 on macOS:           brew install postgresql@17\n\
                     or set TEST_DATABASE_URL to a server that tests may create databases on. Searched:",
                )?;
                searched.iter().try_for_each(|folder| write!(out, "\n  {}", folder.display()))
            }
            Self::NoUser => out.write_str(
                "PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as",
            ),
            Self::NoPort(_) => out.write_str("no free TCP port on 127.0.0.1"),
            Self::Folder(_) => out.write_str("the folder of the throwaway server cannot be made or written to"),
            Self::Program { program, .. } => write!(out, "{program} cannot be run"),
            Self::Init { log } => write!(out, "initdb failed:\n{log}"),
            Self::Start { log } => write!(out, "the server ended while it started; the end of its log:\n{log}"),
            Self::StartTimedOut { waited, log } => {
                write!(out, "the server was not ready after {} s; the end of its log:\n{log}", waited.as_secs())
            }
            Self::NotOurs => out.write_str(
                "the server is that of TEST_DATABASE_URL: it has no folder here and cannot be stopped or reconfigured; \
                 Postgres::builder() always starts one of its own",
            ),
            Self::Url(_) => out.write_str("TEST_DATABASE_URL is not a PostgreSQL DSN"),
            Self::Database { action, .. } => write!(out, "cannot {action}"),
            Self::Ended => out.write_str("the thread that makes test databases has ended"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NoPort(source) | Self::Folder(source) | Self::Program { source, .. } => Some(source),
            Self::Url(source) | Self::Database { source, .. } => Some(source),
            Self::NoBinaries { .. }
            | Self::NoUser
            | Self::Init { .. }
            | Self::Start { .. }
            | Self::StartTimedOut { .. }
            | Self::NotOurs
            | Self::Ended => None,
        }
    }
}
