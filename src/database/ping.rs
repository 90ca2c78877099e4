//! Asks the server for an answer.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::{Database, Untyped};
use crate::Result;
use crate::lease::{Borrower, Deadline, Lease, batch_execute};

impl<D> Database<D> {
    /// Borrows a session and waits for an answer of the server on it: a check for a readiness probe.
    ///
    /// In a full pool it waits for a session like everybody, for up to `acquire_timeout`. A probe usually wants a bound of its own:
    /// [`ping_within`](Self::ping_within).
    ///
    /// # Errors
    ///
    /// What a statement could fail with: [`Error::Acquire`](crate::Error::Acquire),
    /// [`Error::Postgres`](crate::Error::Postgres), [`Error::CommandTimeout`](crate::Error::CommandTimeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the session back, or leaves the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use actix_pg::Database;
    /// use actix_web::{HttpResponse, get, web};
    ///
    /// #[get("/ready")]
    /// async fn ready(db: web::Data<Database>) -> HttpResponse {
    ///     match db.ping_within(Duration::from_secs(1)).await {
    ///         Ok(()) => HttpResponse::Ok().finish(),
    ///         Err(_) => HttpResponse::ServiceUnavailable().finish(),
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn ping(&self) -> impl Future<Output = Result<()>> + Send {
        let caller = Location::caller();
        async move { ask(&self.untyped.lease_for_ping(caller).await?).await }
    }

    /// The same within a bound: for the wait for a session and that for the answer together.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](crate::Error::TimedOut) past the bound; those of [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// use std::time::Duration;
    ///
    /// db.ping_within(Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn ping_within(&self, bound: Duration) -> impl Future<Output = Result<()>> + Send {
        let caller = Location::caller();
        async move {
            let deadline = Deadline::after(bound);
            let lease = deadline.limit(self.untyped.lease_for_ping(caller)).await?;
            batch_execute(lease.enter()?.until(deadline), "").await
        }
    }
}

impl Untyped {
    /// Borrows a session to [`ask`].
    pub(crate) async fn lease_for_ping(&self, caller: &'static Location<'static>) -> Result<Arc<Lease>> {
        let borrower = Borrower { request: &Arc::default(), caller: Some(caller) };
        Ok(self.lender().acquire(borrower).await?)
    }
}

/// Has the server answer on a session.
pub(crate) async fn ask(lease: &Arc<Lease>) -> Result<()> {
    batch_execute(lease.enter()?, "").await
}
