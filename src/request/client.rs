//! The driver's client on loan.

use std::fmt;
use std::ops::Deref;

use crate::Result;
use crate::lease::SessionUse;
use crate::tokio_postgres::{self, Client, Statement};

/// The [`Client`] of a request's session, as [`Connection::client`](crate::Connection::client) lends it.
///
/// It keeps the session for the request: [`release`](crate::Connection::release) is refused while it is alive.
///
/// - A `Statement` or a row stream made with it must not be used after it. What is left of them is cancelled, or the session is
///   discarded, when it goes back.
/// - After a `COPY` of the client's that has failed, `release` the session before the next statement: the driver may have lost
///   count of the answers, and the return finds that out.
/// - `command_timeout` and `echo` do not apply to what is done with it.
pub struct ClientGuard {
    session_use: SessionUse,
}

impl fmt::Debug for ClientGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientGuard").finish_non_exhaustive()
    }
}

impl ClientGuard {
    pub(crate) async fn of(mut session_use: SessionUse) -> Result<Self> {
        session_use.lend_client().await?;
        Ok(Self { session_use })
    }

    /// Returns a statement from the session's cache, or prepares it and keeps it there: the cache of the verbs, whose size is
    /// `statement_cache_size`.
    ///
    /// Code that is written or generated for a pool with a method of this name, such as that of
    /// [Cornucopia](https://docs.rs/cornucopia) (once clorinde), runs a statement in one round trip with it.
    ///
    /// The verbs prepare a statement again when DDL has changed its result, and the server refuses it (`cached plan must not change
    /// result type`). Code that runs it with the client gets that error, until the session ends.
    ///
    /// # Errors
    ///
    /// The driver's, if the server refuses the statement. Nothing is kept then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps nothing.
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
    /// let client = conn.client().await?;
    /// let statement = client.prepare_cached("SELECT $1::int + 1").await?;
    /// let row = client.query_one(&statement, &[&1]).await?;
    /// assert_eq!(row.get::<_, i32>(0), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn prepare_cached(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let session = self.session_use.session();
        let prepared = match session.cached(sql) {
            Some(prepared) => prepared,
            None => session.prepare(sql, false).await?,
        };
        Ok(prepared.statement)
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.session_use.client_returned();
    }
}

impl Deref for ClientGuard {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.session_use.session().client()
    }
}
