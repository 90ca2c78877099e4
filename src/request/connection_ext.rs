//! The connection of a request, for code that has the request and no extractor.

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;

use super::{Connection, ReadConnection};
use crate::{Database, Result};

#[expect(unnameable_types, reason = "what is sealed cannot be named outside")]
pub(crate) mod sealed {
    use actix_web::HttpRequest;

    /// Has a request in it.
    pub trait AsHttpRequest {
        fn http_request(&self) -> &HttpRequest;
    }
}

/// The connection of an [`HttpRequest`] or a [`ServiceRequest`]: for middleware and extractors, which have no handler's
/// arguments. It cannot be implemented elsewhere.
///
/// ```
/// use actix_pg::{ConnectionExt, Database};
/// use actix_web::body::MessageBody;
/// use actix_web::dev::{ServiceRequest, ServiceResponse};
/// use actix_web::middleware::{Next, from_fn};
/// # use actix_pg::{Connection, testing::Postgres};
/// # use actix_web::{App, test, web};
///
/// /// Has every statement of a request end after a second.
/// async fn in_time(
///     req: ServiceRequest,
///     next: Next<impl MessageBody>,
/// ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
///     req.connection()?.set_config("statement_timeout", "1s")?;
///     next.call(req).await
/// }
///
/// # async fn bound(conn: Connection) -> actix_pg::Result<String> {
/// #     conn.query_one_scalar("SHOW statement_timeout", &[]).await
/// # }
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// let app = App::new().wrap(from_fn(in_time)).wrap(db.middleware());
/// # let app = test::init_service(app.route("/", web::get().to(bound))).await;
/// # assert_eq!(test::call_and_read_body(&app, test::TestRequest::get().to_request()).await, "1s");
/// # Ok(())
/// # }
/// ```
pub trait ConnectionExt: sealed::AsHttpRequest {
    /// Returns the request's connection: the one that the extractor [`Connection`] and all others of the request share.
    ///
    /// Borrows nothing, as the extractor.
    ///
    /// # Errors
    ///
    /// [`Error::MissingMiddleware`](crate::Error::MissingMiddleware) where no
    /// [`ConnectionMiddleware`](crate::ConnectionMiddleware) wraps the caller: a middleware has to be inside of it.
    /// [`Error::NoRequestConnection`](crate::Error::NoRequestConnection) where the option `use_connection_for_request` is off.
    fn connection(&self) -> Result<Connection> {
        Connection::of(self.http_request())
    }

    /// Returns the request's connection for reads, as the extractor [`ReadConnection`].
    ///
    /// # Errors
    ///
    /// As [`connection`](Self::connection).
    fn read_connection(&self) -> Result<ReadConnection> {
        ReadConnection::of(self.http_request())
    }

    /// Returns the request's connection to the database of a [name](Database::named), as the extractor `Connection<D>`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingMiddlewareOf`](crate::Error::MissingMiddlewareOf) where the middleware of `Database<D>` does not wrap the
    /// caller; else as [`connection`](Self::connection).
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_pg::{ConnectionExt, Result};
    /// use actix_web::HttpRequest;
    ///
    /// enum Audit {}
    ///
    /// async fn seen(req: &HttpRequest) -> Result<u64> {
    ///     let conn = req.named_connection::<Audit>()?;
    ///     conn.execute("INSERT INTO seen VALUES ($1)", &[&req.path()]).await
    /// }
    /// ```
    fn named_connection<D: 'static>(&self) -> Result<Connection<D>>
    where
        Self: Sized,
    {
        Connection::of(self.http_request())
    }
}

impl sealed::AsHttpRequest for HttpRequest {
    fn http_request(&self) -> &HttpRequest {
        self
    }
}

impl ConnectionExt for HttpRequest {}

impl sealed::AsHttpRequest for ServiceRequest {
    fn http_request(&self) -> &HttpRequest {
        self.request()
    }
}

impl ConnectionExt for ServiceRequest {}

impl<D> Database<D> {
    /// Returns the request's connection to this database, for requests that talk to several. The extractor [`Connection`] is that
    /// of the innermost middleware.
    ///
    /// It is lazy, and the same one whenever the request asks again. It needs no middleware of this database: it ends with
    /// the request's extensions, when the last handle to the request is dropped. That is after all middleware, and before the
    /// body is sent, unless the handler keeps the request. With a middleware it ends when the response has passed that.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_pg::{Connection, Database, Result};
    /// use actix_web::{HttpRequest, HttpResponse, web};
    ///
    /// struct Audit(Database); // a second database, in the app data
    ///
    /// async fn handler(conn: Connection, audit: web::Data<Audit>, req: HttpRequest) -> Result<HttpResponse> {
    ///     let name: String = conn.query_one_scalar("SELECT current_user::text", &[]).await?;
    ///     audit.0.connection_for(&req).execute("INSERT INTO seen VALUES ($1)", &[&name]).await?;
    ///     Ok(HttpResponse::NoContent().finish())
    /// }
    /// ```
    pub fn connection_for(&self, req: &impl ConnectionExt) -> Connection<D> {
        Connection::to(self.untyped(), req.http_request())
    }
}
