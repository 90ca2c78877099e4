//! Queries whose rows are collected, on a shared session or on one of their own.

use std::future::Future;

use futures_util::FutureExt;

use super::elsewhere::{Run, repeated};
use super::scope::Caller;
use super::sealed::{Executor, Shares};
use crate::config::Echo;
use crate::lease::{self, Params, SessionUse};
use crate::row::{self, FromRow, Plan};
use crate::shared::Read;
use crate::tokio_postgres::Row;
use crate::{Error, Result};

/// How rows become structs, for a query that looks for their columns.
pub(super) struct Reading {
    plan: Plan,
    echo: Echo,
}

impl Reading {
    pub(super) fn of<T: FromRow>() -> Self {
        Self { plan: Plan::of::<T>(), echo: Echo::Off }
    }

    pub(super) fn value<T: FromRow>(&self, row: &Row, sql: &str) -> Result<T> {
        row::read(row, &self.plan).map_err(|err| Error::Row(err).of_statement(Some(sql), self.echo))
    }

    /// Finds the columns of rows whose session may have been any.
    fn find(&mut self, row: Option<&Row>, sql: &str) -> Result<()> {
        let found = row.map_or(Ok(()), |row| self.plan.find(row.columns()));
        found.map_err(|err| Error::Row(err).of_statement(Some(sql), self.echo))
    }
}

/// Runs a query and collects its rows. `reading` is one or none: an `Option` would make the future of every query longer.
#[expect(clippy::manual_async_fn, reason = "an async fn contains its arguments twice")]
pub(super) fn all_rows<C: Executor + ?Sized, const READING: usize>(
    client: &C,
    caller: Caller,
    sql: &str,
    params: Params<'_>,
    reading: [&mut Reading; READING],
) -> impl Future<Output = Result<Vec<Row>>> + Send {
    async move {
        if let Some(shares) = client.shares() {
            let question =
                Question { caller, sql, params, most: usize::MAX, reading: reading.into_iter().next() };
            let run = async |session_use, plan: Option<&mut Plan>| {
                lease::query(session_use, sql, params, plan).await
            };
            // Boxed, because most applications share nothing and every query's future contains it.
            return on_a_shared_session(client, &shares, question, run).boxed().await;
        }
        let session_use = client.enter(caller).await?.0;
        let plan = plan_of(reading.into_iter().next(), session_use.echo());
        if session_use.is_unpinned() {
            let run: Run<_> =
                |session_use, sql, params, plan| lease::query(session_use, sql, params, plan).boxed();
            return repeated(client, caller, session_use, sql, params, plan, run).boxed().await;
        }
        lease::query(session_use, sql, params, plan).await
    }
}

/// Does the same for one row at most.
#[expect(clippy::manual_async_fn, reason = "an async fn contains its arguments twice")]
pub(super) fn one_row<C: Executor + ?Sized, const READING: usize>(
    client: &C,
    caller: Caller,
    sql: &str,
    params: Params<'_>,
    reading: [&mut Reading; READING],
) -> impl Future<Output = Result<Option<Row>>> + Send {
    async move {
        if let Some(shares) = client.shares() {
            let question = Question { caller, sql, params, most: 2, reading: reading.into_iter().next() };
            let run = async |session_use, plan: Option<&mut Plan>| {
                Ok(Vec::from_iter(lease::query_opt(session_use, sql, params, plan).await?))
            };
            return Ok(on_a_shared_session(client, &shares, question, run).boxed().await?.pop());
        }
        let session_use = client.enter(caller).await?.0;
        let plan = plan_of(reading.into_iter().next(), session_use.echo());
        if session_use.is_unpinned() {
            let run: Run<_> =
                |session_use, sql, params, plan| lease::query_opt(session_use, sql, params, plan).boxed();
            return repeated(client, caller, session_use, sql, params, plan, run).boxed().await;
        }
        lease::query_opt(session_use, sql, params, plan).await
    }
}

fn plan_of(reading: Option<&mut Reading>, echo: Echo) -> Option<&mut Plan> {
    reading.map(|reading| {
        reading.echo = echo;
        &mut reading.plan
    })
}

/// A query that may share a session.
struct Question<'a> {
    caller: Caller,
    sql: &'a str,
    params: Params<'a>,
    /// So many rows are kept: one more than there may be.
    most: usize,
    reading: Option<&'a mut Reading>,
}

/// Runs a query on a shared session, or as `run` does on one of its own.
async fn on_a_shared_session<C: Executor + ?Sized>(
    client: &C,
    shares: &Shares<'_>,
    question: Question<'_>,
    run: impl AsyncFnOnce(SessionUse, Option<&mut Plan>) -> Result<Vec<Row>>,
) -> Result<Vec<Row>> {
    let Question { caller, sql, params, most, mut reading } = question;
    let wanted = reading.as_deref().map(|reading| reading.plan.anew());
    let asked = shares.read(caller, sql, params, most, wanted.as_ref());
    let plan = plan_of(reading.as_deref_mut(), shares.echo());
    let rows = read(client, asked, async move |session_use| run(session_use, plan).await).await?;
    if rows.len() >= most {
        return Err(Error::TooManyRows);
    }
    reading.map_or(Ok(()), |reading| reading.find(rows.first(), sql))?;
    Ok(rows)
}

/// Runs a read on a shared session, or as `run` does on one of its own.
async fn read<C, R>(client: &C, asked: Read<'_>, run: impl FnOnce(SessionUse) -> R) -> Result<Vec<Row>>
where
    C: Executor + ?Sized,
    R: Future<Output = Result<Vec<Row>>>,
{
    let enter = || async {
        Ok(match asked.until {
            Some(until) => until.limit(client.enter(asked.caller)).await?.0.until(until),
            None => client.enter(asked.caller).await?.0,
        })
    };
    asked.run(enter, run).await
}
