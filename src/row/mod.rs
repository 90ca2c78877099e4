//! A row as a value of the application's own: a struct or a tuple.
//!
//! A value is read in two steps. [`FromRow::plan`] looks at the columns of a result, once: it finds the position of each field and checks
//! its type. [`FromRow::read`] then takes the cells of each row from these positions. The derive macro writes both.

mod error;
mod any_columns;
mod plan;
mod cells;
mod implementations;
mod json;

pub(crate) use any_columns::KeptColumn;
pub use cells::Cells;
pub use error::{FromRowError, FromRowErrorKind};
pub use json::{FromJson, Json};
pub use plan::Columns;
pub(crate) use plan::Plan;

use crate::tokio_postgres::Row;

/// A type that a row can be read into, as [`query_as`](crate::Connection::query_as) does it.
///
/// It is derived, with the feature `derive`, and cannot be implemented by hand. A field takes the column of its name; its type is
/// whatever has [`FromSql`](crate::tokio_postgres::types::FromSql).
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// use actix_pg::FromRow;
///
/// #[derive(FromRow)]
/// struct User {
///     id: i64,
///     name: String,
///     email: Option<String>, // may be NULL
/// }
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE users (id bigint, name text, email text); INSERT INTO users VALUES (1, 'ada')";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
///
/// let users = conn.query_as::<User>("SELECT id, name, email FROM users", &[]).await?;
/// assert_eq!((users[0].id, users[0].name.as_str(), &users[0].email), (1, "ada", &None));
/// # Ok(())
/// # }
/// ```
///
/// # Attributes
///
/// | on a field | what it does |
/// |---|---|
/// | `#[row(rename = "name")]` | takes the column of this name |
/// | `#[row(default)]` | is [`Default::default()`] where there is no such column. NULL is still an error |
/// | `#[row(skip)]` | takes no column; is always `Default::default()` |
/// | `#[row(flatten)]` | is a struct of its own, which takes its columns from the same row |
/// | `#[row(prefix = "author_")]` | the same, from the columns that begin with this: its field `name` takes `author_name` |
/// | `#[row(json)]` | deserializes a `json` or `jsonb` column with serde. Needs the feature `with-serde_json-1` |
/// | `#[row(try_from = "String")]` | reads this type, and makes the field of it with [`TryFrom`] |
///
/// | on a struct | what it does |
/// |---|---|
/// | `#[row(rename_all = "camelCase")]` | spells the names of all fields so: also `lowercase`, `UPPERCASE`, `PascalCase`, `snake_case`, `SCREAMING_SNAKE_CASE`, `kebab-case`, `SCREAMING-KEBAB-CASE` |
///
/// A field that is an `Option` takes NULL, also with `json` and `try_from`. An `Option` of a nested struct is `None` where all of the
/// struct's columns are NULL, as behind a `LEFT JOIN`.
///
/// A tuple, and a tuple struct, takes the columns in their order, and all of them. A [`Row`](crate::tokio_postgres::Row) takes a row as it
/// is.
///
/// # How columns are found
///
/// Names have to be equal, in upper and lower case too. Columns that no field takes are left alone. Where two columns have the name of a field,
/// nothing is read: [`AmbiguousColumn`](FromRowErrorKind::AmbiguousColumn).
///
/// Columns are found and types are checked once for a result, and before the statement is sent. A type that does not fit is an
/// [`Error::Row`](crate::Error::Row), also where no row would have come, and an `INSERT … RETURNING` has not run then.
#[diagnostic::on_unimplemented(
    message = "a row cannot be read into `{Self}`",
    label = "has no `FromRow`",
    note = "derive it for a struct with the feature `derive`: `#[derive(actix_pg::FromRow)]`",
    note = "for a single column there are `query_scalar`, `query_one_scalar` and `query_opt_scalar`"
)]
pub trait FromRow: Sized {
    /// Whether columns are found by name, so that they can be some of a row's.
    #[doc(hidden)]
    const IS_NAMED: bool;

    /// Finds the columns and checks their types.
    #[doc(hidden)]
    fn plan(columns: &mut Columns<'_>) -> Result<(), FromRowError>;

    /// Reads a row, in the order in which [`plan`](Self::plan) has found the columns.
    #[doc(hidden)]
    fn read(cells: &mut Cells<'_>) -> Result<Self, FromRowError>;

    /// As [`read`](Self::read), with the row itself.
    #[doc(hidden)]
    fn take(row: Row, plan: &Plan) -> Result<Self, FromRowError> {
        read(&row, plan)
    }

    /// Reads one row, as of the driver's own [`Client`](crate::tokio_postgres::Client).
    ///
    /// Finds the columns each time. [`query_as`](crate::Connection::query_as) finds them once for all rows.
    ///
    /// # Errors
    ///
    /// The row does not fit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// use actix_pg::FromRow;
    ///
    /// #[derive(FromRow)]
    /// struct Count {
    ///     n: i64,
    /// }
    ///
    /// let client = conn.client().await?;
    /// let row = client.query_one("SELECT count(*) AS n FROM pg_class", &[]).await?;
    /// assert!(Count::from_row(&row)?.n > 0);
    /// # Ok(())
    /// # }
    /// ```
    fn from_row(row: &Row) -> Result<Self, FromRowError> {
        let mut plan = Plan::of::<Self>();
        plan.find(row.columns())?;
        read(row, &plan)
    }
}

/// Reads a row whose columns have been found.
#[inline]
pub(crate) fn read<T: FromRow>(row: &Row, plan: &Plan) -> Result<T, FromRowError> {
    T::read(&mut Cells::new(row, plan))
}
