//! What can fail while a test gets its server or its database.

use std::error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no server, or no database.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The machine has no PostgreSQL server programs in any of the folders searched.
    NoBinaries {
        /// In this order.
        searched: Vec<PathBuf>,
    },
    /// We are root, as whom PostgreSQL refuses to run, and there is neither a user `postgres` nor
    /// `nobody`.
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
    /// `pg_basebackup` made no copy of the primary.
    Copy {
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
    /// A standby did not catch up, or was not promoted, within a minute.
    Behind {
        /// The end of its log.
        log: String,
    },
    /// Only a server of our own has a folder, and can be stopped, started and reconfigured; this
    /// one is that of `TEST_DATABASE_URL`.
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

const INSTALL: &str = "\
no PostgreSQL server found: there is no folder with both initdb and postgres. Install it
  on Debian, Ubuntu:  apt-get install postgresql
  on Fedora, RHEL:    dnf install postgresql-server
  on Alpine:          apk add postgresql
  on macOS:           brew install postgresql@17
or set TEST_DATABASE_URL to a server that tests may create databases on. Searched:";

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinaries { searched } => {
                out.write_str(INSTALL)?;
                searched.iter().try_for_each(|folder| write!(out, "\n  {}", folder.display()))
            }
            Self::NoUser => out.write_str(
                "PostgreSQL does not run as root, \
                 and there is neither a user postgres nor nobody to run it as",
            ),
            Self::NoPort(_) => out.write_str("no free TCP port on 127.0.0.1"),
            Self::Folder(_) => {
                out.write_str("the folder of the throwaway server cannot be made or written to")
            }
            Self::Program { program, .. } => write!(out, "{program} cannot be run"),
            Self::Init { log } => write!(out, "initdb failed:\n{log}"),
            Self::Copy { log } => write!(out, "pg_basebackup failed:\n{log}"),
            Self::Start { log } => {
                write!(out, "the server ended while it started; the end of its log:\n{log}")
            }
            Self::StartTimedOut { waited, log } => {
                let waited = waited.as_secs();
                write!(out, "the server was not ready after {waited} s; the end of its log:\n{log}")
            }
            Self::Behind { log } => {
                write!(out, "the standby is behind after a minute; the end of its log:\n{log}")
            }
            Self::NotOurs => out.write_str(
                "the server is that of TEST_DATABASE_URL: it has no folder here and cannot be \
                 stopped or reconfigured; Postgres::builder() always starts one of its own",
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
            | Self::Copy { .. }
            | Self::Behind { .. }
            | Self::Start { .. }
            | Self::StartTimedOut { .. }
            | Self::NotOurs
            | Self::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_says_what_is_the_matter() {
        let io = || io::Error::from(io::ErrorKind::PermissionDenied);
        let url = || "port=many".parse::<tokio_postgres::Config>().unwrap_err();
        for (error, text, has_source) in [
            (
                Error::NoUser,
                "PostgreSQL does not run as root, and there is neither a user postgres nor nobody \
                 to run it as",
                false,
            ),
            (Error::NoPort(io()), "no free TCP port on 127.0.0.1", true),
            (Error::Folder(io()), "the folder of the throwaway server cannot be made or written to", true),
            (Error::Program { program: "initdb".into(), source: io() }, "initdb cannot be run", true),
            (Error::Init { log: "why".into() }, "initdb failed:\nwhy", false),
            (Error::Copy { log: "why".into() }, "pg_basebackup failed:\nwhy", false),
            (
                Error::Behind { log: "why".into() },
                "the standby is behind after a minute; the end of its log:\nwhy",
                false,
            ),
            (
                Error::Start { log: "why".into() },
                "the server ended while it started; the end of its log:\nwhy",
                false,
            ),
            (
                Error::StartTimedOut { waited: Duration::from_secs(60), log: "why".into() },
                "the server was not ready after 60 s; the end of its log:\nwhy",
                false,
            ),
            (
                Error::NotOurs,
                "the server is that of TEST_DATABASE_URL: it has no folder here and cannot be \
                 stopped or reconfigured; Postgres::builder() always starts one of its own",
                false,
            ),
            (Error::Url(url()), "TEST_DATABASE_URL is not a PostgreSQL DSN", true),
            (
                Error::Database { action: "create a database", source: url() },
                "cannot create a database",
                true,
            ),
            (Error::Ended, "the thread that makes test databases has ended", false),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!(error::Error::source(&error).is_some(), has_source, "{text}");
        }
    }
}
