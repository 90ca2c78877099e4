//! One transaction around a whole request.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use super::generic::GenericClient;
use super::lazy_transaction::LazyTransaction;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::verbs::verbs;
use super::{CopyIn, CopyOut, RowStream, Transaction};
use crate::Result;
use crate::database::Main;
use crate::lease::{Callback, Params};
use crate::row::FromRow;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};

/// A transaction that ends as the request does: an extractor, as [`Connection`](crate::Connection) is.
///
/// | the request | the transaction |
/// |---|---|
/// | runs no statement through it | is never begun |
/// | is answered with a status below 400 | is committed before the head of the response is sent |
/// | is answered with 4xx or 5xx, fails, panics or is cancelled | is rolled back |
///
/// If it cannot be committed, the client gets a 5xx instead of the response. All handles of a request are one transaction.
/// They have to be dropped before the response is ready. If a streaming body or a task still holds one, the transaction is
/// rolled back and the response becomes a 500, [`Error::TransactionHeld`](crate::Error::TransactionHeld).
///
/// A [`Connection`](crate::Connection) in the same request uses the same session: before the first statement here its
/// statements stand alone, after it they run in the transaction, and [`release`](crate::Connection::release) and
/// [`transaction`](crate::Connection::transaction) are refused with [`Error::Busy`](crate::Error::Busy).
///
/// ```
/// use actix_pg::{Database, RequestTransaction, Result, testing::Postgres};
/// use actix_web::{App, HttpResponse, post, test};
///
/// #[post("/transfer")]
/// async fn transfer(tx: RequestTransaction) -> Result<HttpResponse> {
///     tx.execute("UPDATE accounts SET balance = balance - 70 WHERE id = 1", &[]).await?;
///     tx.execute("UPDATE accounts SET balance = balance + 70 WHERE id = 2", &[]).await?;
///     Ok(HttpResponse::NoContent().finish())
/// } // committed
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE accounts (id int, balance int CHECK (balance >= 0));
/// #     INSERT INTO accounts VALUES (1, 100), (2, 100)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// let app = test::init_service(App::new().wrap(db.middleware()).service(transfer)).await;
/// let post = || test::TestRequest::post().uri("/transfer").to_request();
/// assert_eq!(test::call_service(&app, post()).await.status(), 204);
/// assert_eq!(test::call_service(&app, post()).await.status(), 500); // 30 is less than 70: rolled back
/// # let balances = "SELECT balance FROM accounts ORDER BY id";
/// # assert_eq!(db.connection().query_scalar::<i32>(balances, &[]).await?, [30, 170]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Extraction fails as that of a [`Connection`](crate::Connection#extraction). A statement fails as on a
/// [`Connection`](crate::Connection#errors) and in a [`Transaction`](Transaction#errors); the first one also with
/// [`Error::Begin`](crate::Error::Begin), and with [`Error::Busy`](crate::Error::Busy) while another transaction of the request is open, also one
/// that SQL has begun. After the request it is [`Error::TransactionEnded`](crate::Error::TransactionEnded).
///
/// # Cancel safety
///
/// A statement whose future is dropped is cancelled on the server, and **the whole transaction can only be rolled back** from
/// then on: the client gets a 500 instead of the response. [`transaction`](Self::transaction) makes a savepoint, which limits that
/// to itself. A handler that is dropped, because its client hung up, rolls back.
///
/// `D` names the database, in an application that has [several](crate::guide::several_databases). Each has a transaction of its own,
/// which ends in its own middleware.
pub struct RequestTransaction<D = Main> {
    transaction: Arc<LazyTransaction>,
    marker: PhantomData<fn() -> D>,
}

impl<D> Clone for RequestTransaction<D> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.transaction))
    }
}

impl<D> fmt::Debug for RequestTransaction<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTransaction").finish_non_exhaustive()
    }
}

impl<D> RequestTransaction<D> {
    pub(super) fn new(transaction: Arc<LazyTransaction>) -> Self {
        Self { transaction, marker: PhantomData }
    }

    /// What statements run on.
    fn executor(&self) -> &LazyTransaction {
        &self.transaction
    }

    pub(super) fn register(&self, callback: Callback) -> Result<()> {
        self.transaction.register(callback)
    }

    /// Begins a transaction in this one: a savepoint, to survive an error in it. There can be one at a time. Until it has
    /// ended, what runs through this one runs in it too, and is undone if it is rolled back.
    ///
    /// # Errors
    ///
    /// As [`Transaction::transaction`].
    ///
    /// # Cancel safety
    ///
    /// As [`Transaction::transaction`].
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_pg::{RequestTransaction, Result};
    ///
    /// /// Whether the name was free. If not, the request goes on.
    /// async fn register(tx: &RequestTransaction, name: &str) -> Result<bool> {
    ///     let attempt = tx.transaction().await?;
    ///     if attempt.execute("INSERT INTO users (name) VALUES ($1)", &[&name]).await.is_err() {
    ///         attempt.rollback().await?;
    ///         return Ok(false);
    ///     }
    ///     attempt.commit().await?;
    ///     Ok(true)
    /// }
    /// ```
    #[track_caller]
    pub fn transaction(&self) -> impl Future<Output = Result<Transaction>> + Send {
        self.begin(Location::caller())
    }
}

impl<D> Executor for RequestTransaction<D> {
    fn enter(&self, caller: Caller) -> impl Future<Output = Result<Acquired>> + Send {
        self.executor().enter(caller)
    }

    fn shares(&self) -> Option<Shares<'_>> {
        None
    }

    fn give_back(&self) -> bool {
        false
    }

    fn begin(&self, caller: Caller) -> impl Future<Output = Result<Transaction>> + Send {
        self.executor().begin(caller)
    }
}

impl<D> GenericClient for RequestTransaction<D> {}

verbs!(
    [D]
    RequestTransaction<D>,
    "tx",
    "```no_run
# async fn example(tx: actix_pg::RequestTransaction) -> Result<(), Box<dyn std::error::Error>> {"
);
