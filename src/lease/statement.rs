//! One statement on a leased session: cached, timed, echoed, and accounted for until its last answer.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::session_use::SessionUse;
use super::state::Reply;
use crate::config::Echo;
use crate::session::Prepared;
use crate::sql::{SideEffects, only_reads, traces};
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::types::ToSql;
use crate::tokio_postgres::{CopyInSink, CopyOutStream, Row, RowStream};
use crate::{Error, Result, telemetry};

/// The parameters of a statement, as tokio-postgres takes them.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Runs a statement and collects its rows.
pub(crate) async fn query(mut usage: SessionUse, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
    let echo = Started::new(&usage, sql, params);
    let rows = bounded(usage.command_timeout(), async {
        let rows = start(&mut usage, sql, params, Reply::Whole).await?.try_collect::<Vec<_>>().await;
        usage.answered(rows.map_err(Error::from))
    })
    .await
    .map_err(|err| echo.failed(err))?;
    echo.finished(Some(rows.len() as u64));
    Ok(rows)
}

/// So many unwanted rows are read away; it takes longer to cancel them.
const FEW: usize = 1_000;

/// Runs a statement and keeps its one row. The others are read away, or cancelled where nothing is undone by that.
pub(crate) async fn query_opt(mut usage: SessionUse, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
    let echo = Started::new(&usage, sql, params);
    let row = bounded(usage.command_timeout(), async {
        let mut rows = pin!(start(&mut usage, sql, params, Reply::Whole).await?);
        let (mut row, mut others) = (None, 0);
        let read = loop {
            match rows.try_next().await {
                Ok(Some(first)) if row.is_none() => row = Some(first),
                Ok(Some(_)) => {
                    others += 1;
                    if others == FEW && usage.stands_alone() && only_reads(sql) {
                        return Err(Error::TooManyRows);
                    }
                }
                Ok(None) => break Ok(()),
                Err(err) => break Err(err.into()),
            }
        };
        usage.answered(read)?;
        if others == 0 { Ok(row) } else { Err(Error::TooManyRows) }
    })
    .await
    .map_err(|err| echo.failed(err))?;
    echo.finished(Some(row.iter().len() as u64));
    Ok(row)
}

/// Runs a statement and counts the rows it affected.
pub(crate) async fn execute(mut usage: SessionUse, sql: &str, params: Params<'_>) -> Result<u64> {
    let echo = Started::new(&usage, sql, params);
    let affected = bounded(usage.command_timeout(), async {
        let mut rows = pin!(start(&mut usage, sql, params, Reply::Whole).await?);
        let read = async {
            while rows.try_next().await?.is_some() {}
            Ok(())
        };
        let read = read.await;
        usage.answered(read)?;
        Ok(rows.rows_affected().unwrap_or(0))
    })
    .await
    .map_err(|err| echo.failed(err))?;
    echo.finished(Some(affected));
    Ok(affected)
}

/// Runs a statement whose rows are read one by one; its last answer is for the reader to record.
pub(crate) async fn query_raw(
    mut usage: SessionUse,
    sql: &str,
    params: Params<'_>,
) -> Result<(SessionUse, RowStream)> {
    let echo = Started::new(&usage, sql, params);
    let rows = bounded(usage.command_timeout(), start(&mut usage, sql, params, Reply::Stream)).await;
    let rows = rows.map_err(|err| echo.failed(err))?;
    usage.runs(sql);
    echo.finished(None);
    Ok((usage, rows))
}

/// Runs statements in one simple query, without parameters.
pub(crate) async fn batch_execute(mut usage: SessionUse, sql: &str) -> Result<()> {
    let echo = Started::new(&usage, sql, &[]);
    bounded(usage.command_timeout(), async {
        usage.send(traces(sql), Reply::Whole).await?;
        let executed = usage.session().client().batch_execute(sql).await;
        usage.answered(executed.map_err(Error::from))
    })
    .await
    .map_err(|err| echo.failed(err))?;
    echo.finished(None);
    Ok(())
}

/// Starts a `COPY … FROM STDIN`; its last answer is for the writer to record.
///
/// One that fails here costs the session: the driver ends the data that was not asked for with a `Sync` of its own, which
/// is answered as well, and from then on takes every answer for that of the statement before.
pub(crate) async fn copy_in(mut usage: SessionUse, sql: &str) -> Result<(SessionUse, CopyInSink<Bytes>)> {
    let echo = Started::new(&usage, sql, &[]);
    let sink = bounded(usage.command_timeout(), async {
        let prepared = prepared(&mut usage, sql, Reply::Copy).await?;
        let sink = usage.session().client().copy_in(&prepared.statement).await;
        sink.map_err(|err| {
            usage.give_up();
            err.into()
        })
    })
    .await
    .map_err(|err| echo.failed(err))?;
    usage.runs(sql);
    echo.finished(None);
    Ok((usage, sink))
}

/// Starts a `COPY … TO STDOUT`; its last answer is for the reader to record.
pub(crate) async fn copy_out(mut usage: SessionUse, sql: &str) -> Result<(SessionUse, CopyOutStream)> {
    let echo = Started::new(&usage, sql, &[]);
    let stream = bounded(usage.command_timeout(), async {
        let prepared = prepared(&mut usage, sql, Reply::Stream).await?;
        let stream = usage.session().client().copy_out(&prepared.statement).await;
        stream.map_err(|err| usage.refused(err.into()))
    })
    .await
    .map_err(|err| echo.failed(err))?;
    usage.runs(sql);
    echo.finished(None);
    Ok((usage, stream))
}

/// Sends a statement, prepared once per session, and returns when the server has accepted its parameters.
async fn start(usage: &mut SessionUse, sql: &str, params: Params<'_>, answer: Reply) -> Result<RowStream> {
    let mut refused: Option<Error> = None;
    loop {
        let prepared = match (prepared(usage, sql, answer).await, refused.take()) {
            // In a transaction the first refusal has failed it, and is what the caller has to see.
            (Err(err), Some(first)) if err.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                return Err(first);
            }
            (prepared, first) => {
                refused = first;
                prepared?
            }
        };
        let client = usage.session().client();
        let err = match client.query_raw(&prepared.statement, params.iter().copied()).await {
            Ok(rows) => return Ok(rows),
            Err(err) => err,
        };
        let renewable = usage.session().forget(sql, &err);
        let err = usage.refused(err.into());
        match refused {
            Some(first) => return Err(first),
            None if renewable => refused = Some(err),
            None => return Err(err),
        }
    }
}

/// A statement of the session's cache, or one that is prepared for it now; on return it counts as sent.
async fn prepared(usage: &mut SessionUse, sql: &str, answer: Reply) -> Result<Prepared> {
    let prepared = match usage.session().cached(sql) {
        Some(prepared) => prepared,
        None => {
            usage.send(SideEffects::default(), Reply::Prepare).await?;
            usage.session().prepare(sql).boxed().await.map_err(|err| usage.refused(err.into()))?
        }
    };
    usage.send(prepared.traces, answer).await?;
    Ok(prepared)
}

pin_project! {
    /// Bounds the wait for an answer by `command_timeout`. As an `async fn` it would have `running` in itself twice.
    pub(crate) struct Bounded<F> {
        #[pin]
        running: F,
        bound: Option<Duration>,
        #[pin]
        late: Option<Sleep>,
    }
}

pub(crate) fn bounded<T, F>(bound: Option<Duration>, running: F) -> Bounded<F>
where
    F: Future<Output = Result<T>>,
{
    Bounded { running, bound, late: bound.map(sleep) }
}

impl<T, F: Future<Output = Result<T>>> Future for Bounded<F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.project();
        if let Poll::Ready(answer) = this.running.poll(cx) {
            return Poll::Ready(answer);
        }
        match (this.late.as_pin_mut(), *this.bound) {
            (Some(late), Some(bound)) => late.poll(cx).map(|()| Err(Error::CommandTimeout(bound))),
            _ => Poll::Pending,
        }
    }
}

/// A statement that may have to be echoed when it ends.
struct Started<'a> {
    echo: Echo,
    sql: &'a str,
    params: Params<'a>,
    at: Option<Instant>,
}

impl<'a> Started<'a> {
    fn new(usage: &SessionUse, sql: &'a str, params: Params<'a>) -> Self {
        let echo = usage.echo();
        Self { echo, sql, params, at: (echo != Echo::Off).then(Instant::now) }
    }

    fn finished(self, rows: Option<u64>) {
        if let Some(at) = self.at {
            telemetry::echo(self.sql, self.shown(), rows, at.elapsed());
        }
    }

    fn failed(&self, err: Error) -> Error {
        let err = err.of_statement(Some(self.sql), self.echo);
        if let Some(at) = self.at {
            telemetry::echo_failed(self.sql, self.shown(), &err, err.code(), Some(at.elapsed()));
        }
        err
    }

    fn shown(&self) -> Option<Params<'a>> {
        (self.echo == Echo::Full).then_some(self.params)
    }
}
