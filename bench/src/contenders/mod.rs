//! Who is measured. A contender is a process of its own.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, io};

use actix_web::rt::System;

mod actix_pg;
mod bb8_documented;
mod bb8_tuned;
mod deadpool;
mod sqlx;
mod limit;
mod wire;
mod none;
mod gino;

/// What a server is told.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) dsn: String,
    pub(crate) workers: usize,
    /// Requests leave something on their sessions, which has to be cleaned.
    pub(crate) clean: bool,
}

/// What starting a server may fail with; shown, never handled.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    ActixPg,
    ActixPgShared,
    #[cfg(feature = "observed")]
    ActixPgObserved,
    Bb8Documented,
    Bb8Tuned,
    Deadpool,
    Sqlx,
    Limit,
    Wire,
    Gino,
    None,
}

impl Contender {
    pub(crate) const ALL: &[Self] = &[
        Self::ActixPg,
        Self::ActixPgShared,
        #[cfg(feature = "observed")]
        Self::ActixPgObserved,
        Self::Bb8Documented,
        Self::Bb8Tuned,
        Self::Deadpool,
        Self::Sqlx,
        Self::Limit,
        Self::Wire,
        Self::Gino,
        Self::None,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ActixPg => "actix-pg",
            Self::ActixPgShared => "actix-pg-shared",
            #[cfg(feature = "observed")]
            Self::ActixPgObserved => "actix-pg-observed",
            Self::Bb8Documented => "bb8-postgres",
            Self::Bb8Tuned => "bb8-postgres-tuned",
            Self::Deadpool => "deadpool-postgres",
            Self::Sqlx => "sqlx",
            Self::Limit => "limit",
            Self::Wire => "wire",
            Self::Gino => "gino-starlette",
            Self::None => "none",
        }
    }

    /// Whether it is this crate.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::ActixPg | Self::ActixPgShared => true,
            #[cfg(feature = "observed")]
            Self::ActixPgObserved => true,
            _ => false,
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.name() == name)
    }

    /// Makes ready what has to be there before a server can start; the text says why it cannot.
    pub(crate) fn prepare(self) -> Result<(), String> {
        match self {
            Self::Gino => gino::install(),
            _ => Ok(()),
        }
    }

    /// The command that starts the server.
    pub(crate) fn command(self, setup: &Setup) -> io::Result<Command> {
        if self == Self::Gino {
            return gino::command(setup);
        }
        let mut command = Command::new(env::current_exe()?);
        command.args(["serve", self.name(), &setup.workers.to_string()]).env(DSN, &setup.dsn);
        if setup.clean {
            command.env(CLEAN, "1");
        }
        Ok(command)
    }
}

/// How a server process learns where the database is.
const DSN: &str = "BENCH_DSN";

/// How it learns that sessions have to be cleaned.
const CLEAN: &str = "BENCH_CLEAN";

/// The life of a server process.
pub(crate) fn serve(name: &str, workers: usize) -> Outcome {
    let setup = Setup { dsn: env::var(DSN)?, workers, clean: env::var_os(CLEAN).is_some() };
    System::new().block_on(async {
        match Contender::named(name) {
            Some(Contender::ActixPg) => actix_pg::serve(setup, 0).await,
            Some(Contender::ActixPgShared) => actix_pg::serve(setup, 1).await,
            #[cfg(feature = "observed")]
            Some(Contender::ActixPgObserved) => {
                actix_pg::observe()?;
                actix_pg::serve(setup, 0).await
            }
            Some(Contender::Bb8Documented) => bb8_documented::serve(setup).await,
            Some(Contender::Bb8Tuned) => bb8_tuned::serve(setup).await,
            Some(Contender::Deadpool) => deadpool::serve(setup).await,
            Some(Contender::Sqlx) => sqlx::serve(setup).await,
            Some(Contender::Limit) => limit::serve(setup).await,
            Some(Contender::Wire) => wire::serve(setup).await,
            Some(Contender::None) => none::serve(setup).await,
            Some(Contender::Gino) | None => Err(format!("no such server: {name}").into()),
        }
    })
}

/// The folder of builds, in which the harness keeps what it installs.
fn target_folder() -> io::Result<std::path::PathBuf> {
    let program = env::current_exe()?;
    let folder = program.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(folder.to_owned())
}
