//! Where the fields of a type are found in a result.

use std::any::type_name;

use smallvec::SmallVec;

use super::FromRow;
use super::any_columns::AnyColumns;
use super::error::{FromRowError, FromRowErrorKind};
use crate::tokio_postgres::types::{FromSqlOwned, Type};

/// Stands for a column that need not be there, and is not.
pub(super) const MISSING: u16 = COUNT - 1;

/// Marks what is not a position, but the number of entries that follow and belong to an `Option` of a struct.
pub(super) const COUNT: u16 = 1 << 15;

/// Where the fields of a type are found in the result of a statement.
///
/// Flat, and not a type of each struct's own: few results are wider than what is kept without an allocation.
#[derive(Debug)]
#[expect(unnameable_types, reason = "only the hidden steps of the trait name it")]
pub struct Plan {
    find: fn(&mut Columns<'_>) -> Result<(), FromRowError>,
    positions: Positions,
}

type Positions = SmallVec<[u16; 16]>;

impl Plan {
    /// An empty plan for this type.
    pub(crate) fn of<T: FromRow>() -> Self {
        Self { find: T::plan, positions: SmallVec::new() }
    }

    /// Finds every column, and checks its type. Forgets what was found before.
    pub(crate) fn find<'a>(&mut self, columns: impl Into<AnyColumns<'a>>) -> Result<(), FromRowError> {
        self.positions.clear();
        (self.find)(&mut Columns {
            all: columns.into(),
            found: &mut self.positions,
            prefixes: SmallVec::new(),
        })
    }

    /// An empty plan for the same type.
    pub(crate) fn anew(&self) -> Self {
        Self { find: self.find, positions: SmallVec::new() }
    }

    /// Whether these are the columns of the type.
    pub(crate) fn fits<'a>(&self, columns: impl Into<AnyColumns<'a>>) -> bool {
        self.anew().find(columns).is_ok()
    }

    #[inline]
    pub(super) fn positions(&self) -> &[u16] {
        &self.positions
    }
}

/// The columns of a result, in which a type finds its own.
#[derive(Debug)]
pub struct Columns<'a> {
    all: AnyColumns<'a>,
    found: &'a mut Positions,
    /// What the names begin with: those of a nested struct.
    prefixes: SmallVec<[&'static str; 2]>,
}

/// What a field asks of its column.
struct Wanted {
    field: &'static str,
    rust_type: &'static str,
    accepts: fn(&Type) -> bool,
}

impl Wanted {
    fn new<T: FromSqlOwned>(field: &'static str) -> Self {
        Self { field, rust_type: type_name::<T>(), accepts: T::accepts }
    }
}

impl Columns<'_> {
    /// Finds the column of this name.
    pub fn named<T: FromSqlOwned>(
        &mut self,
        name: &'static str,
        field: &'static str,
    ) -> Result<(), FromRowError> {
        self.find(name, Wanted::new::<T>(field), false)
    }

    /// Finds the column of this name, if there is one.
    pub fn named_or_missing<T: FromSqlOwned>(
        &mut self,
        name: &'static str,
        field: &'static str,
    ) -> Result<(), FromRowError> {
        self.find(name, Wanted::new::<T>(field), true)
    }

    /// Finds those of a struct in this one, whose names begin with `prefix`.
    pub fn nested<T: FromRow>(&mut self, prefix: &'static str) -> Result<(), FromRowError> {
        self.prefixes.push(prefix);
        let found = T::plan(self);
        self.prefixes.pop();
        found
    }

    /// Finds those of a struct that may be missing as a whole. How many they are is written before them.
    pub(super) fn optional<T: FromRow>(&mut self) -> Result<(), FromRowError> {
        let length = self.found.len();
        self.found.push(0);
        T::plan(self)?;
        self.found[length] = COUNT | (self.found.len() - length - 1) as u16;
        Ok(())
    }

    /// Checks that there are as many columns as a tuple has fields.
    pub fn expect(&self, count: usize, rust_type: &'static str) -> Result<(), FromRowError> {
        if self.all.len() == count {
            return Ok(());
        }
        Err(FromRowError::new(FromRowErrorKind::ColumnCount, "", rust_type)
            .with_counts(count, self.all.len()))
    }

    /// Takes the column at this position.
    pub fn at<T: FromSqlOwned>(&mut self, position: usize, field: &'static str) -> Result<(), FromRowError> {
        self.take(position, &Wanted::new::<T>(field))
    }

    fn find(&mut self, name: &str, wanted: Wanted, may_miss: bool) -> Result<(), FromRowError> {
        let mut those = (0..self.all.len()).filter(|position| self.is_called(*position, name));
        match (those.next(), those.next()) {
            (Some(position), None) => self.take(position, &wanted),
            (None, _) if may_miss => {
                self.found.push(MISSING);
                Ok(())
            }
            (None, _) => {
                Err(self.wrong(FromRowErrorKind::MissingColumn, name, &wanted).with_columns(self.all.names()))
            }
            (Some(_), Some(_)) => Err(self.wrong(FromRowErrorKind::AmbiguousColumn, name, &wanted)),
        }
    }

    fn is_called(&self, position: usize, name: &str) -> bool {
        let own =
            self.prefixes.iter().try_fold(self.all.name(position), |rest, prefix| rest.strip_prefix(prefix));
        own == Some(name)
    }

    fn wrong(&self, kind: FromRowErrorKind, name: &str, wanted: &Wanted) -> FromRowError {
        let name = self.prefixes.concat() + name;
        FromRowError::new(kind, wanted.field, wanted.rust_type).with_column(name)
    }

    fn take(&mut self, position: usize, wanted: &Wanted) -> Result<(), FromRowError> {
        if !(wanted.accepts)(self.all.of(position)) {
            return Err(FromRowError::new(FromRowErrorKind::WrongType, wanted.field, wanted.rust_type)
                .with_column(self.all.name(position).to_owned())
                .with_postgres_type(self.all.of(position).clone()));
        }
        // PostgreSQL has at most 1,664 columns in a result.
        self.found.push(position as u16);
        Ok(())
    }
}
