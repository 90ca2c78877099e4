//! What is known of a statement that has no name on the server, and how it is sent.

use std::mem;
use std::pin::pin;

use futures_util::TryStreamExt;

use super::{Lease, Params};
use crate::row::Plan;
use crate::session::{Unpinned, are_built_in, is_built_in, is_of_look_up, may_be_out_of_date};
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Column, Row, RowStream, Statement};
use crate::{Error, Result, tokio_postgres};

/// Takes the rows of a statement, one by one.
pub(super) type Take<'a> = &'a mut (dyn FnMut(Row) + Send);

/// Prepares a text in the transaction that is open.
pub(super) async fn prepare(lease: &Lease, sql: &str) -> Result<Statement> {
    let session = lease.session();
    let unpinned = session.unpinned().ok_or(Error::SessionLost)?;
    unpinned.prepare(session.client(), sql).await?.ok_or(Error::SessionLost)
}

/// A statement, and what is known of its types.
pub(super) struct Described<'s, 'p> {
    sql: &'s str,
    params: Params<'s>,
    plan: Option<&'p mut Plan>,
    /// All types are built in.
    known: Option<Statement>,
}

impl<'s, 'p> Described<'s, 'p> {
    pub(super) fn new(lease: &Lease, sql: &'s str, params: Params<'s>, plan: Option<&'p mut Plan>) -> Self {
        let mut described = Self { sql, params, plan, known: None };
        described.look_up(lease.session().unpinned());
        described
    }

    pub(super) fn sql(&self) -> &'s str {
        self.sql
    }

    /// Whether all types are known without a look-up.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// What is known of the text. Columns that do not fit the plan may be older than the table, and count as unknown.
    fn look_up(&mut self, unpinned: Option<&Unpinned>) {
        let known = unpinned.and_then(|unpinned| unpinned.known(self.sql));
        self.known = known.filter(|known| known.params().len() == self.params.len());
        if let (Some(known), Some(plan)) = (&self.known, &mut self.plan)
            && plan.find(known.columns()).is_err()
        {
            self.known = None;
        }
    }

    /// Runs it in the transaction that is open, or alone.
    pub(super) async fn run(mut self, lease: &Lease, take: Take<'_>) -> Result<u64> {
        let named = match self.is_known() {
            true => None,
            false => self.prepared(prepare(lease, self.sql).await?)?,
        };
        self.send(lease, named.as_ref(), take).await
    }

    /// What is known of it from now on. It keeps its name if the driver has to know its types.
    pub(super) fn prepared(&mut self, statement: Statement) -> Result<Option<Statement>> {
        if let Some(plan) = &mut self.plan {
            plan.find(statement.columns())?;
        }
        if is_built_in(&statement) && statement.params().len() == self.params.len() {
            self.known = Some(statement);
            return Ok(None);
        }
        Ok(Some(statement))
    }

    pub(super) async fn send(
        mut self,
        lease: &Lease,
        named: Option<&Statement>,
        take: Take<'_>,
    ) -> Result<u64> {
        let client = lease.session().client();
        if let Some(named) = named {
            return Ok(read(client.query_raw(named, self.params.iter().copied()).await?, take).await?);
        }
        let known = self.known.take();
        let columns = known.as_ref().map_or(&[][..], Statement::columns);
        let types = known.iter().flat_map(|known| known.params()).cloned();
        let (mut fits, mut is_first, mut is_lost) = (Ok(()), true, false);
        let ran = async {
            let rows = client.query_typed_raw(self.sql, self.params.iter().copied().zip(types)).await?;
            let mut checked = |row: Row| {
                // The table may have changed since the text was prepared.
                if mem::take(&mut is_first) && !are_same(row.columns(), columns) {
                    is_lost = !are_built_in(row.columns());
                    fits = self.plan.as_mut().map_or(Ok(()), |plan| plan.find(row.columns()));
                }
                take(row);
            };
            read(rows, &mut checked).await
        };
        let ran = ran.await;
        if let Some(unpinned) = lease.session().unpinned() {
            if is_lost || ran.as_ref().is_err_and(is_of_look_up) {
                unpinned.lose();
            }
            if is_lost || ran.as_ref().is_err_and(doubts_types) {
                unpinned.forget(self.sql);
            }
        }
        let affected = ran?;
        fits?;
        Ok(affected)
    }
}

/// Whether a statement may have failed because its types are not what they were.
fn doubts_types(err: &tokio_postgres::Error) -> bool {
    match err.code() {
        // The driver's: a parameter does not fit the type.
        None => !err.is_closed(),
        Some(code) => {
            may_be_out_of_date(err) || is_of_look_up(err) || *code == SqlState::INVALID_BINARY_REPRESENTATION
        }
    }
}

fn are_same(columns: &[Column], others: &[Column]) -> bool {
    let same = |(one, other): (&Column, &Column)| one.name() == other.name() && one.type_() == other.type_();
    columns.len() == others.len() && columns.iter().zip(others).all(same)
}

async fn read(rows: RowStream, take: Take<'_>) -> Result<u64, tokio_postgres::Error> {
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        take(row);
    }
    Ok(rows.rows_affected().unwrap_or(0))
}
