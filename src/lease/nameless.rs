//! Statements on a session that keeps none prepared.
//!
//! ```text
//!   with a backend of its own                    unnamed.rs
//!   with another backend in each transaction     unpinned.rs
//! ```

use super::Params;
use super::session_use::SessionUse;
use super::started::Started;
use crate::row::Plan;
use crate::tokio_postgres::{Column, Row, RowStream};
use crate::{Error, Result};
use described::{Take, has_other_columns};

pub(super) mod described;
mod look_ups;
mod unnamed;
pub(super) mod unpinned;

pub(super) async fn query(
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let started = Started::new(&mut session_use, sql, params);
    let ran = run(&mut session_use, sql, params, plan, u64::MAX, &mut |row| rows.push(row)).await;
    ran.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, Some(rows.len() as u64));
    Ok(rows)
}

pub(super) async fn query_opt(
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> Result<Option<Row>> {
    let (mut first, mut others) = (None, 0_u64);
    let started = Started::new(&mut session_use, sql, params);
    let mut take = |row| match first {
        None => first = Some(row),
        Some(_) => others += 1,
    };
    let ran = run(&mut session_use, sql, params, plan, 1, &mut take).await;
    let ran = ran.and_then(|_| if others == 0 { Ok(()) } else { Err(Error::TooManyRows) });
    ran.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, Some(first.iter().len() as u64));
    Ok(first)
}

pub(super) async fn execute(mut session_use: SessionUse, sql: &str, params: Params<'_>) -> Result<u64> {
    let started = Started::new(&mut session_use, sql, params);
    let affected = run(&mut session_use, sql, params, None, u64::MAX, &mut drop).await;
    let affected = affected.map_err(|err| started.failed(&mut session_use, err))?;
    started.finished(&mut session_use, Some(affected));
    Ok(affected)
}

/// Runs a statement, and returns the number of rows that it affected. `most` is the number of rows that are wanted.
async fn run(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
    most: u64,
    take: Take<'_>,
) -> Result<u64> {
    match session_use.is_unpinned() {
        true => unpinned::run(session_use, sql, params, plan, take).await,
        false => unnamed::run(session_use, sql, params, plan, most, take).await,
    }
}

/// Begins a statement whose rows are read one by one.
pub(super) async fn stream(
    session_use: &mut SessionUse,
    sql: &str,
    params: Params<'_>,
    plan: Option<&mut Plan>,
) -> Result<RowStream> {
    match session_use.is_unpinned() {
        true => unpinned::stream(session_use, sql, params, plan).await,
        false => unnamed::stream(session_use, sql, params, plan).await,
    }
}

impl SessionUse {
    /// Whether the session keeps no statements: a row stream may then have other columns than were known before.
    pub(crate) fn is_nameless(&self) -> bool {
        !self.session().keeps_statements()
    }

    /// Looks at the columns of a row stream.
    pub(crate) fn see_columns(&self, columns: &[Column]) {
        if let Some(sql) = self.statement()
            && let Some(known) = self.session().types(sql)
            && !known.are_of(columns)
        {
            has_other_columns(self.lease(), sql, columns);
        }
    }
}
