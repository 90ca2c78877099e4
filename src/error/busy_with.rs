//! What keeps a connection busy.

use std::fmt;

/// What is alive on a busy connection: the cause in an [`Error::Busy`](crate::Error::Busy).
///
/// `Display` is a noun phrase, such as `a row stream`. Where several things are alive, it is the one that has to end first.
///
/// ```
/// # use actix_pg::{Connection, Database, testing::Postgres};
/// use actix_pg::{BusyWith, Error};
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// let tx = conn.transaction().await?;
/// assert!(matches!(conn.release(), Err(Error::Busy(BusyWith::Transaction))));
/// tx.commit().await?;
/// conn.release()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BusyWith {
    /// A statement that runs, or anything that still waits for a session.
    Statement,
    /// A [`RowStream`](crate::RowStream) that has not been read to its end.
    RowStream,
    /// A [`CopyIn`](crate::CopyIn) that has not been finished, or a [`CopyOut`](crate::CopyOut) that has not been read to its
    /// end.
    Copy,
    /// A [`Transaction`](crate::Transaction), a [`RequestTransaction`](crate::RequestTransaction) that has begun, or a transaction that SQL
    /// has begun (`BEGIN`).
    Transaction,
    /// A [`ClientGuard`](crate::ClientGuard).
    ClientGuard,
}

impl BusyWith {
    /// What ends it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Statement => "await it, or drop its future, first",
            Self::RowStream => "read it to its end or drop it first",
            Self::Copy => "finish it, read it to its end or drop it first",
            Self::Transaction => {
                "commit it, roll it back or drop it first; a method `transaction` of its own begins a savepoint in it"
            }
            Self::ClientGuard => "drop it first",
        }
    }
}

impl fmt::Display for BusyWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Statement => "a statement",
            Self::RowStream => "a row stream",
            Self::Copy => "a copy",
            Self::Transaction => "a transaction",
            Self::ClientGuard => "a client guard",
        })
    }
}
