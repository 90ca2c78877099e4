//! Why a row does not fit a type.

use std::error::Error;
use std::fmt;
use std::num::TryFromIntError;
use std::str::Utf8Error;

use crate::text::Escaped;
use crate::tokio_postgres::types::Type;
use line::Line;

mod line;

/// Why a row, or the result of a statement, does not fit the type that it is read into: [`Error::Row`](crate::Error::Row).
///
/// `Display` and `Debug` are one line, which names the column and both types, the PostgreSQL type and the Rust type. It shows no
/// value. What a conversion says about a value may quote it, so that stands in [`cause`](Self::cause), and in the line only with
/// `echo = true`. There is no [`source`](Error::source).
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// use actix_pg::{Error, FromRow, FromRowErrorKind};
///
/// #[derive(Debug, FromRow)]
/// struct User {
///     age: i64,
/// }
///
/// let Err(Error::Row(err)) = conn.query_as::<User>("SELECT text 'old' AS age", &[]).await else {
///     panic!("a text is no i64");
/// };
/// assert_eq!(err.kind(), FromRowErrorKind::WrongType);
/// assert_eq!(
///     err.to_string(),
///     "the column \"age\" is of the PostgreSQL type text, which the field `User::age` of the Rust type i64 does not take"
/// );
/// # Ok(())
/// # }
/// ```
pub struct FromRowError(Box<Mismatch>);

/// Boxed, so that a `Result` stays small.
struct Mismatch {
    kind: FromRowErrorKind,
    /// As `User::age`. Empty for the field of a tuple.
    field: &'static str,
    rust_type: &'static str,
    column: Option<String>,
    postgres_type: Option<Type>,
    /// The names of the columns that there are.
    columns: Vec<String>,
    /// How many columns there should be, and how many there are.
    counts: (usize, usize),
    cause: Option<Box<dyn Error + Send + Sync>>,
    shows_cause: bool,
    sql: Option<String>,
}

/// What does not fit: [`FromRowError::kind`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromRowErrorKind {
    /// There is no column of the field's name.
    MissingColumn,
    /// Several columns have the field's name.
    AmbiguousColumn,
    /// A tuple has fewer fields, or more, than the result has columns.
    ColumnCount,
    /// The field's type does not take values of the column's type.
    WrongType,
    /// The value is NULL, and the field is no `Option`.
    Null,
    /// The field's type does not take this value.
    Value,
}

impl FromRowError {
    pub(crate) fn new(kind: FromRowErrorKind, field: &'static str, rust_type: &'static str) -> Self {
        Self(Box::new(Mismatch {
            kind,
            field,
            rust_type,
            column: None,
            postgres_type: None,
            columns: Vec::new(),
            counts: (0, 0),
            cause: None,
            shows_cause: false,
            sql: None,
        }))
    }

    pub(super) fn with_column(mut self, name: String) -> Self {
        self.0.column = Some(name);
        self
    }

    pub(super) fn with_columns<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Self {
        self.0.columns = names.map(str::to_owned).collect();
        self
    }

    pub(super) fn with_postgres_type(mut self, of: Type) -> Self {
        self.0.postgres_type = Some(of);
        self
    }

    pub(super) fn with_counts(mut self, expected: usize, found: usize) -> Self {
        self.0.counts = (expected, found);
        self
    }

    pub(super) fn with_cause(mut self, cause: Box<dyn Error + Send + Sync>) -> Self {
        self.0.shows_cause = tells_no_value(&*cause);
        self.0.cause = Some(cause);
        self
    }

    pub(crate) fn with_sql(mut self, sql: String) -> Self {
        self.0.sql = Some(sql);
        self
    }

    /// Shows what a conversion says about a value: `echo` asks for it.
    pub(crate) fn with_values(mut self) -> Self {
        self.0.shows_cause = true;
        self
    }

    /// Returns what does not fit.
    pub fn kind(&self) -> FromRowErrorKind {
        self.0.kind
    }

    /// Returns the name of the column: the one that is missing, where it is missing. `None` if the number of columns is wrong.
    pub fn column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }

    /// Returns the field, as in `User::age`. `None` for a tuple.
    pub fn field(&self) -> Option<&str> {
        Some(self.0.field).filter(|field| !field.is_empty())
    }

    /// Returns the PostgreSQL type of the column, if there is one column.
    pub fn postgres_type(&self) -> Option<&Type> {
        self.0.postgres_type.as_ref()
    }

    /// Returns the Rust type of the field, as [`type_name`](std::any::type_name) spells it.
    pub fn rust_type(&self) -> &str {
        self.0.rust_type
    }

    /// Returns what the conversion of a value says. It may quote the value, so it is not for a log or a client.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// Returns the statement, if a verb of this crate has run it: one line of at most a thousand characters, with `?` for every literal.
    pub fn sql(&self) -> Option<&str> {
        self.0.sql.as_deref()
    }
}

/// Whether an error of a conversion is known to quote no value.
fn tells_no_value(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    cause.is::<Utf8Error>() || cause.is::<TryFromIntError>()
}

impl fmt::Display for FromRowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(Line(&self.0)))
    }
}

impl fmt::Debug for FromRowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for FromRowError {}
