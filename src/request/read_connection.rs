//! The connection of a request for reads: that of a standby, or of the writer.

use std::fmt;
use std::future::Future;
use std::ops::Deref;

use actix_web::HttpRequest;

use super::generic::GenericClient;
use super::request_connections::RequestConnections;
use super::scope::Caller;
use super::sealed::{Acquired, Executor, Shares};
use super::{Connection, Transaction};
use crate::Result;
use crate::database::Main;

/// The lazy connection of a request for reads: a [`Connection`], on a standby where there is one. An extractor.
///
/// It has all verbs of a [`Connection`], to which it dereferences. Which session serves a statement is decided when it begins:
///
/// | | the connection |
/// |---|---|
/// | no option [`reader`](crate::Config::reader), or a sandbox | the request's [`Connection`] itself |
/// | the request has borrowed a session for its [`Connection`] | the same: what the request has written is there |
/// | a standby is there, near enough, and has what the client has written, if [`read_your_writes`](crate::Config::read_your_writes) asks for that | one on a session of the [`reader`](crate::Database::reader) |
/// | none is | one on a session of the primary |
///
/// A transaction, a stream or a copy that has begun stays where it is. When the request first uses its `Connection`, the session of its reads goes back, or as
/// soon as nothing runs on it. What is written through a [`Database`](crate::Database) is not noticed: the next read may come from a standby that
/// does not have it.
///
/// Settings and deadline of the request hold on both. The first use borrows; everything in the request that extracts a `ReadConnection`
/// shares that session. Statements that write belong on a [`Connection`]: on a standby they fail with SQLSTATE 25006. On the primary
/// they succeed, and do not count as writes: after [`release`](Connection::release) the next read may come from a standby.
///
/// ```
/// use actix_pg::{OrNotFound, ReadConnection, Result};
/// use actix_web::{Responder, get, web};
///
/// #[get("/users/{id}")]
/// async fn user(id: web::Path<i64>, conn: ReadConnection) -> Result<impl Responder> {
///     conn.query_opt_scalar::<String>("SELECT name FROM users WHERE id = $1", &[&*id]).await?.or_not_found()
/// }
/// ```
///
/// The page [`reader`](crate::guide::reader) says how old the answers may be, and how a client sees what it has written
/// in an earlier request.
///
/// # Errors
///
/// Those of the extractor [`Connection`](Connection#extraction), and of [every statement](Connection#errors).
pub struct ReadConnection<D = Main> {
    writer: Connection<D>,
    /// The same as `writer` where that serves the reads.
    reader: Connection<D>,
}

impl<D> ReadConnection<D> {
    /// The request's connection for reads, to the database of this name.
    pub(super) fn of(req: &HttpRequest) -> Result<Self>
    where
        D: 'static,
    {
        let database = RequestConnections::database::<D>(req)?;
        let (writer, reader) = RequestConnections::reader_of(req, database);
        let writer = Connection::new(writer);
        Ok(Self { reader: reader.map_or_else(|| writer.clone(), Connection::new), writer })
    }
}

impl<D> Deref for ReadConnection<D> {
    type Target = Connection<D>;

    fn deref(&self) -> &Connection<D> {
        if self.writer.is_used() { &self.writer } else { &self.reader }
    }
}

impl<D> Clone for ReadConnection<D> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone(), reader: self.reader.clone() }
    }
}

impl<D> fmt::Debug for ReadConnection<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadConnection").field("writer", &self.writer).field("reader", &self.reader).finish()
    }
}

impl<D> Executor for ReadConnection<D> {
    fn enter(&self, caller: Caller) -> impl Future<Output = Result<Acquired>> + Send {
        Executor::enter(&**self, caller)
    }

    fn shares(&self) -> Option<Shares<'_>> {
        Executor::shares(&**self)
    }

    fn give_back(&self) -> bool {
        Executor::give_back(&**self)
    }

    fn begin(&self, caller: Caller) -> impl Future<Output = Result<Transaction>> + Send {
        Executor::begin(&**self, caller)
    }
}

impl<D> GenericClient for ReadConnection<D> {}
