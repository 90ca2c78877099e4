//! What an application has run after its transaction.

use std::panic::Location;

use super::{RequestTransaction, Transaction};
use crate::Result;
use crate::lease::{After, Callback};

/// The two methods, for a type with a private `register`.
macro_rules! callbacks {
    ([$($generics:tt)*] $type:ty, $prelude:literal) => {
        impl<$($generics)*> $type {
            /// Registers what runs after the commit: to send a message or to drop a cache entry, when it is certain that the
            /// change stays.
            ///
            /// The callbacks run in the order in which they were registered, as one task on the runtime that called
            /// [`Database::connect`](crate::Database::connect), when COMMIT has been answered. The commit waits for them. The transaction is
            /// over by then: a callback may use the [`Connection`](crate::Connection) of the request or the
            /// [`Database`](crate::Database).
            ///
            /// | what happens | the callback |
            /// |---|---|
            /// | the transaction is committed | runs once, also if nothing was sent in it |
            /// | the future of the commit is dropped after COMMIT was sent | runs, if COMMIT succeeds |
            /// | the callback panics | is a line of the log; the next one runs, and the commit is `Ok` |
            /// | the transaction, or the savepoint that it was registered in, is rolled back | is dropped |
            /// | an attempt of a [`transact`](crate::Connection::transact) is repeated | is dropped, and registered again by the next attempt |
            /// | [`OutcomeUnknown`](crate::Error::OutcomeUnknown) | is dropped |
            ///
            /// A savepoint that is committed hands its callbacks to the transaction around it. A process that ends loses them. For
            /// what must not be lost, insert a row in the transaction and have a job look for it.
            ///
            /// # Errors
            ///
            /// [`Error::TransactionEnded`](crate::Error::TransactionEnded).
            ///
            /// # Examples
            ///
            #[doc = $prelude]
            #[track_caller]
            pub fn after_commit<F, Fut>(&self, callback: F) -> Result<()>
            where
                F: FnOnce() -> Fut + Send + 'static,
                Fut: Future<Output = ()> + Send + 'static,
            {
                self.register(Callback::new(After::Commit, Location::caller(), callback))
            }

            /// Registers what runs after a rollback: to undo what was done outside of the database.
            ///
            /// It runs as a task on the runtime that called [`Database::connect`](crate::Database::connect), in the order of
            /// registration with the others, when the server has answered the rollback. Nobody waits for it but
            /// [`Database::close`](crate::Database::close). Where the session is lost, it runs when the session has ended, or after
            /// `reset_timeout`.
            ///
            /// It is dropped after a commit, after [`OutcomeUnknown`](crate::Error::OutcomeUnknown), and when SQL has ended the
            /// transaction, as far as its commit says so. It is dropped, too, where the attempt of a
            /// [`transact`](crate::Connection::transact) is repeated, and with a savepoint that is rolled back: register it on the
            /// transaction if it is to outlast that.
            ///
            /// # Errors
            ///
            /// [`Error::TransactionEnded`](crate::Error::TransactionEnded).
            #[track_caller]
            pub fn after_rollback<F, Fut>(&self, callback: F) -> Result<()>
            where
                F: FnOnce() -> Fut + Send + 'static,
                Fut: Future<Output = ()> + Send + 'static,
            {
                self.register(Callback::new(After::Rollback, Location::caller(), callback))
            }
        }
    };
}

callbacks!(
    []
    Transaction,
    "```
# use actix_pg::{Database, testing::Postgres};
# #[actix_web::main]
# async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let database = Postgres::shared()?.database_with(\"CREATE TABLE users (name text)\").await?;
# let db = Database::connect(database.config()).await?;
# let conn = db.connection();
let tx = conn.transaction().await?;
tx.execute(\"INSERT INTO users VALUES ('ada')\", &[]).await?;
let (welcome, welcomed) = tokio::sync::oneshot::channel();
tx.after_commit(move || async move {
    let _ = welcome.send(\"hello, ada\"); // in an application: an e-mail
})?;
tx.commit().await?;
assert_eq!(welcomed.await?, \"hello, ada\");
# Ok(())
# }
```"
);

callbacks!(
    [D]
    RequestTransaction<D>,
    "```
use actix_pg::{Connection, RequestTransaction, Result};
use actix_web::{HttpResponse, post};

#[post(\"/users/{name}\")]
async fn create(name: String, tx: RequestTransaction, conn: Connection) -> Result<HttpResponse> {
    tx.execute(\"INSERT INTO users VALUES ($1)\", &[&name]).await?;
    tx.after_commit(move || async move {
        let _ = conn.execute(\"NOTIFY users\", &[]).await; // not a part of the transaction
    })?;
    Ok(HttpResponse::Created().finish())
} // committed; the callback runs, and then the response is sent
```"
);
