//! One transaction around a whole request.

use std::fmt;
use std::future::{Ready, ready};
use std::mem;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::generic::GenericClient;
use super::generic::sealed::{Acquired, Executor};
use super::request_connections::RequestConnections;
use super::scope::Caller;
use super::verbs::verbs;
use super::{CopyIn, CopyOut, RowStream, Scope, Transaction};
use crate::lease::{After, Callback, Params, TransactionGuard, commit, run_after_commit, run_after_rollback};
use crate::row::FromRow;
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::{BorrowToSql, FromSqlOwned};
use crate::{Error, Result};

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
/// rolled back and the response becomes a 500, [`Error::TransactionHeld`].
///
/// A [`Connection`](crate::Connection) in the same request uses the same session: before the first statement here its
/// statements stand alone, after it they run in the transaction, and [`release`](crate::Connection::release) and
/// [`transaction`](crate::Connection::transaction) are refused with [`Error::Busy`].
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
/// [`Error::Begin`], and with [`Error::Busy`] while another transaction of the request is open, also one that SQL has begun. After the request it is
/// [`Error::TransactionEnded`].
///
/// # Cancel safety
///
/// A statement whose future is dropped is cancelled on the server, and **the whole transaction can only be rolled back** from
/// then on: the client gets a 500 instead of the response. [`transaction`](Self::transaction) makes a savepoint, which limits that
/// to itself. A handler that is dropped, because its client hung up, rolls back.
#[derive(Clone)]
pub struct RequestTransaction {
    transaction: Arc<LazyTransaction>,
}

impl fmt::Debug for RequestTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTransaction").finish_non_exhaustive()
    }
}

/// What all handles of a request's transaction share.
#[derive(Debug)]
pub(super) struct LazyTransaction {
    scope: Arc<Scope>,
    state: Mutex<State>,
    /// Held by the one who begins it.
    beginning: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum State {
    /// Nothing has been sent. With what was registered to run after it.
    Lazy(Vec<Callback>),
    Begun(Arc<TransactionGuard>),
    Over,
}

/// What is left of a request's transaction when the request ends.
#[derive(Debug)]
pub(super) enum Left {
    /// Dropped, it is rolled back.
    Begun(Arc<TransactionGuard>),
    /// It was not begun, and has callbacks.
    Callbacks(Vec<Callback>),
}

impl Left {
    /// Commits, and runs what was registered to run after that.
    pub(super) async fn commit(self, scope: &Scope) -> Result<()> {
        match self {
            Self::Begun(guard) => commit(guard).await.map_err(|failed| failed.err),
            Self::Callbacks(callbacks) => {
                let (due, _dropped) = callbacks_after(After::Commit, callbacks);
                run_after_commit(scope.lender(), due).await;
                Ok(())
            }
        }
    }

    /// Rolls back, even while the transaction is in use.
    pub(super) fn roll_back(self, scope: &Scope) {
        match self {
            Self::Begun(guard) => guard.leave(),
            Self::Callbacks(callbacks) => {
                let (due, _dropped) = callbacks_after(After::Rollback, callbacks);
                run_after_rollback(scope.lender().pool(), due);
            }
        }
    }
}

fn callbacks_after(after: After, callbacks: Vec<Callback>) -> (Vec<Callback>, Vec<Callback>) {
    callbacks.into_iter().partition(|callback| callback.is_after(after))
}

impl LazyTransaction {
    pub(super) fn new(scope: Arc<Scope>) -> Arc<Self> {
        Arc::new(Self { scope, state: Mutex::new(State::Lazy(Vec::new())), beginning: Default::default() })
    }

    /// Cancellation safety: a beginner who gives up leaves a transaction that is rolled back, and the next one begins.
    async fn guard(&self, caller: Caller) -> Result<Arc<TransactionGuard>> {
        if let Some(begun) = self.begun()? {
            return Ok(begun);
        }
        let _one = self.beginning.lock().await;
        if let Some(begun) = self.begun()? {
            return Ok(begun);
        }
        let guard =
            TransactionGuard::begin(self.scope.enter(caller).await?, None, "START TRANSACTION").await?;
        let guard = Arc::new(guard);
        let mut state = self.state();
        match &mut *state {
            State::Lazy(callbacks) => {
                callbacks.drain(..).try_for_each(|callback| guard.register(callback))?
            }
            State::Begun(_) => {}
            State::Over => return Err(Error::TransactionEnded),
        }
        *state = State::Begun(Arc::clone(&guard));
        Ok(guard)
    }

    /// Registers what runs after the transaction. A callback that is refused is dropped outside of the lock.
    fn register(&self, callback: Callback) -> Result<()> {
        let begun = match &mut *self.state() {
            State::Lazy(callbacks) => {
                callbacks.push(callback);
                return Ok(());
            }
            State::Begun(guard) => Some(Arc::clone(guard)),
            State::Over => None,
        };
        begun.ok_or(Error::TransactionEnded)?.register(callback)
    }

    fn begun(&self) -> Result<Option<Arc<TransactionGuard>>> {
        match &*self.state() {
            State::Lazy(_) => Ok(None),
            State::Begun(guard) => Ok(Some(Arc::clone(guard))),
            State::Over => Err(Error::TransactionEnded),
        }
    }

    /// Takes the transaction from all handles.
    pub(super) fn end(&self) -> Option<Left> {
        match mem::replace(&mut *self.state(), State::Over) {
            State::Begun(guard) => Some(Left::Begun(guard)),
            State::Lazy(callbacks) if !callbacks.is_empty() => Some(Left::Callbacks(callbacks)),
            State::Lazy(_) | State::Over => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestTransaction {
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

impl Executor for RequestTransaction {
    async fn enter(&self, caller: Caller) -> Result<Acquired> {
        Ok(Acquired(self.transaction.guard(caller).await?.enter()?.called_at(caller)))
    }

    async fn begin(&self, caller: Caller) -> Result<Transaction> {
        let outer = self.transaction.guard(caller).await?;
        let guard = TransactionGuard::begin(outer.enter()?, Some(&outer), "").await?;
        Ok(Transaction::new(Arc::new(guard)))
    }
}

impl GenericClient for RequestTransaction {}

verbs!(
    RequestTransaction,
    "tx",
    "```no_run
# async fn example(tx: actix_pg::RequestTransaction) -> Result<(), Box<dyn std::error::Error>> {"
);

impl FromRequest for RequestTransaction {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let database = RequestConnections::database(req);
        ready(
            database.map(|database| Self { transaction: RequestConnections::transaction_of(req, database) }),
        )
    }
}
