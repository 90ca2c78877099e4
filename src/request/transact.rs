//! Transactions with options, and transactions that are run again when they lose against another.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Transaction;
use super::scope::{Caller, Scope};
use super::sealed::Executor;
use crate::config::IsolationLevel;
use crate::database::Untyped;
use crate::lease::{NotCommitted, TransactionGuard, finish};
use crate::{Error, Result};

/// How often [`transact`](crate::Connection::transact) runs a transaction again. Deadlocks and serialization failures among a
/// handful of requests rarely need more.
const RETRIES: u32 = 3;

/// The longest pause before the first retry; it doubles with each.
const BACK_OFF: Duration = Duration::from_millis(5);

/// The longest pause before any retry: a request is waiting.
const LONGEST_BACK_OFF: Duration = Duration::from_millis(320);

/// The options of a transaction that has not begun: [`Connection::build_transaction`](crate::Connection::build_transaction), [`Database::build_transaction`](crate::Database::build_transaction).
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE accounts (id int PRIMARY KEY, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// use actix_pg::IsolationLevel;
///
/// let report = conn.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
/// let tx = report.begin().await?;
/// let total: i64 = tx.query_one_scalar("SELECT sum(balance) FROM accounts", &[]).await?;
/// tx.commit().await?;
/// # assert_eq!(total, 200);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `begin` or `run`"]
#[derive(Debug, Clone)]
pub struct TransactionBuilder {
    origin: Origin,
    isolation_level: Option<IsolationLevel>,
    read_only: Option<bool>,
    deferrable: Option<bool>,
    retries: u32,
}

/// What the session of a transaction comes from.
#[derive(Debug, Clone)]
enum Origin {
    Scope(Arc<Scope>),
    /// Each transaction borrows one for itself.
    Database(Untyped),
}

impl TransactionBuilder {
    pub(crate) fn of_scope(scope: Arc<Scope>) -> Self {
        Self::new(Origin::Scope(scope))
    }

    pub(crate) fn of_database(db: Untyped) -> Self {
        Self::new(Origin::Database(db))
    }

    fn new(origin: Origin) -> Self {
        Self { origin, isolation_level: None, read_only: None, deferrable: None, retries: RETRIES }
    }

    /// Sets the isolation level. Defaults to that of the session: the option `isolation_level`, else the server's own, usually
    /// read committed.
    pub fn isolation_level(mut self, level: impl Into<IsolationLevel>) -> Self {
        self.isolation_level = Some(level.into());
        self
    }

    /// Makes the server refuse every statement that writes. Defaults to what the session has, usually `false`.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = Some(read_only);
        self
    }

    /// Makes a serializable, read-only transaction wait at its start until it cannot fail for the sake of others any more. Has no
    /// effect on other transactions. Defaults to what the session has, usually `false`.
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.deferrable = Some(deferrable);
        self
    }

    /// Sets how often [`run`](Self::run) may run the transaction again; 0 for never. Defaults to 3.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Begins the transaction, as [`Connection::transaction`](crate::Connection::transaction) does. [`retries`](Self::retries) has no effect here.
    ///
    /// # Errors
    ///
    /// As [`Connection::transaction`](crate::Connection::transaction).
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::transaction`](crate::Connection::transaction).
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<Transaction>> + Send {
        self.begin_at(Location::caller())
    }

    pub(super) async fn begin_at(&self, caller: Caller) -> Result<Transaction> {
        let session_use = match &self.origin {
            Origin::Scope(scope) => scope.enter(caller).await?,
            Origin::Database(db) => db.enter(caller).await?.0,
        };
        Ok(Transaction::new(Arc::new(TransactionGuard::begin(session_use, None, self).await?)))
    }

    /// Runs a function in a transaction: commits if it returns `Ok`, rolls back if it returns `Err`.
    ///
    /// If the transaction lost against another one, with a serialization failure (40001) or a deadlock (40P01), it is rolled back,
    /// and the function runs again after a short, growing, random pause. It is not run again after any other error, nor when
    /// the outcome of a commit is unknown. The session is kept during the pause. **So the function has to be one that may
    /// run several times.**
    ///
    /// The function gets the transaction by value. It may end it with [`Transaction::commit`] or [`Transaction::rollback`];
    /// dropping it has no effect. One that it has handed on has ended when the function has failed.
    ///
    /// # Errors
    ///
    /// Those of the function; those of [`begin`](Self::begin) and of [`Transaction::commit`]. After the last attempt, that of
    /// this attempt.
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
    /// # let schema = "CREATE TABLE accounts (id int PRIMARY KEY, balance int); INSERT INTO accounts VALUES (1, 100), (2, 100)";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// use actix_pg::{Error, IsolationLevel, Transaction};
    ///
    /// let balance = conn
    ///     .build_transaction()
    ///     .isolation_level(IsolationLevel::Serializable)
    ///     .retries(5)
    ///     .run(async |tx: Transaction| {
    ///         let balance: i32 = tx.query_one_scalar("SELECT balance FROM accounts WHERE id = 1", &[]).await?;
    ///         tx.execute("UPDATE accounts SET balance = $1 WHERE id = 1", &[&(balance / 2)]).await?;
    ///         Ok::<_, Error>(balance / 2)
    ///     })
    ///     .await?;
    /// assert_eq!(balance, 50);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn run<T, E, F, Fut>(self, transaction: F) -> impl Future<Output = Result<T, E>>
    where
        E: From<Error>,
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.run_at(transaction, Location::caller())
    }

    async fn run_at<T, E, F, Fut>(self, mut transaction: F, caller: Caller) -> Result<T, E>
    where
        E: From<Error>,
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        // All attempts run on one session.
        let scope = match &self.origin {
            Origin::Scope(scope) => Arc::clone(scope),
            Origin::Database(db) => Scope::standalone(db),
        };
        let mut retries = 0..self.retries;
        let mut former: Option<(Arc<TransactionGuard>, E)> = None;
        loop {
            let begun = match &former {
                None => self.guard(&scope, caller).await,
                Some((guard, _)) => guard.begin_again(caller, &self).await,
            };
            let guard = match (begun, former.take()) {
                (Ok(guard), None) => Arc::new(guard),
                (Ok(guard), Some((repeated, _))) => {
                    repeated.forget_callbacks();
                    Arc::new(guard)
                }
                // The function has left something open on the connection.
                (Err(Error::Busy(_)), Some((_, lost))) => return Err(lost),
                (Err(err), _) => return Err(err.into()),
            };
            let (err, guard) = match transaction(Transaction::new(Arc::clone(&guard))).await {
                Ok(value) => match finish(guard).await {
                    Ok(()) => return Ok(value),
                    Err(NotCommitted { err, guard: Some(guard) }) => (err.into(), guard),
                    Err(NotCommitted { err, guard: None }) => return Err(err.into()),
                },
                Err(err) => (err, guard),
            };
            let repeatable = guard.is_repeatable();
            // The function may have handed its `Transaction` on.
            guard.leave();
            match retries.next() {
                Some(retry) if repeatable => {
                    guard.count_retry();
                    // Until the next attempt has begun, this one may be the last: its callbacks would run.
                    former = Some((guard, err));
                    sleep(back_off(retry)).await;
                }
                _ => return Err(err),
            }
        }
    }

    async fn guard(&self, scope: &Arc<Scope>, caller: Caller) -> Result<TransactionGuard> {
        TransactionGuard::begin(scope.enter(caller).await?, None, self).await
    }
}

/// The statement that begins the transaction.
impl fmt::Display for TransactionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("START TRANSACTION")?;
        let mut separator = " ";
        let mut mode = |mode: &str| {
            let written = write!(f, "{separator}{mode}");
            separator = ", ";
            written
        };
        if let Some(level) = self.isolation_level {
            mode(match level {
                IsolationLevel::ReadUncommitted => "ISOLATION LEVEL READ UNCOMMITTED",
                IsolationLevel::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
                IsolationLevel::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
                IsolationLevel::Serializable => "ISOLATION LEVEL SERIALIZABLE",
            })?;
        }
        if let Some(read_only) = self.read_only {
            mode(if read_only { "READ ONLY" } else { "READ WRITE" })?;
        }
        if let Some(deferrable) = self.deferrable {
            mode(if deferrable { "DEFERRABLE" } else { "NOT DEFERRABLE" })?;
        }
        Ok(())
    }
}

fn back_off(retry: u32) -> Duration {
    let longest = BACK_OFF.saturating_mul(2_u32.saturating_pow(retry)).min(LONGEST_BACK_OFF);
    longest.mul_f64(rand::random_range(0.0..=1.0))
}
