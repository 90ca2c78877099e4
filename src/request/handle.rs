//! The application's handle as a client: each statement borrows a session for itself, and returns it.

use std::future::Future;
use std::panic::Location;

use super::generic::GenericClient;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::verbs::verbs;
use super::{Connection, CopyIn, CopyOut, RowStream, Scope, Transaction, TransactionBuilder};
use crate::database::Untyped;
use crate::lease::Params;
use crate::row::FromRow;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};
use crate::{Database, Error, Result};

impl<D> Database<D> {
    /// What statements run on.
    fn executor(&self) -> &Untyped {
        self.untyped()
    }

    /// Makes a connection outside of any request: for jobs, health checks, tests. It is lazy, and shared among its clones.
    ///
    /// It is for work whose statements belong on one session. A single statement needs none: the [`Database`] runs it itself.
    ///
    /// **Warning: it holds its session from the first statement until [`release`](Connection::release), or until its last clone
    /// is dropped.** One that is stored, in the data of a GraphQL schema or in a repository, is one session for everybody who
    /// uses it, for ever. Store the `Database`, which has all verbs and keeps nothing. The option `long_hold` finds such a
    /// connection, and its warning names it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let conn = db.connection();
    /// conn.query("SELECT 1", &[]).await?;
    /// assert_eq!(db.status().used, 1);
    /// drop(conn);
    /// assert_eq!(db.status().used, 0);
    ///
    /// db.connection().query("SELECT 1", &[]).await?; // borrowed and returned in one line
    /// # Ok(())
    /// # }
    /// ```
    pub fn connection(&self) -> Connection<D> {
        Connection::new(Scope::standalone(self.untyped()))
    }

    /// Begins a transaction on a session of its own, which goes back when the transaction has ended.
    ///
    /// Statements that run through the `Database` meanwhile are not part of it: they have sessions of their own.
    ///
    /// # Errors
    ///
    /// [`Error::Begin`] if the server refuses; those of [every statement](Self#errors).
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::transaction`](crate::Connection::transaction).
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database_with("CREATE TABLE jobs (id int)").await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let tx = db.transaction().await?;
    /// tx.execute("INSERT INTO jobs VALUES (1)", &[]).await?;
    /// assert!(db.query("SELECT id FROM jobs", &[]).await?.is_empty()); // on another session
    /// tx.commit().await?;
    /// assert_eq!(db.query_one_scalar::<i64>("SELECT count(*) FROM jobs", &[]).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn transaction(&self) -> impl Future<Output = Result<Transaction>> + Send {
        self.begin(Location::caller())
    }

    /// Prepares a transaction with options, as [`Connection::build_transaction`](crate::Connection::build_transaction).
    ///
    /// It holds no session. Each [`begin`](TransactionBuilder::begin) and each [`run`](TransactionBuilder::run) borrows one.
    pub fn build_transaction(&self) -> TransactionBuilder {
        TransactionBuilder::of_database(self.untyped().clone())
    }

    /// Runs a function in a transaction, as [`Connection::transact`](crate::Connection::transact). All attempts run on one
    /// session, which goes back at the end.
    ///
    /// # Errors
    ///
    /// Those of the function, of [`transaction`](Self::transaction) and of [`Transaction::commit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls back, unless COMMIT had been sent: then all of it was committed or none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let schema = "CREATE TABLE jobs (id int, done bool); INSERT INTO jobs VALUES (1, false)";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// use actix_pg::{Error, Transaction};
    ///
    /// let job = db
    ///     .transact(async |tx: Transaction| {
    ///         let next = "SELECT id FROM jobs WHERE NOT done ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    ///         let job: i32 = tx.query_one_scalar(next, &[]).await?;
    ///         tx.execute("UPDATE jobs SET done = true WHERE id = $1", &[&job]).await?;
    ///         Ok::<_, Error>(job)
    ///     })
    ///     .await?;
    /// assert_eq!(job, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn transact<T, E, F, Fut>(&self, transaction: F) -> impl Future<Output = Result<T, E>>
    where
        E: From<Error>,
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.build_transaction().run(transaction)
    }
}

impl<D> Executor for Database<D> {
    fn enter(&self, caller: Caller) -> impl Future<Output = Result<Acquired>> + Send {
        self.executor().enter(caller)
    }

    fn shares(&self) -> Option<Shares<'_>> {
        self.executor().shares()
    }

    fn give_back(&self) -> bool {
        self.executor().give_back()
    }

    fn begin(&self, caller: Caller) -> impl Future<Output = Result<Transaction>> + Send {
        self.executor().begin(caller)
    }
}

impl<D> GenericClient for Database<D> {}

verbs!(
    [D]
    Database<D>,
    "db",
    "```
# use actix_pg::{Database, testing::Postgres};
# #[actix_web::main]
# async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let schema = \"CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
#     INSERT INTO users VALUES (1, 'ada'), (2, 'grace')\";
# let database = Postgres::shared()?.database_with(schema).await?;
# let db = Database::connect(database.config()).await?;"
);
