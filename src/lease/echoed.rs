//! A statement in the log, if the option `echo` is on.

use std::time::Instant;

use super::Params;
use crate::config::Echo;
use crate::{Error, telemetry};

/// A statement that runs. Whoever waits for its end holds it, and says what that was.
#[derive(Debug)]
pub(crate) struct Echoed<'a> {
    echo: Echo,
    sql: &'a str,
    /// `None` if they are not shown.
    params: Option<Params<'a>>,
    since: Option<Instant>,
}

impl<'a> Echoed<'a> {
    pub(crate) fn begin(echo: Echo, sql: &'a str, params: Option<Params<'a>>) -> Self {
        let params = params.filter(|_| echo == Echo::Full);
        Self { echo, sql, params, since: (echo != Echo::Off).then(Instant::now) }
    }

    /// It has ended well, or its first answer has come.
    pub(crate) fn succeeded(&self, database: Option<&'static str>, rows: Option<u64>) {
        if let Some(since) = self.since {
            telemetry::echo(database, self.sql, self.params, rows, since.elapsed());
        }
    }

    /// It has failed. Adds it to the error.
    pub(crate) fn failed(&self, database: Option<&'static str>, err: Error) -> Error {
        let err = err.of_statement(Some(self.sql), self.echo);
        if let Some(since) = self.since {
            telemetry::echo_failed(database, self.sql, self.params, &err, err.code(), Some(since.elapsed()));
        }
        err
    }
}
