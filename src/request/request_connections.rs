//! What a request keeps of its connections, and how they end with it.

use std::sync::Arc;

use actix_web::dev::Extensions;
use actix_web::{HttpMessage, HttpRequest};
use futures_util::future::{BoxFuture, FutureExt};
use smallvec::SmallVec;

use super::Scope;
use super::request_transaction::LazyTransaction;
use crate::lease::TransactionGuard;
use crate::{Database, Error, Result};

/// The connections of one request, kept in its extensions: one for each database that was asked for one.
///
/// A guard: a request whose handler panicked or was cancelled ends with the drop of its extensions.
#[derive(Debug, Default)]
pub(crate) struct RequestConnections(SmallVec<[Kept; 1]>);

#[derive(Debug)]
struct Kept {
    scope: Arc<Scope>,
    transaction: Option<Arc<LazyTransaction>>,
}

/// What the middleware puts into the data of the requests that it wraps.
///
/// A type of its own: with a `Database` in the app data and no middleware around the route, nobody would end its connections
/// and commit its transactions.
#[derive(Debug)]
pub(super) struct Attached(pub(super) Database);

/// What is left to do when the response is ready.
pub(super) enum Ending {
    Nothing,
    Commit(BoxFuture<'static, Result<()>>),
}

impl RequestConnections {
    /// The database of the innermost middleware around this request.
    pub(super) fn database(req: &HttpRequest) -> Result<&Database> {
        match req.app_data() {
            None => Err(Error::MissingMiddleware),
            Some(Attached(database)) if !database.uses_connection_for_request() => {
                Err(Error::NoRequestConnection)
            }
            Some(Attached(database)) => Ok(database),
        }
    }

    /// The request's connection to a database, made on first sight.
    pub(super) fn of(req: &HttpRequest, database: &Database) -> Arc<Scope> {
        Self::kept(req, database, |kept| Arc::clone(&kept.scope))
    }

    /// The request's transaction on that connection, made on first sight.
    pub(super) fn transaction_of(req: &HttpRequest, database: &Database) -> Arc<LazyTransaction> {
        Self::kept(req, database, |kept| {
            let scope = &kept.scope;
            Arc::clone(kept.transaction.get_or_insert_with(|| LazyTransaction::new(Arc::clone(scope))))
        })
    }

    fn kept<T>(req: &HttpRequest, database: &Database, take: impl FnOnce(&mut Kept) -> T) -> T {
        let mut extensions = req.extensions_mut();
        if !extensions.contains::<Self>() {
            extensions.insert(Self::default());
        }
        let scopes = &mut extensions.get_mut::<Self>().expect("inserted above").0;
        let at = scopes.iter().position(|kept| kept.scope.is_of(database.lender())).unwrap_or_else(|| {
            scopes.push(Kept { scope: Scope::new(database.lender().clone()), transaction: None });
            scopes.len() - 1
        });
        take(&mut scopes[at])
    }

    /// The response is ready: the connection to this database ends, and its transaction with it.
    pub(super) fn end(req: &HttpRequest, data: &Extensions, success: bool) -> Result<Ending> {
        let ended = req.extensions_mut().get_mut::<Self>().and_then(|scopes| {
            let Attached(database) = data.get()?;
            let kept = scopes.0.iter_mut().find(|kept| kept.scope.is_of(database.lender()))?;
            Some((Arc::clone(&kept.scope), kept.transaction.take()))
        });
        // Outside of the borrow of the extensions: whatever is dropped now may look at them.
        let Some((scope, transaction)) = ended else {
            return Ok(Ending::Nothing);
        };
        let begun = transaction.as_ref().and_then(|transaction| transaction.end());
        // The handles that are left, in a streaming body or a task, share this one.
        let held = transaction.is_some_and(|transaction| Arc::into_inner(transaction).is_none());
        match begun {
            Some(guard) if success && !held => Ok(Ending::Commit(
                async move {
                    let committed = guard.commit().await;
                    drop(guard);
                    scope.end();
                    committed
                }
                .boxed(),
            )),
            begun => {
                roll_back(begun);
                scope.end();
                if success && held { Err(Error::TransactionHeld) } else { Ok(Ending::Nothing) }
            }
        }
    }
}

impl Drop for RequestConnections {
    fn drop(&mut self) {
        for kept in &self.0 {
            roll_back(kept.transaction.as_ref().and_then(|transaction| transaction.end()));
            kept.scope.end();
        }
    }
}

/// Even if somebody is just using it.
fn roll_back(begun: Option<Arc<TransactionGuard>>) {
    if let Some(guard) = begun {
        guard.leave();
    }
}
