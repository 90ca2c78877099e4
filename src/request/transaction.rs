//! A transaction, or a savepoint in one, as its user sees it.

use std::fmt;
use std::sync::Arc;

use super::generic::GenericClient;
use super::generic::sealed::{Acquired, Executor};
use super::verbs::verbs;
use super::{CopyIn, CopyOut, RowStream};
use crate::Result;
use crate::lease::{Params, TransactionGuard};
use crate::tokio_postgres::Row;
use crate::tokio_postgres::types::FromSqlOwned;

/// An open transaction: [`Connection::transaction`](crate::Connection::transaction).
///
/// It pins the session: [`release`](crate::Connection::release) is refused while it is alive. Statements that run through
/// the request's [`Connection`](crate::Connection) meanwhile run in it, because there is one session to a request.
///
/// Dropped without [`commit`](Self::commit), it is rolled back in the background, before anything else is sent on the
/// session. If a statement in it is abandoned (its future or [`RowStream`] is dropped, or it takes longer than
/// `command_timeout`), nobody knows what it did: the transaction can only be rolled back from then on.
///
/// # Errors
///
/// Apart from those of every statement: [`Error::TransactionEnded`](crate::Error::TransactionEnded) if the transaction around
/// this one has ended, [`Error::TransactionFailed`](crate::Error::TransactionFailed) after an abandoned statement.
///
/// ```no_run
/// # async fn transfer(conn: actix_pg::Connection) -> actix_pg::Result<()> {
/// let tx = conn.transaction().await?;
/// tx.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1", &[]).await?;
/// tx.execute("UPDATE accounts SET balance = balance + 10 WHERE id = 2", &[]).await?;
/// tx.commit().await
/// # }
/// ```
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

    /// Begins a transaction in this one: a savepoint. There can be one at a time. Until it has ended, what runs through this
    /// one runs in it too, and is undone if it is rolled back.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) while another is open in this one.
    pub async fn transaction(&self) -> Result<Self> {
        self.begin().await
    }

    /// Commits, and returns when the server has done so. On any error but
    /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown), nothing was committed and everything is rolled back.
    ///
    /// A savepoint is released: what was done in it is now up to the transaction around it.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`CommitRefused`](crate::Error::CommitRefused) | an earlier statement failed; a deferred constraint does not hold |
    /// | [`TransactionFailed`](crate::Error::TransactionFailed) | a statement was abandoned |
    /// | [`NestedTransactionOpen`](crate::Error::NestedTransactionOpen) | a transaction in this one has not ended |
    /// | [`TransactionEnded`](crate::Error::TransactionEnded) | the one around it has ended, or SQL has ended it |
    /// | [`Busy`](crate::Error::Busy) | a [`RowStream`] or a copy is open |
    /// | [`OutcomeUnknown`](crate::Error::OutcomeUnknown) | the connection was lost before the answer |
    pub async fn commit(self) -> Result<()> {
        self.guard.commit().await
    }

    /// Rolls back, together with what is open in it, and returns when the server has done so.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionEnded`](crate::Error::TransactionEnded), [`Error::SessionLost`](crate::Error::SessionLost), and
    /// [`Error::Busy`](crate::Error::Busy) while a [`RowStream`] or a copy is open: the rollback then follows its end.
    pub async fn rollback(self) -> Result<()> {
        self.guard.rollback().await
    }
}

impl Executor for Transaction {
    async fn enter(&self) -> Result<Acquired> {
        Ok(Acquired(self.guard.enter()?))
    }

    async fn begin(&self) -> Result<Transaction> {
        let guard = TransactionGuard::begin(self.guard.enter()?, Some(&self.guard), "").await?;
        Ok(Self::new(Arc::new(guard)))
    }
}

impl GenericClient for Transaction {}

verbs!(Transaction);
