//! One statement on a leased session: cached, timed, echoed, and accounted for until its last answer.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use tokio::time::timeout;

use super::lease::Usage;
use super::sql::{Traces, traces};
use crate::config::Echo;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::types::ToSql;
use crate::tokio_postgres::{Row, RowStream};
use crate::{Error, Result, telemetry};

/// The parameters of a statement, as tokio-postgres takes them.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Runs a statement and collects its rows.
pub(crate) async fn query(mut usage: Usage, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
    let echo = Started::new(&usage, sql, params);
    let rows = bounded(usage.command_timeout(), async {
        let rows = start(&mut usage, sql, params, Usage::send).await?.try_collect::<Vec<_>>().await;
        usage.done();
        Ok(rows?)
    });
    let rows = rows.await?;
    echo.finished(Some(rows.len() as u64));
    Ok(rows)
}

/// Runs a statement and counts the rows it affected.
pub(crate) async fn execute(mut usage: Usage, sql: &str, params: Params<'_>) -> Result<u64> {
    let echo = Started::new(&usage, sql, params);
    let affected = bounded(usage.command_timeout(), async {
        let mut rows = pin!(start(&mut usage, sql, params, Usage::send).await?);
        let ended = loop {
            match rows.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(rows.rows_affected().unwrap_or(0)),
                Err(err) => break Err(err.into()),
            }
        };
        usage.done();
        ended
    });
    let affected = affected.await?;
    echo.finished(Some(affected));
    Ok(affected)
}

/// Runs a statement whose rows are read one by one; the usage is done when they have been.
pub(crate) async fn query_raw(mut usage: Usage, sql: &str, params: Params<'_>) -> Result<(Usage, RowStream)> {
    let echo = Started::new(&usage, sql, params);
    let rows = bounded(usage.command_timeout(), start(&mut usage, sql, params, Usage::send_stream));
    let rows = rows.await?;
    echo.finished(None);
    Ok((usage, rows))
}

/// Runs statements in one simple query, without parameters.
pub(crate) async fn batch_execute(mut usage: Usage, sql: &str) -> Result<()> {
    let echo = Started::new(&usage, sql, &[]);
    bounded(usage.command_timeout(), async {
        usage.ready().await?;
        let executed = match usage.send(traces(sql)) {
            Ok(()) => usage.session().client().batch_execute(sql).await.map_err(Error::from),
            Err(busy) => Err(busy),
        };
        usage.done();
        executed
    })
    .await?;
    echo.finished(None);
    Ok(())
}

/// Sends a statement, prepared once per session, and returns when the server has accepted its parameters.
async fn start(
    usage: &mut Usage,
    sql: &str,
    params: Params<'_>,
    send: fn(&mut Usage, Traces) -> Result<()>,
) -> Result<RowStream> {
    let started = try_start(usage, sql, params, send).await;
    if started.is_err() {
        usage.done();
    }
    started
}

async fn try_start(
    usage: &mut Usage,
    sql: &str,
    params: Params<'_>,
    send: fn(&mut Usage, Traces) -> Result<()>,
) -> Result<RowStream> {
    usage.ready().await?;
    let mut prepared = match usage.session().cached(sql) {
        Some(prepared) => prepared,
        None => {
            usage.send(Traces::default())?;
            usage.session().prepare(sql).await?
        }
    };
    let mut refused: Option<Error> = None;
    loop {
        send(usage, prepared.traces)?;
        let client = usage.session().client();
        let err = match client.query_raw(&prepared.statement, params.iter().copied()).await {
            Ok(rows) => return Ok(rows),
            Err(err) => err,
        };
        if let Some(refused) = refused {
            return Err(refused);
        }
        if !usage.session().forget(sql, &err) {
            return Err(err.into());
        }
        prepared = match usage.session().prepare(sql).await {
            Ok(prepared) => prepared,
            // In a transaction the first refusal has failed it, and is what the caller has to see.
            Err(again) if again.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                return Err(err.into());
            }
            Err(again) => return Err(again.into()),
        };
        refused = Some(err.into());
    }
}

async fn bounded<T>(bound: Option<Duration>, running: impl Future<Output = Result<T>>) -> Result<T> {
    match bound {
        None => running.await,
        Some(bound) => timeout(bound, running).await.unwrap_or(Err(Error::CommandTimeout(bound))),
    }
}

/// A statement that may have to be echoed when it ends well.
struct Started<'a> {
    echo: Echo,
    sql: &'a str,
    params: Params<'a>,
    at: Option<Instant>,
}

impl<'a> Started<'a> {
    fn new(usage: &Usage, sql: &'a str, params: Params<'a>) -> Self {
        let echo = usage.echo();
        Self { echo, sql, params, at: (echo != Echo::Off).then(Instant::now) }
    }

    fn finished(self, rows: Option<u64>) {
        if let Some(at) = self.at {
            let params = (self.echo == Echo::Full).then_some(self.params);
            telemetry::echo(self.sql, params, rows, at.elapsed());
        }
    }
}
