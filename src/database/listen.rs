//! Listens to notifications.

use super::Database;
use crate::Result;
use crate::listen::Events;

impl<D> Database<D> {
    /// Listens to channels: returns a stream of the notifications that are sent on them from now on, by
    /// [`NOTIFY`](https://www.postgresql.org/docs/current/sql-notify.html) or `pg_notify`.
    ///
    /// It waits until the server listens. All streams of a database share one session, which the first one opens and which ends with the last one
    /// or with [`close`](Self::close). It is beside those of the pool: it takes no place of `pool_max_size`, and [`Status`](crate::Status) does not
    /// count it. After a loss another one is opened, with pauses between the attempts, and the stream says
    /// [`Reconnected`](crate::Event::Reconnected).
    ///
    /// The hooks of [`builder`](Self::builder) do not see that session.
    ///
    /// A name is taken as it is, with its case: `listen(["Jobs"])` hears `NOTIFY "Jobs"`, and not `NOTIFY Jobs`, which SQL takes for
    /// `jobs`.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`ChannelName`](crate::Error::ChannelName) | no channel can be called that |
    /// | [`Connect`](crate::Error::Connect) | the session cannot be opened, or may not listen, as on a replica; for as long as that is so, at once |
    /// | [`Acquire`](crate::Error::Acquire) | the database has been closed |
    ///
    /// A stream that was returned does not fail.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the listening.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// use actix_pg::Event;
    /// use futures_util::StreamExt as _;
    ///
    /// let mut events = db.listen(["jobs"]).await?;
    /// db.execute("SELECT pg_notify('jobs', $1)", &[&"resize 7.png"]).await?;
    /// match events.next().await {
    ///     Some(Event::Notification(n)) => assert_eq!(n.payload(), "resize 7.png"),
    ///     Some(_) => println!("something may have been missed: look into the table"),
    ///     None => println!("the database has been closed"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> impl Future<Output = Result<Events>> + Send {
        let channels: Vec<String> = channels.into_iter().map(|name| name.as_ref().to_owned()).collect();
        async move { self.untyped.listening().listen(channels).await }
    }
}
