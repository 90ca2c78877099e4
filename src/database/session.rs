//! Lends a session to one who owns it.

use std::panic::Location;
use std::sync::Arc;

use super::Database;
use crate::Result;
use crate::lease::{Borrower, OwnedSession};

impl<D> Database<D> {
    /// Borrows a session to own: for migrations, and for whatever else takes a `&mut`
    /// [`Client`](crate::tokio_postgres::Client) of the driver.
    ///
    /// It waits for a place of the pool like any borrower, in the order of arrival and for `acquire_timeout` at most; it counts towards
    /// `pool_max_size`, and [`long_hold`](crate::Config::long_hold) warns of it. The server, TLS, the password and what
    /// [`after_connect`](crate::DatabaseBuilder::after_connect) does are those of every session. It is never lent to anybody else: its drop
    /// ends it. See [`OwnedSession`].
    ///
    /// # Errors
    ///
    /// [`Error::Acquire`](crate::Error::Acquire) if no session can be had; [`Error::Sandboxed`](crate::Error::Sandboxed) in a
    /// sandbox, which has one session for all.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let mut session = db.session().await?;
    /// let tx = session.transaction().await?; // the driver's own
    /// tx.batch_execute("CREATE TABLE users (name text)").await?;
    /// tx.commit().await?;
    /// drop(session); // ended, and its place is free again
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn session(&self) -> impl Future<Output = Result<OwnedSession>> + Send {
        let caller = Location::caller();
        async move { self.untyped.lender().own(Borrower { request: &Arc::default(), caller: Some(caller) }).await }
    }
}
