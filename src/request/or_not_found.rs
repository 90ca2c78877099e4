//! A 404 for what is not there.

use crate::{Error, Result};

/// Turns `None` into a 404.
///
/// ```no_run
/// # use actix_pg::{Connection, OrNotFound, Result};
/// # async fn name(conn: Connection, id: i64) -> Result<String> {
/// let row = conn.query_opt("SELECT name FROM users WHERE id = $1", &[&id]).await?.or_not_found()?;
/// # Ok(row.get(0))
/// # }
/// ```
pub trait OrNotFound {
    /// What is found.
    type Found;

    /// What is found.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], which is a 404 with a short text.
    fn or_not_found(self) -> Result<Self::Found>;
}

impl<T> OrNotFound for Option<T> {
    type Found = T;

    fn or_not_found(self) -> Result<T> {
        self.ok_or(Error::NotFound)
    }
}
