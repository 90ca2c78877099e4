//! What the statements of the handles run on, whatever database their types name.

use std::borrow::Cow;
use std::sync::Arc;

use super::generic::GenericClient;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::{Scope, Transaction, TransactionBuilder};
use crate::Result;
use crate::database::Untyped;
use crate::lease::Borrower;

impl Executor for Arc<Scope> {
    async fn enter(&self, caller: Caller) -> Result<Acquired> {
        Ok(Acquired(Scope::enter(self, caller).await?))
    }

    fn shares(&self) -> Option<Shares<'_>> {
        let (shared, request) = Scope::shares(self)?;
        Some(Shares { shared, request: Cow::Borrowed(request), until: None })
    }

    fn give_back(&self) -> bool {
        self.release().is_ok()
    }

    async fn begin(&self, caller: Caller) -> Result<Transaction> {
        TransactionBuilder::of_scope(Arc::clone(self)).begin_at(caller).await
    }
}

impl GenericClient for Arc<Scope> {}

impl Executor for Untyped {
    async fn enter(&self, caller: Caller) -> Result<Acquired> {
        // Each statement is somebody else's, as in a pool: in a sandbox too, nothing of one is left for the next.
        let borrower = Borrower { request: &Arc::default(), caller: Some(caller) };
        Ok(Acquired(self.lender().enter(borrower).await?))
    }

    fn shares(&self) -> Option<Shares<'_>> {
        let shared = self.shared()?;
        Some(Shares { shared, request: Cow::Owned(Arc::default()), until: None })
    }

    fn give_back(&self) -> bool {
        true
    }

    async fn begin(&self, caller: Caller) -> Result<Transaction> {
        TransactionBuilder::of_database(self.clone()).begin_at(caller).await
    }
}

impl GenericClient for Untyped {}
