//! The password of a login: the answer of the application's source, else what the password file says.
//!
//! Both are asked at each login, because passwords change. A login that is refused meanwhile is worth one more question: the
//! password may have changed between the question and the login.

use std::error::Error;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::passfile;
use crate::config::{Host, Server, ServerSettings};
use crate::stats::Stats;
use crate::telemetry;
use crate::text::Told;

/// A login that needs a password: what a [password source](crate::DatabaseBuilder::password_source) is asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Login {
    /// The name or address of the server as it is configured, or the folder of its socket.
    pub host: String,
    /// The port of the server.
    pub port: u16,
    /// The user that logs in.
    pub user: String,
    /// The database that is asked for.
    pub database: String,
    /// Whether the server has just refused the last answer. A source that keeps its answers has to fetch a new one then.
    pub was_refused: bool,
}

/// What an application says when it is asked for a password.
pub(crate) type Answer = Result<String, Box<dyn Error + Send + Sync>>;

/// The application's source of passwords.
pub(crate) type PasswordSource = dyn Fn(Login) -> BoxFuture<'static, Answer> + Send + Sync;

/// Where passwords come from that are not part of the configuration. The connector holds it.
pub(super) struct Passwords {
    source: Option<Arc<PasswordSource>>,
    warned_of_passfile: AtomicBool,
}

impl Passwords {
    pub(super) fn new(source: Option<Arc<PasswordSource>>) -> Self {
        Self { source, warned_of_passfile: AtomicBool::new(false) }
    }

    /// The password of a login, unless it is configured or there is none.
    ///
    /// # Errors
    ///
    /// What is to be said of a source that fails, panics or does not answer before the deadline.
    pub(super) async fn ask(
        &self,
        server: &ServerSettings,
        host: &Server,
        was_refused: bool,
        deadline: Instant,
        stats: &Stats,
    ) -> Result<Option<Vec<u8>>, Told> {
        if server.driver.get_password().is_some() || (self.source.is_none() && server.passfile.is_none()) {
            return Ok(None);
        }
        let Some(user) = server.driver.get_user().map(str::to_owned).or_else(|| whoami::username().ok())
        else {
            return Ok(None);
        };
        let database = server.driver.get_dbname().unwrap_or(&user).to_owned();
        match &self.source {
            Some(source) => {
                let name = match &host.host {
                    Host::Tcp(name) => name.clone(),
                    Host::Unix(folder) => folder.display().to_string(),
                };
                let login = Login { host: name, port: host.port, user, database, was_refused };
                let asked = timeout_at(deadline, answer(&**source, login)).await;
                let answered = asked.unwrap_or_else(|_| {
                    let bound = server.connect_timeout;
                    Err(format!("the source did not answer within {bound:?} (`connect_timeout`)").into())
                });
                let password = answered.map_err(|err| Told::of(err.as_ref()))?;
                Ok(Some(password.into_bytes()))
            }
            None => Ok(self.in_file(server, host, database, user, stats).await),
        }
    }

    /// The password of the password file. A file that cannot be used is warned of once, as libpq does at each login.
    async fn in_file(
        &self,
        server: &ServerSettings,
        host: &Server,
        database: String,
        user: String,
        stats: &Stats,
    ) -> Option<Vec<u8>> {
        let (path, host) = (server.passfile.clone()?, host.clone());
        let found = spawn_blocking(move || passfile::password(&path, &host, &database, &user)).await;
        // A look that did not get to its end is a problem like others.
        let found = found.unwrap_or_else(|err| Err(io::Error::other(err)));
        found
            .inspect_err(|err| {
                if !self.warned_of_passfile.swap(true, Ordering::Relaxed) {
                    telemetry::passfile_not_used(stats.name(), err);
                }
            })
            .ok()?
    }
}

/// Asks the source. One that panics has failed, and what it said then is not shown.
async fn answer(source: &PasswordSource, login: Login) -> Answer {
    let asked = AssertUnwindSafe(async { source(login).await }).catch_unwind();
    asked.await.unwrap_or_else(|_| Err("the source panicked".into()))
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("source", &self.source.is_some()).finish_non_exhaustive()
    }
}
