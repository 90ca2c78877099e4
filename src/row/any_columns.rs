//! The columns of a result, from the driver or as they were kept.

use crate::tokio_postgres::Column;
use crate::tokio_postgres::types::Type;

/// The name and the type of a column, kept beyond the statement that has described it.
#[derive(Debug)]
pub(crate) struct KeptColumn {
    name: Box<str>,
    of: Type,
}

impl From<&Column> for KeptColumn {
    fn from(column: &Column) -> Self {
        Self { name: column.name().into(), of: column.type_().clone() }
    }
}

impl KeptColumn {
    /// Whether a column has this name and this type.
    pub(crate) fn is(&self, column: &Column) -> bool {
        *self.name == *column.name() && self.of == *column.type_()
    }
}

/// The columns in which a type finds its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnyColumns<'a> {
    Driver(&'a [Column]),
    Kept(&'a [KeptColumn]),
}

impl<'a> From<&'a [Column]> for AnyColumns<'a> {
    fn from(columns: &'a [Column]) -> Self {
        Self::Driver(columns)
    }
}

impl<'a> From<&'a [KeptColumn]> for AnyColumns<'a> {
    fn from(columns: &'a [KeptColumn]) -> Self {
        Self::Kept(columns)
    }
}

impl<'a> AnyColumns<'a> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Driver(columns) => columns.len(),
            Self::Kept(columns) => columns.len(),
        }
    }

    pub(super) fn name(self, position: usize) -> &'a str {
        match self {
            Self::Driver(columns) => columns[position].name(),
            Self::Kept(columns) => &columns[position].name,
        }
    }

    pub(super) fn of(self, position: usize) -> &'a Type {
        match self {
            Self::Driver(columns) => columns[position].type_(),
            Self::Kept(columns) => &columns[position].of,
        }
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |position| self.name(position))
    }
}
