//! The connections of one request, and their end.

use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::future::{BoxFuture, FutureExt};
use smallvec::{SmallVec, smallvec};

use super::Scope;
use super::lazy_transaction::{LazyTransaction, Left};
use super::own_writes::WrittenCookie;
use super::written::Written;
use crate::database::{Untyped, name_of};
use crate::lease::Lender;
use crate::{Error, Result};

/// The connections of one request, one for each database that was asked for. The request's extensions hold it.
///
/// Its drop ends them: a request whose handler panicked or was cancelled ends with the drop of its extensions.
#[derive(Debug, Default)]
pub(crate) struct RequestConnections {
    connections: SmallVec<[PerDatabase; 1]>,
    /// A middleware around the request tells the client how long the database took.
    timed: bool,
    /// What the client has written of late, to those databases whose cookies it has.
    written: Vec<(Lender, Written)>,
}

#[derive(Debug)]
struct PerDatabase {
    scope: Arc<Scope>,
    /// The connection to the reader of the database.
    reader: Option<Arc<Scope>>,
    transaction: Option<Arc<LazyTransaction>>,
}

/// The database of a name that a middleware serves, in the app data of the requests that it wraps.
///
/// A private type, because a `Database` in the app data does not mean that a middleware ends its connections and commits its
/// transactions.
#[derive(Debug)]
pub(super) struct Attached<D> {
    database: Untyped,
    marker: PhantomData<fn() -> D>,
}

impl<D> Attached<D> {
    pub(super) fn new(database: Untyped) -> Self {
        Self { database, marker: PhantomData }
    }
}

/// The same for the middleware itself, whatever the name.
#[derive(Debug)]
pub(super) struct Served(pub(super) Untyped);

/// The work that is left when the response is ready.
///
/// Either has what the request may have written, if there is a cookie for that.
pub(super) enum Ending {
    Now(Option<Written>),
    Later(BoxFuture<'static, Result<Option<Written>>>),
}

impl RequestConnections {
    /// The database of this name: that of the innermost middleware around this request.
    pub(super) fn database<D: 'static>(req: &HttpRequest) -> Result<&Untyped> {
        match req.app_data::<Attached<D>>() {
            None => Err(name_of::<D>().map_or(Error::MissingMiddleware, Error::MissingMiddlewareOf)),
            Some(Attached { database, .. }) if !database.uses_connection_for_request() => {
                Err(Error::NoRequestConnection)
            }
            Some(Attached { database, .. }) => Ok(database),
        }
    }

    /// The request's connection to a database. Created at the first call.
    pub(super) fn of(req: &HttpRequest, database: &Untyped) -> Arc<Scope> {
        Self::entry(req, database, |entry| Arc::clone(&entry.scope))
    }

    /// The request's transaction on that connection. Created at the first call.
    pub(super) fn transaction_of(req: &HttpRequest, database: &Untyped) -> Arc<LazyTransaction> {
        Self::entry(req, database, |entry| {
            let scope = &entry.scope;
            Arc::clone(entry.transaction.get_or_insert_with(|| LazyTransaction::new(Arc::clone(scope))))
        })
    }

    /// The request's connection to a database, and that to its reader, if it has one. Created at the first call.
    pub(super) fn reader_of(req: &HttpRequest, database: &Untyped) -> (Arc<Scope>, Option<Arc<Scope>>) {
        let of_request = req.extensions();
        let written =
            of_request.get::<Self>().and_then(|of_request| of_request.written_to(database.lender()));
        drop(of_request);
        let reader = match written {
            None => database.reader(),
            Some(Written::UpTo(position)) => database.reader_after(position),
            // Beside the connection all the same: to read what was written is not to write.
            Some(Written::Somewhere) => database.reader().map(|_| database.clone()),
        };
        Self::entry(req, database, |entry| {
            let scope = &entry.scope;
            let beside = |reader| Arc::clone(entry.reader.get_or_insert_with(|| scope.beside(&reader)));
            (Arc::clone(scope), reader.map(beside))
        })
    }

    fn entry<T>(req: &HttpRequest, database: &Untyped, take: impl FnOnce(&mut PerDatabase) -> T) -> T {
        let new = |timed| PerDatabase {
            scope: Scope::of_request(database, req, timed),
            reader: None,
            transaction: None,
        };
        let mut extensions = req.extensions_mut();
        let Some(of_request) = extensions.get_mut::<Self>() else {
            let mut entry = new(false);
            let taken = take(&mut entry);
            extensions.insert(Self { connections: smallvec![entry], timed: false, written: Vec::new() });
            return taken;
        };
        let at = of_request.position(database).unwrap_or_else(|| {
            of_request.connections.push(new(of_request.timed));
            of_request.connections.len() - 1
        });
        take(&mut of_request.connections[at])
    }

    /// Which of them is the connection to a database.
    fn position(&self, database: &Untyped) -> Option<usize> {
        self.connections.iter().position(|entry| entry.scope.is_of(database.lender()))
    }

    /// Ends the connection to the middleware's database, and its transaction, because the response is ready. For a cookie with a
    /// position, how far the request has written is asked for before.
    pub(super) fn end(
        req: &HttpRequest,
        data: &Extensions,
        success: bool,
        cookie: Option<&WrittenCookie>,
    ) -> Result<Ending> {
        let ended = req.extensions_mut().get_mut::<Self>().and_then(|of_request| {
            let Served(database) = data.get()?;
            let at = of_request.position(database)?;
            let entry = &mut of_request.connections[at];
            Some((Arc::clone(&entry.scope), entry.reader.clone(), entry.transaction.take()))
        });
        // Outside of the borrow of the extensions, because what is dropped now may look at them.
        let Some((scope, reader, transaction)) = ended else {
            return Ok(Ending::Now(None));
        };
        let asks = cookie.is_some_and(WrittenCookie::is_by_position);
        let somewhere = cookie.filter(|_| scope.is_used()).map(|_| Written::Somewhere);
        if let Some(reader) = reader {
            reader.detach();
        }
        let left = transaction.as_ref().and_then(|transaction| transaction.end());
        // A handle that is left, in a streaming body or a task, shares it.
        let held = transaction.is_some_and(|transaction| Arc::into_inner(transaction).is_none());
        match left {
            Some(left) if success && !held => Ok(Ending::Later(
                async move {
                    let committed = left.commit(&scope).await;
                    let written = if asks && committed.is_ok() { scope.written().await } else { somewhere };
                    scope.end();
                    committed.map(|()| written)
                }
                .boxed(),
            )),
            left => {
                roll_back(left, &scope);
                if asks && somewhere.is_some() && !(success && held) {
                    return Ok(Ending::Later(
                        async move {
                            let written = scope.written().await;
                            scope.end();
                            Ok(written)
                        }
                        .boxed(),
                    ));
                }
                scope.end();
                if success && held { Err(Error::TransactionHeld) } else { Ok(Ending::Now(somewhere)) }
            }
        }
    }

    /// Has the cost of a request summed up.
    pub(super) fn time(req: &ServiceRequest) {
        Self::note(req, |of_request| of_request.timed = true);
    }

    /// Has a request read what its client has written to the middleware's database.
    pub(super) fn read_own_writes(req: &ServiceRequest, data: &Extensions, written: Written) {
        let Some(Served(database)) = data.get() else { return };
        let lender = database.lender();
        Self::note(req, |of_request| {
            // Where another middleware serves the same one, both hold.
            let both = of_request.written_to(lender).map_or(written, |other| other.and(written));
            of_request.written.retain(|(of, _)| !of.is(lender));
            of_request.written.push((lender.clone(), both));
        });
    }

    /// What the client has written of late to a database.
    fn written_to(&self, lender: &Lender) -> Option<Written> {
        self.written.iter().find(|(of, _)| of.is(lender)).map(|(_, written)| *written)
    }

    fn note(req: &ServiceRequest, note: impl FnOnce(&mut Self)) {
        let mut extensions = req.extensions_mut();
        if let Some(of_request) = extensions.get_mut::<Self>() {
            return note(of_request);
        }
        let mut of_request = Self::default();
        note(&mut of_request);
        extensions.insert(of_request);
    }

    /// The value of a `Server-Timing` header, if a connection to the middleware's database was asked for.
    pub(super) fn server_timing(req: &HttpRequest, data: &Extensions) -> Option<String> {
        let Served(database) = data.get()?;
        let extensions = req.extensions();
        let of_request = extensions.get::<Self>()?;
        of_request.connections[of_request.position(database)?].scope.server_timing()
    }
}

impl Drop for RequestConnections {
    fn drop(&mut self) {
        for entry in &self.connections {
            if let Some(reader) = &entry.reader {
                reader.detach();
            }
            roll_back(entry.transaction.as_ref().and_then(|transaction| transaction.end()), &entry.scope);
            entry.scope.end();
        }
    }
}

fn roll_back(left: Option<Left>, scope: &Scope) {
    if let Some(left) = left {
        left.roll_back(scope);
    }
}
