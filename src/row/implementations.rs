//! What a row can be read into without a derive.

use std::any::type_name;

use super::{Cells, Columns, FromRow, FromRowError, Plan};
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::FromSqlOwned;

/// A row as it is.
impl FromRow for Row {
    const IS_NAMED: bool = false;

    fn plan(_: &mut Columns<'_>) -> Result<(), FromRowError> {
        Ok(())
    }

    fn read(cells: &mut Cells<'_>) -> Result<Self, FromRowError> {
        Ok(cells.row().clone())
    }

    fn take(row: Row, _: &Plan) -> Result<Self, FromRowError> {
        Ok(row)
    }
}

/// `None` where all columns are NULL, as behind a `LEFT JOIN`.
impl<T: FromRow> FromRow for Option<T> {
    const IS_NAMED: bool = T::IS_NAMED;

    fn plan(columns: &mut Columns<'_>) -> Result<(), FromRowError> {
        columns.optional::<T>()
    }

    fn read(cells: &mut Cells<'_>) -> Result<Self, FromRowError> {
        match cells.pass_over_nulls() {
            true => Ok(None),
            false => T::read(cells).map(Some),
        }
    }
}

macro_rules! tuple {
    ($count:literal: $($column:ident $position:tt),+) => {
        /// The columns in their order, and all of them.
        impl<$($column: FromSqlOwned),+> FromRow for ($($column,)+) {
            const IS_NAMED: bool = false;

            fn plan(columns: &mut Columns<'_>) -> Result<(), FromRowError> {
                columns.expect($count, type_name::<Self>())?;
                $(columns.at::<$column>($position, "")?;)+
                Ok(())
            }

            fn read(cells: &mut Cells<'_>) -> Result<Self, FromRowError> {
                Ok(($(cells.read::<$column>("")?,)+))
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);
tuple!(5: A 0, B 1, C 2, D 3, E 4);
tuple!(6: A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
