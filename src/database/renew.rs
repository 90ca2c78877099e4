//! New sessions in the place of those that are open.

use std::time::Duration;

use super::Database;

impl<D> Database<D> {
    /// Replaces every session that is open now by a new one, spread over this time. Never waits.
    ///
    /// For what a login decides: after a password or the rights of a role have changed, or when the servers behind a name are others. A
    /// session that is in use finishes its work, and is replaced when it comes back; one that idles is replaced about a second after its
    /// time at the latest. They are replaced one at a time, so the floor lacks one at most, and no request is refused. Where no new session
    /// can be opened, the old ones stay.
    ///
    /// The [`reader`](Self::reader) has a pool of its own, which this leaves alone: call it on `db.reader()` too.
    ///
    /// Sessions that are opened from now on are not touched, nor is the one that [listens](Self::listen). `counters.ended.renewed` of
    /// [`Status`](crate::Status) counts those that have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # use std::time::Duration;
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// db.renew(Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    pub fn renew(&self, within: Duration) {
        self.untyped.renew(within);
    }
}
