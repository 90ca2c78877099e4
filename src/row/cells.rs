//! The cells of one row, as a type reads them.

use std::any::type_name;
use std::error::Error;
use std::slice;

use super::error::{FromRowError, FromRowErrorKind};
use super::plan::{COUNT, MISSING, Plan};
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{FromSql, FromSqlOwned, Type, WasNull};

/// The cells of one row that have not been read, in the order in which their columns were found.
#[derive(Debug)]
pub struct Cells<'a> {
    row: &'a Row,
    positions: slice::Iter<'a, u16>,
}

type Cause = Box<dyn Error + Send + Sync>;

impl<'a> Cells<'a> {
    #[inline]
    pub(super) fn new(row: &'a Row, plan: &'a Plan) -> Self {
        Self { row, positions: plan.positions().iter() }
    }

    /// Reads the next cell.
    #[inline]
    pub fn read<T: FromSqlOwned>(&mut self, field: &'static str) -> Result<T, FromRowError> {
        let position = self.next();
        self.at(position, field)
    }

    /// Reads the next cell, if there is such a column.
    #[inline]
    pub fn read_or_missing<T: FromSqlOwned>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<T>, FromRowError> {
        match self.next() {
            MISSING => Ok(None),
            position => self.at(position, field).map(Some),
        }
    }

    /// Reads the next cell, and makes a `T` of it.
    pub fn convert<R: FromSqlOwned, T, E: Into<Cause>>(
        &mut self,
        field: &'static str,
        convert: impl FnOnce(R) -> Result<T, E>,
    ) -> Result<T, FromRowError> {
        let position = self.next();
        self.converted(position, field, convert)
    }

    /// Reads the next cell, and makes a `T` of it, if there is such a column.
    pub fn convert_or_missing<R: FromSqlOwned, T, E: Into<Cause>>(
        &mut self,
        field: &'static str,
        convert: impl FnOnce(R) -> Result<T, E>,
    ) -> Result<Option<T>, FromRowError> {
        match self.next() {
            MISSING => Ok(None),
            position => self.converted(position, field, convert).map(Some),
        }
    }

    /// Passes over a struct that is missing as a whole, because all of its cells are NULL.
    pub(super) fn pass_over_nulls(&mut self) -> bool {
        let count = usize::from(self.next() & !COUNT);
        let (nested, rest) = self.positions.as_slice().split_at(count);
        let is_null = nested.iter().all(|entry| match *entry {
            MISSING => true,
            // That of an `Option` in it, whose own cells follow.
            count if count & COUNT != 0 => true,
            position => self.is_null(position),
        });
        // A type without cells of its own, such as the row itself, is always there.
        let is_null = is_null && count > 0;
        if is_null {
            self.positions = rest.iter();
        }
        is_null
    }

    pub(super) fn row(&self) -> &Row {
        self.row
    }

    #[inline]
    fn next(&mut self) -> u16 {
        self.positions.next().copied().unwrap_or(MISSING)
    }

    /// Reads a cell whose type has been checked with the plan.
    #[inline]
    fn at<T: FromSqlOwned>(&self, position: u16, field: &'static str) -> Result<T, FromRowError> {
        match self.row.try_get::<_, Checked<T>>(usize::from(position)) {
            Ok(Checked(value)) => Ok(value),
            Err(err) => Err(self.unfit(type_name::<T>(), field, position, err.into_source())),
        }
    }

    /// Says why a cell could not be read.
    #[cold]
    fn unfit(
        &self,
        rust_type: &'static str,
        field: &'static str,
        position: u16,
        cause: Option<Cause>,
    ) -> FromRowError {
        let kind = match &cause {
            None => FromRowErrorKind::MissingColumn,
            Some(cause) if cause.is::<WasNull>() => FromRowErrorKind::Null,
            Some(_) => FromRowErrorKind::Value,
        };
        self.wrong(kind, rust_type, field, position, cause)
    }

    fn converted<R: FromSqlOwned, T, E: Into<Cause>>(
        &self,
        position: u16,
        field: &'static str,
        convert: impl FnOnce(R) -> Result<T, E>,
    ) -> Result<T, FromRowError> {
        let refused = |cause: E| {
            self.wrong(FromRowErrorKind::Value, type_name::<T>(), field, position, Some(cause.into()))
        };
        convert(self.at(position, field)?).map_err(refused)
    }

    fn is_null(&self, position: u16) -> bool {
        matches!(self.row.try_get(usize::from(position)), Ok(IsNull(true)))
    }

    #[cold]
    fn wrong(
        &self,
        kind: FromRowErrorKind,
        rust_type: &'static str,
        field: &'static str,
        position: u16,
        cause: Option<Cause>,
    ) -> FromRowError {
        let mut err = FromRowError::new(kind, field, rust_type);
        if let Some(column) = self.row.columns().get(usize::from(position)) {
            err = err.with_column(column.name().to_owned()).with_postgres_type(column.type_().clone());
        }
        match cause {
            Some(cause) => err.with_cause(cause),
            None => err,
        }
    }
}

/// A value whose type has been checked: the driver asks for each value, the plan has asked once.
struct Checked<T>(T);

impl<'a, T: FromSql<'a>> FromSql<'a> for Checked<T> {
    #[inline]
    fn from_sql(of: &Type, bytes: &'a [u8]) -> Result<Self, Cause> {
        T::from_sql(of, bytes).map(Self)
    }

    #[inline]
    fn from_sql_null(of: &Type) -> Result<Self, Cause> {
        T::from_sql_null(of).map(Self)
    }

    #[inline]
    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Whether a cell of any type is NULL.
struct IsNull(bool);

impl FromSql<'_> for IsNull {
    fn from_sql(_: &Type, _: &[u8]) -> Result<Self, Cause> {
        Ok(Self(false))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Cause> {
        Ok(Self(true))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
