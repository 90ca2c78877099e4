//! A transaction, or a savepoint in one, as its user sees it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::generic::GenericClient;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::verbs::verbs;
use super::{CopyIn, CopyOut, RowStream};
use crate::Result;
use crate::lease::{Callback, Params, TransactionGuard, commit};
use crate::row::FromRow;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};

/// An open transaction, or a savepoint in one: [`Connection::transaction`](crate::Connection::transaction).
///
/// It keeps the session for the request: [`release`](crate::Connection::release) is refused while it is alive. Statements that run
/// through the request's [`Connection`](crate::Connection) meanwhile run in it, because there is one session to a request.
///
/// Dropped without [`commit`](Self::commit), it is rolled back in the background, before anything else is sent on the session.
///
/// # When it begins
///
/// `BEGIN` is sent with the first statement. If that is a query that changes nothing, both are one round trip;
/// before any other statement, copy, stream, savepoint or [`ClientGuard`](crate::ClientGuard), the answer to `BEGIN` is awaited, and
/// with the option `reset = "always"` before every one. A statement that is new to its session is prepared in the same round trip as
/// `BEGIN`. A transaction in which nothing was sent ends without a message.
///
/// If `BEGIN` fails, the first statement fails with [`Error::Begin`](crate::Error::Begin), and has had no effect. After that error all later
/// statements and the commit fail; nothing runs in autocommit.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE accounts (id int PRIMARY KEY, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// let tx = conn.transaction().await?;
/// tx.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1", &[]).await?;
/// tx.execute("UPDATE accounts SET balance = balance + 10 WHERE id = 2", &[]).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every statement may fail as on a [`Connection`](crate::Connection#errors), and with:
///
/// | error | when |
/// |---|---|
/// | [`Begin`](crate::Error::Begin) | it is the first statement, and the server refuses to begin |
/// | [`TransactionEnded`](crate::Error::TransactionEnded) | the transaction, or the one around it, has ended |
/// | [`TransactionFailed`](crate::Error::TransactionFailed) | an earlier statement was abandoned, or the transaction could not be begun |
/// | [`Postgres`](crate::Error::Postgres) with code 25P02 | an earlier statement failed, and PostgreSQL takes no other before the rollback |
///
/// # Cancel safety
///
/// A statement whose future or [`RowStream`] is dropped, or that takes longer than `command_timeout`, is cancelled on the server.
/// It is not known what it did. So the transaction that it was sent in **can only be rolled back** from then on: its statements
/// and its [`commit`](Self::commit) fail. A savepoint limits that to itself.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction {
    guard: Arc<TransactionGuard>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(guard: Arc<TransactionGuard>) -> Self {
        Self { guard }
    }

    fn executor(&self) -> &Self {
        self
    }

    /// Begins a transaction in this one: a savepoint. There can be one at a time. Until it has ended, what runs through this
    /// one runs in it too, and is undone if it is rolled back.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) while another is open in this one; [`Error::Begin`](crate::Error::Begin) if the server
    /// refuses; those of [every statement](Self#errors).
    ///
    /// # Cancel safety
    ///
    /// If the savepoint was sent when the future is dropped, this transaction can only be rolled back: nobody knows whether the
    /// savepoint is there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let schema = "CREATE TABLE accounts (id int PRIMARY KEY, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// let tx = conn.transaction().await?;
    /// let attempt = tx.transaction().await?;
    /// assert!(attempt.execute("INSERT INTO accounts VALUES (1, 0)", &[]).await.is_err()); // there is one already
    /// attempt.rollback().await?;
    /// tx.execute("INSERT INTO accounts VALUES (3, 0)", &[]).await?; // goes on
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transaction(&self) -> Result<Self> {
        self.begin(Location::caller()).await
    }

    /// Commits, and returns when the server has done so. On any error but
    /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown), nothing was committed and everything is rolled back. If nothing was sent in
    /// it, nothing is sent now.
    ///
    /// A savepoint is released: what was done in it now belongs to the transaction around it.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`CommitRefused`](crate::Error::CommitRefused) | an earlier statement failed; a deferred constraint does not hold |
    /// | [`TransactionFailed`](crate::Error::TransactionFailed) | a statement was abandoned, or the transaction could not be begun |
    /// | [`NestedTransactionOpen`](crate::Error::NestedTransactionOpen) | a transaction in this one has not ended |
    /// | [`TransactionEnded`](crate::Error::TransactionEnded) | the one around it has ended, or SQL has ended it |
    /// | [`Busy`](crate::Error::Busy) | a [`RowStream`] or a copy is open |
    /// | [`OutcomeUnknown`](crate::Error::OutcomeUnknown) | the connection was lost, or `command_timeout` passed, before the answer; the answer is of class 08 or XX, or on Citus a conflict with another transaction |
    ///
    /// # Cancel safety
    ///
    /// Dropped before COMMIT was sent, the future rolls back. Dropped after it, all of the transaction was committed or
    /// none, and nobody knows which. The session is clean in both cases. With [callbacks](Self::after_commit), a COMMIT that was sent
    /// is waited for in the background, and they run if it succeeds.
    pub async fn commit(self) -> Result<()> {
        commit(self.guard).await.map_err(|failed| failed.err)
    }

    pub(super) fn register(&self, callback: Callback) -> Result<()> {
        self.guard.register(callback)
    }

    /// Rolls back, together with what is open in it, and returns when the server has done so.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionEnded`](crate::Error::TransactionEnded) if it has ended before;
    /// [`Error::SessionLost`](crate::Error::SessionLost); [`Error::Busy`](crate::Error::Busy) while a [`RowStream`] or a copy is
    /// open, after which it is rolled back all the same.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the rollback is carried out, whether anybody waits for it or not. Dropped before that, it
    /// drops the transaction, which rolls back too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let schema = "CREATE TABLE accounts (id int PRIMARY KEY, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// let tx = conn.transaction().await?;
    /// tx.execute("DELETE FROM accounts", &[]).await?;
    /// tx.rollback().await?;
    /// assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM accounts", &[]).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rollback(self) -> Result<()> {
        self.guard.rollback().await
    }
}

impl Executor for Transaction {
    async fn enter(&self, caller: Caller) -> Result<Acquired> {
        Ok(Acquired(self.guard.enter()?.called_at(caller)))
    }

    fn shares(&self) -> Option<Shares<'_>> {
        None
    }

    fn give_back(&self) -> bool {
        false
    }

    async fn begin(&self, _: Caller) -> Result<Transaction> {
        let guard = TransactionGuard::begin(self.guard.enter()?, Some(&self.guard), "").await?;
        Ok(Self::new(Arc::new(guard)))
    }
}

impl GenericClient for Transaction {}

verbs!(
    Transaction,
    "tx",
    "```no_run
# async fn example(tx: actix_pg::Transaction) -> Result<(), Box<dyn std::error::Error>> {"
);
