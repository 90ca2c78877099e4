//! What statements can run on. Sealed: it cannot be named outside.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use super::Transaction;
use super::scope::Caller;
use crate::Result;
use crate::config::Echo;
use crate::lease::{Deadline, Params, RequestInfo, SessionUse};
use crate::row::Plan;
use crate::shared::{Read, SharedReads};

/// What statements can run on.
pub trait Executor: Sync {
    /// Becomes a user of the session. Borrows one, or begins the transaction, if that has not been done.
    fn enter(&self, caller: Caller) -> impl Future<Output = Result<Acquired>> + Send;

    /// Where a read needs no session of its own, if it does not.
    fn shares(&self) -> Option<Shares<'_>>;

    /// Gives the session back, so that the next statement gets another one. `false` where that cannot be done.
    fn give_back(&self) -> bool;

    /// Begins a transaction, or a savepoint in the one that this is.
    fn begin(&self, caller: Caller) -> impl Future<Output = Result<Transaction>> + Send;
}

/// The use of a session, for one statement.
#[derive(Debug)]
pub struct Acquired(pub(crate) SessionUse);

/// The shared sessions, and the request that may use them.
#[derive(Debug)]
pub struct Shares<'a> {
    pub(crate) shared: &'a Arc<SharedReads>,
    pub(crate) request: Cow<'a, Arc<RequestInfo>>,
    /// When the call has to be over, if that was said.
    pub(crate) until: Option<Deadline>,
}

impl Shares<'_> {
    pub(crate) fn echo(&self) -> Echo {
        self.shared.echo()
    }

    /// A read that keeps so many rows at most, and whose columns have to fit the plan, if there is one.
    pub(crate) fn read<'a>(
        &'a self,
        caller: Caller,
        sql: &'a str,
        params: Params<'a>,
        most: usize,
        wanted: Option<&'a Plan>,
    ) -> Read<'a> {
        let Self { shared, request, until } = self;
        Read { shared, request, caller, sql, params, most, until: *until, wanted }
    }
}
