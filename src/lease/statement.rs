//! One statement on a leased session: cached, timed, echoed, and accounted for until its last answer.

use std::pin::pin;

use actix_web::web::Bytes;
use futures_util::{FutureExt, TryStreamExt};

use super::ahead::Ahead;
use super::deadline::bounded;
use super::nameless::unpinned;
use super::prepared::{along, is_of_ended_transaction, prepare};
use super::session_use::SessionUse;
use super::started::Started;
use super::state::Reply;
use super::{Params, nameless};
use crate::row::Plan;
use crate::session::Prepared;
use crate::sql::side_effects;
use crate::tokio_postgres::{CopyInSink, CopyOutStream, Row, RowStream, Statement};
use crate::{Error, Result};

/// Runs a statement and collects its rows. It is not sent if its columns do not fit the plan, where there is one.
#[expect(clippy::manual_async_fn, reason = "an async fn contains its arguments twice")]
pub(crate) fn query(
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> impl Future<Output = Result<Vec<Row>>> {
    async move {
        if session_use.is_nameless() {
            return nameless::query(session_use, sql, params, plan).boxed().await;
        }
        let started = Started::new(&mut session_use, sql, params);
        let rows = bounded(session_use.bound(), async || {
            let rows = start(&mut session_use, sql, params, plan, Reply::Whole).await?;
            let rows = rows.try_collect::<Vec<_>>().await;
            session_use.answered(rows.map_err(Error::from))
        })
        .await;
        let rows = rows.map_err(|err| started.failed(&mut session_use, err))?;
        started.finished(&mut session_use, Some(rows.len() as u64));
        Ok(rows)
    }
}

/// Runs a statement and keeps its one row. Reads and drops the others, or cancels them where that undoes nothing.
#[expect(clippy::manual_async_fn, reason = "an async fn contains its arguments twice")]
pub(crate) fn query_opt(
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> impl Future<Output = Result<Option<Row>>> {
    async move {
        if session_use.is_nameless() {
            return nameless::query_opt(session_use, sql, params, plan).boxed().await;
        }
        let started = Started::new(&mut session_use, sql, params);
        let row = bounded(session_use.bound(), async || {
            let mut rows = pin!(start(&mut session_use, sql, params, plan, Reply::Whole).await?);
            let (mut row, mut others) = (None, 0);
            let read = loop {
                match rows.try_next().await {
                    Ok(Some(first)) if row.is_none() => row = Some(first),
                    Ok(Some(_)) => {
                        others += 1;
                        if session_use.is_too_much(others) {
                            return Err(Error::TooManyRows);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(err) => break Err(err.into()),
                }
            };
            session_use.answered(read)?;
            if others == 0 { Ok(row) } else { Err(Error::TooManyRows) }
        })
        .await;
        let row = row.map_err(|err| started.failed(&mut session_use, err))?;
        started.finished(&mut session_use, Some(row.iter().len() as u64));
        Ok(row)
    }
}

/// Runs a statement and counts the rows it affected.
#[expect(clippy::manual_async_fn, reason = "an async fn contains its arguments twice")]
pub(crate) fn execute(
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
) -> impl Future<Output = Result<u64>> {
    async move {
        if session_use.is_nameless() {
            return nameless::execute(session_use, sql, params).boxed().await;
        }
        let started = Started::new(&mut session_use, sql, params);
        let affected = bounded(session_use.bound(), async || {
            let mut rows = pin!(start(&mut session_use, sql, params, None, Reply::Whole).await?);
            let read = async {
                while rows.try_next().await?.is_some() {}
                Ok(())
            };
            let read = read.await;
            session_use.answered(read)?;
            Ok(rows.rows_affected().unwrap_or(0))
        })
        .await;
        let affected = affected.map_err(|err| started.failed(&mut session_use, err))?;
        started.finished(&mut session_use, Some(affected));
        Ok(affected)
    }
}

/// Runs a statement whose rows are read one by one. The reader records its last answer.
pub(crate) async fn query_raw(
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> Result<(SessionUse, RowStream)> {
    let started = Started::new(&mut session_use, sql, params);
    let bound = session_use.bound();
    let rows = bounded(bound, async || match session_use.is_nameless() {
        true => nameless::stream(&mut session_use, sql, params, plan).boxed().await,
        false => start(&mut session_use, sql, params, plan, Reply::Stream).await,
    });
    let rows = rows.await;
    let rows = rows.map_err(|err| started.failed(&mut session_use, err))?;
    started.streams(&session_use);
    Ok((session_use, rows))
}

/// Runs statements in one simple query, without parameters.
pub(crate) async fn batch_execute(mut session_use: SessionUse, sql: &str) -> Result<()> {
    if session_use.is_unpinned() {
        return unpinned::batch_execute(session_use, sql).boxed().await;
    }
    let started = Started::batch(&mut session_use, sql);
    let ran = bounded(session_use.bound(), async || {
        session_use.send(side_effects(sql), Reply::Whole).await?;
        let executed = session_use.session().client().batch_execute(sql).await;
        session_use.answered(executed.map_err(Error::from))
    })
    .await;
    ran.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, None);
    Ok(())
}

/// Starts a `COPY … FROM STDIN`. The writer records its last answer.
///
/// One that fails here costs the session: the driver ends the data that was not asked for with a `Sync` of its own, which
/// is answered as well, and from then on takes every answer for that of the statement before.
pub(crate) async fn copy_in(
    mut session_use: SessionUse,
    sql: &str,
) -> Result<(SessionUse, CopyInSink<Bytes>)> {
    let started = Started::new(&mut session_use, sql, &[]);
    let sink = bounded(session_use.bound(), async || {
        let statement = to_copy(&mut session_use, sql, Reply::CopyIn).await?;
        let sink = session_use.session().client().copy_in(&statement).await;
        sink.map_err(|err| session_use.given_up(err.into()))
    })
    .await;
    let sink = sink.map_err(|err| started.failed(&mut session_use, err))?;
    started.streams(&session_use);
    Ok((session_use, sink))
}

/// Starts a `COPY … TO STDOUT`. The reader records its last answer.
pub(crate) async fn copy_out(mut session_use: SessionUse, sql: &str) -> Result<(SessionUse, CopyOutStream)> {
    let started = Started::new(&mut session_use, sql, &[]);
    let stream = bounded(session_use.bound(), async || {
        let statement = to_copy(&mut session_use, sql, Reply::CopyOut).await?;
        let stream = session_use.session().client().copy_out(&statement).await;
        stream.map_err(|err| session_use.refused(err.into()))
    })
    .await;
    let stream = stream.map_err(|err| started.failed(&mut session_use, err))?;
    started.streams(&session_use);
    Ok((session_use, stream))
}

/// Sends a statement, which is prepared once per session, and returns when the server has accepted its parameters.
async fn start(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    mut plan: Option<&mut Plan>,
    answer: Reply,
) -> Result<RowStream> {
    let mut refused: Option<Box<Error>> = None;
    loop {
        let prepared = prepared(session_use, sql, plan.as_deref_mut(), answer).await;
        let (statement, ahead) = match (prepared, refused.take()) {
            // In a transaction the first refusal has failed it, and the caller has to see that one.
            (Err(err), Some(first)) if is_of_ended_transaction(&err) => return Err(*first),
            (prepared, first) => {
                refused = first;
                prepared?
            }
        };
        let client = session_use.session().client();
        let send = || client.query_raw(&statement, params.iter().copied());
        let answer = match ahead {
            None => Ok(send().await),
            Some(ahead) => along(ahead, send()).boxed().await,
        };
        let err = match answer {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(err)) => err,
            Err(err) => return Err(session_use.refused(err)),
        };
        let renewable = session_use.session().forget(sql, &err);
        if renewable && refused.is_none() {
            session_use.prepares_again();
        }
        let err = session_use.refused(err.into());
        match refused {
            Some(first) => return Err(*first),
            None if renewable => refused = Some(Box::new(err)),
            None => return Err(err),
        }
    }
}

/// Prepares a copy. On return it counts as sent, and the caller sends it.
async fn to_copy(session_use: &mut SessionUse, sql: &str, reply: Reply) -> Result<Statement> {
    if session_use.is_unpinned() {
        return unpinned::to_copy(session_use, sql, reply).boxed().await;
    }
    Ok(prepared(session_use, sql, None, reply).await?.0)
}

/// Takes a statement from the session's cache, or prepares it. On return it counts as sent, and the caller sends it along.
///
/// A cached one whose columns do not fit the plan may be older than they are, and is prepared anew.
async fn prepared(
    session_use: &mut SessionUse,
    sql: &str,
    mut plan: Option<&mut Plan>,
    answer: Reply,
) -> Result<(Statement, Option<Ahead>)> {
    let mut fits = |prepared: &Prepared| {
        plan.as_deref_mut().map_or(Ok(()), |plan| plan.find(prepared.statement.columns()))
    };
    let prepared = match session_use.session().cached(sql).filter(|cached| fits(cached).is_ok()) {
        Some(prepared) => prepared,
        None => {
            let prepared = prepare(session_use, sql).boxed().await?;
            if let Err(err) = fits(&prepared) {
                session_use.answered(Ok(()))?;
                return Err(err.into());
            }
            prepared
        }
    };
    let Prepared { statement, info } = prepared;
    let side_effects = info.side_effects();
    session_use.runs(info);
    Ok((statement, session_use.send_behind(side_effects, answer).await?))
}
