//! A mismatch in one sentence.

use std::fmt;

use super::{FromRowErrorKind as Kind, Mismatch};
use crate::text::Chain;
use crate::tokio_postgres::types::Type;

/// So many of the columns that there are, are named where one is missing.
const MOST_COLUMNS: usize = 16;

/// A mismatch in one sentence. Names are those of others: it has to be escaped.
pub(super) struct Line<'a>(pub(super) &'a Mismatch);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { kind, counts: (expected, found), .. } = self.0;
        let (column, of) = (self.0.column.as_deref().unwrap_or_default(), self.postgres_type());
        let (field, rust_type) = (self.field(), short(self.0.rust_type));
        match kind {
            Kind::MissingColumn => {
                write!(f, "there is no column \"{column}\" for {field}; {}", self.columns())
            }
            Kind::AmbiguousColumn => {
                let remedy = "rename the others with AS";
                write!(f, "several columns are called \"{column}\", and {field} takes one; {remedy}")
            }
            Kind::ColumnCount => {
                write!(f, "the number of columns is {found}, and {rust_type} takes {expected}")
            }
            Kind::WrongType => {
                write!(
                    f,
                    "the column \"{column}\" is of the PostgreSQL type {of}, which {field} does not take"
                )
            }
            Kind::Null => {
                let what = format!("the column \"{column}\" of the PostgreSQL type {of} is NULL");
                write!(f, "{what}, which {field} does not take; Option<{rust_type}> does")
            }
            Kind::Value => {
                let what = format!("a value of the column \"{column}\" of the PostgreSQL type {of}");
                write!(f, "{what} does not fit {field}: {}", self.cause())
            }
        }
    }
}

impl Line<'_> {
    fn postgres_type(&self) -> &str {
        self.0.postgres_type.as_ref().map_or("unknown", Type::name)
    }

    /// The field, with its type.
    fn field(&self) -> String {
        match (self.0.field, short(self.0.rust_type)) {
            ("", rust_type) => format!("the Rust type {rust_type}"),
            (field, rust_type) => format!("the field `{field}` of the Rust type {rust_type}"),
        }
    }

    /// The columns that there are.
    fn columns(&self) -> String {
        let names = self.0.columns.iter().map(|name| format!("\"{name}\""));
        let shown = names.take(MOST_COLUMNS).collect::<Vec<_>>().join(", ");
        match self.0.columns.len() {
            0 => "the statement returns none".to_owned(),
            1 => format!("there is {shown}"),
            all if all > MOST_COLUMNS => format!("there are {shown}, …"),
            _ => format!("there are {shown}"),
        }
    }

    /// What the conversion says, as far as it may be shown.
    fn cause(&self) -> String {
        match &self.0.cause {
            Some(cause) if self.0.shows_cause => Chain(&**cause).to_string(),
            _ => "…".to_owned(),
        }
    }
}

/// The name of a type without the paths of its parts.
fn short(name: &str) -> String {
    let ends_a_path = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '_' | ':');
    let pieces = name.split_inclusive(ends_a_path);
    pieces.map(|piece| piece.rsplit("::").next().unwrap_or(piece)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::FromRowError;

    #[test]
    fn a_type_is_named_without_its_paths() {
        for (name, expected) in [
            ("i64", "i64"),
            ("alloc::string::String", "String"),
            ("core::option::Option<alloc::vec::Vec<a::b::C>>", "Option<Vec<C>>"),
            ("(i32, alloc::string::String)", "(i32, String)"),
            ("&a::b", "&b"),
        ] {
            assert_eq!(short(name), expected);
        }
    }

    /// A column may be called anything.
    #[test]
    fn a_name_of_others_ends_no_line() {
        let err = FromRowError::new(Kind::MissingColumn, "User::name", "i64");
        let err = err.with_column("a\nERROR forged".to_owned());
        assert!(!err.to_string().contains('\n'), "{err}");
    }
}
