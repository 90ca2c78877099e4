//! A 404 for what is not there.

use crate::{Error, Result};

/// Turns `None`, and a count of zero rows, into a 404.
///
/// ```
/// # use actix_pg::testing::Postgres;
/// use actix_pg::{Connection, Database, Error, OrNotFound, Result};
///
/// async fn name(conn: &Connection, id: i64) -> Result<String> {
///     let row = conn.query_opt("SELECT name FROM users WHERE id = $1", &[&id]).await?.or_not_found()?;
///     Ok(row.get("name"))
/// }
///
/// async fn delete(conn: &Connection, id: i64) -> Result<()> {
///     conn.execute("DELETE FROM users WHERE id = $1", &[&id]).await?.or_not_found()?;
///     Ok(())
/// }
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE users (id bigint, name text); INSERT INTO users VALUES (1, 'ada')";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
///
/// assert_eq!(name(&conn, 1).await?, "ada");
/// assert!(matches!(name(&conn, 2).await, Err(Error::NotFound)));
/// delete(&conn, 1).await?;
/// assert!(matches!(delete(&conn, 1).await, Err(Error::NotFound)));
/// # Ok(())
/// # }
/// ```
pub trait OrNotFound {
    /// The type of the value that is there, or is not.
    type Found;

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none: a 404 with a short text, which is not logged.
    fn or_not_found(self) -> Result<Self::Found>;
}

impl<T> OrNotFound for Option<T> {
    type Found = T;

    fn or_not_found(self) -> Result<T> {
        self.ok_or(Error::NotFound)
    }
}

/// The number of rows that [`execute`](crate::Connection::execute) affected.
impl OrNotFound for u64 {
    type Found = Self;

    fn or_not_found(self) -> Result<Self> {
        if self == 0 { Err(Error::NotFound) } else { Ok(self) }
    }
}
