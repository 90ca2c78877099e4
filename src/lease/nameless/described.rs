//! What is known of a statement that has no name on the server, and how it is sent.

use std::mem;
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::look_ups::{Failure, unless_stuck};
use crate::lease::{Lease, Params};
use crate::row::{FromRowError, Plan};
use crate::session::{Types, Unpinned, are_built_in, is_of_look_up, may_be_out_of_date};
use crate::stats::StatementInfo;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Column, Row, RowStream, Statement};
use crate::{Error, Result, tokio_postgres};

/// Takes the rows of a statement, one by one.
pub(in crate::lease) type Take<'a> = &'a mut (dyn FnMut(Row) + Send);

/// Prepares a text in the transaction that is open, behind a pooler in transaction mode.
pub(in crate::lease) async fn prepare(lease: &Lease, sql: &str) -> Result<Statement> {
    let session = lease.session();
    let unpinned = session.unpinned().ok_or(Error::SessionLost)?;
    unpinned.prepare(session.client(), sql, !lease.has_names_of_its_own()).await?.ok_or(Error::SessionLost)
}

impl Lease {
    /// Whether a text may name other tables here than on other sessions, because of a search path. Then its types are of no use to others.
    pub(in crate::lease) fn has_names_of_its_own(&self) -> bool {
        self.settings().may_change_names() || self.state().has_unknown_effects()
    }
}

/// A statement, and what is known of its types.
pub(in crate::lease) struct Described<'s, 'p> {
    sql: &'s str,
    params: Params<'s>,
    plan: Option<&'p mut Plan>,
    /// All types are built in.
    known: Option<Arc<Types>>,
    /// Whether the columns of its rows fit the plan.
    fits: Result<(), FromRowError>,
    /// It was refused for the types that were known, and has not run.
    refused: Option<Refused>,
}

/// Who has refused a statement before it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Nothing was sent.
    Driver,
    /// A transaction that was open has failed.
    Server,
}

impl<'s, 'p> Described<'s, 'p> {
    /// Columns that do not fit the plan may be older than the table, and count as unknown.
    pub(in crate::lease) fn new(
        lease: &Lease,
        sql: &'s str,
        params: Params<'s>,
        plan: Option<&'p mut Plan>,
    ) -> Self {
        let mut described = Self { sql, params, plan, known: None, fits: Ok(()), refused: None };
        described.look_up(lease);
        if let (Some(known), Some(plan)) = (&described.known, &mut described.plan)
            && plan.find(known.columns()).is_err()
        {
            described.known = None;
        }
        described
    }

    fn look_up(&mut self, lease: &Lease) {
        let known = lease.session().types(self.sql).filter(|_| !lease.has_names_of_its_own());
        self.known = known.filter(|known| known.params().len() == self.params.len());
    }

    pub(in crate::lease) fn sql(&self) -> &'s str {
        self.sql
    }

    /// Whether all types are known without a look-up.
    pub(in crate::lease) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Runs it in the transaction that is open, or alone.
    pub(in crate::lease) async fn run(
        &mut self,
        lease: &Lease,
        info: &StatementInfo,
        take: Take<'_>,
    ) -> Result<u64> {
        let named = match self.is_known() {
            true => None,
            false => self.prepared(lease, prepare(lease, self.sql).await?)?,
        };
        self.send(lease, info, named.as_ref(), take).await
    }

    /// Fails if the columns of a statement that was prepared do not fit the plan. What was known before does not count any more.
    pub(in crate::lease) fn check(&mut self, statement: &Statement) -> Result<()> {
        self.known = None;
        self.plan.as_mut().map_or(Ok(()), |plan| plan.find(statement.columns()))?;
        Ok(())
    }

    /// What is known of it from now on. It keeps its name if the driver has to know its types.
    pub(in crate::lease) fn prepared(
        &mut self,
        lease: &Lease,
        statement: Statement,
    ) -> Result<Option<Statement>> {
        self.check(&statement)?;
        self.look_up(lease);
        Ok(if self.is_known() { None } else { Some(statement) })
    }

    /// Sends it, by its name or else with the types that are known, and waits for the description of its answer.
    pub(in crate::lease) async fn begin(
        &self,
        lease: &Lease,
        info: &StatementInfo,
        named: Option<&Statement>,
    ) -> Result<RowStream, Failure> {
        let client = lease.session().client();
        if let Some(named) = named {
            return Ok(client.query_raw(named, self.params.iter().copied()).await?);
        }
        let types = self.known.iter().flat_map(|known| known.params()).cloned();
        let sent = client.query_typed_raw(self.sql, self.params.iter().copied().zip(types));
        if self.known.as_ref().is_none_or(|known| known.columns().is_empty()) {
            return Ok(sent.await?);
        }
        unless_stuck(sent, info.is_shareable()).await
    }

    /// Looks at the first row: its own columns count, not those that were known.
    pub(in crate::lease) fn see(&mut self, lease: &Lease, row: &Row) {
        let Some(known) = self.known.take() else { return };
        if !known.are_of(row.columns()) {
            has_other_columns(lease, self.sql, row.columns());
            self.fits = self.plan.as_mut().map_or(Ok(()), |plan| plan.find(row.columns()));
        }
    }

    /// What was affected, if the rows that have been seen fit.
    pub(in crate::lease) fn fits(&mut self, affected: u64) -> Result<u64> {
        mem::replace(&mut self.fits, Ok(()))?;
        Ok(affected)
    }

    /// Sends it as [`begin`](Self::begin) does, and reads its answer.
    pub(in crate::lease) async fn send(
        &mut self,
        lease: &Lease,
        info: &StatementInfo,
        named: Option<&Statement>,
        take: Take<'_>,
    ) -> Result<u64> {
        let mut rows = pin!(match self.begin(lease, info, named).await {
            Ok(rows) => rows,
            Err(failure) => return Err(self.not_begun(lease, named, failure)),
        });
        let ran = loop {
            match rows.try_next().await {
                Ok(Some(row)) => {
                    self.see(lease, &row);
                    take(row);
                }
                Ok(None) => break rows.rows_affected().unwrap_or(0),
                Err(err) => {
                    if named.is_none() {
                        doubt(lease, self.sql, &err);
                    }
                    return Err(err.into());
                }
            }
        };
        self.fits(ran)
    }

    /// Records that it could not be begun.
    pub(in crate::lease) fn not_begun(
        &mut self,
        lease: &Lease,
        named: Option<&Statement>,
        failure: Failure,
    ) -> Error {
        if named.is_none() {
            doubt_failed(lease, self.sql, &failure);
            self.refused = match &failure {
                failure if failure.is_of_parameter() => Some(Refused::Driver),
                Failure::Driver(_) if failure.can_run_again() => Some(Refused::Server),
                _ => None,
            };
        }
        failure.into()
    }

    /// Whether it has not run, and can be prepared and run: where it was to stand alone, or nothing was sent.
    pub(in crate::lease) fn can_run_again(&self, stands_alone: bool) -> bool {
        match self.refused {
            Some(Refused::Driver) => true,
            Some(Refused::Server) => stands_alone,
            None => false,
        }
    }
}

/// Records why a statement without a name was not begun. Forgets the types of its text if they may not be what they were.
pub(in crate::lease) fn doubt_failed(lease: &Lease, sql: &str, failure: &Failure) {
    match failure {
        Failure::Driver(err) => doubt(lease, sql, err),
        Failure::Stuck { .. } => {
            lease.session().unpinned().map(Unpinned::lose);
            lease.session().forget_types(sql);
        }
    }
}

/// Forgets the types of a text if its statement may have failed because they are not what they were.
fn doubt(lease: &Lease, sql: &str, err: &tokio_postgres::Error) {
    if let Some(unpinned) = lease.session().unpinned().filter(|_| is_of_look_up(err)) {
        unpinned.lose();
    }
    if doubts_types(err) {
        lease.session().forget_types(sql);
    }
}

/// Whether a statement may have failed because its types are not what they were.
pub(in crate::lease) fn doubts_types(err: &tokio_postgres::Error) -> bool {
    match err.code() {
        // The driver's: a parameter does not fit the type.
        None => !err.is_closed(),
        Some(code) => {
            may_be_out_of_date(err) || is_of_look_up(err) || *code == SqlState::INVALID_BINARY_REPRESENTATION
        }
    }
}

/// Records that a text has other columns than are known of it.
pub(in crate::lease) fn has_other_columns(lease: &Lease, sql: &str, columns: &[Column]) {
    let session = lease.session();
    match session.unpinned() {
        Some(_) if are_built_in(columns) => {}
        unpinned => {
            // The driver has looked a type up on its own account.
            unpinned.map(Unpinned::lose);
            session.forget_types(sql);
        }
    }
}
