//! Attach, call, end: the `Transform` that an App is wrapped in.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready as try_ready};
use std::time::Duration;

use actix_service::{Service, Transform, forward_ready};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::web;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use super::adds::Adds;
use super::own_writes::WrittenCookie;
use super::request_connections::{Attached, Ending, RequestConnections, Served};
use super::written::Written;
use crate::Database;
use crate::database::{Untyped, name_of};

/// The middleware that gives every request of an App or a scope its lazy [`Connection`](crate::Connection). Made by
/// [`Database::middleware`].
///
/// It ends a request's connection when its response is ready, and its [`RequestTransaction`](crate::RequestTransaction) with it. It
/// registers the [`Database`] as app data, so that handlers may extract `web::Data<Database>`. With two of one name, that is the
/// innermost one's; databases with [names of their own](Database::named) stand beside each other. A request that extracts no
/// connection costs no allocation here.
#[derive(Debug, Clone)]
pub struct ConnectionMiddleware {
    database: Untyped,
    /// Puts the database into the app data by the type that names it, which nothing else here has to know.
    attach: fn(&Untyped, &mut Extensions),
    /// That of the database.
    name: Option<&'static str>,
    server_timing: bool,
    /// That of a client that is to read what it has written.
    cookie: Option<WrittenCookie>,
}

impl ConnectionMiddleware {
    /// Sends a [`Server-Timing`](https://www.w3.org/TR/server-timing/) header with each response whose request has asked for a
    /// connection: `db;dur=…` is the time of its statements, `pool;dur=…` the time that it waited for a session, both in
    /// milliseconds.
    ///
    /// The time of a transaction's BEGIN and COMMIT is in it. A response that a middleware makes of an error has no such header, nor has
    /// a failed commit. Browsers show it in their developer tools. It tells every client how long the database took, so it is off by default.
    ///
    /// ```
    /// # fn app(db: actix_pg::Database) {
    /// let app = actix_web::App::new().wrap(db.middleware().server_timing(true));
    /// # }
    /// ```
    pub fn server_timing(mut self, on: bool) -> Self {
        self.server_timing = on;
        self
    }

    /// Serves the reads of a client that has written from the primary for this long, so that it sees what it has written in an earlier
    /// request: in the place of the option [`read_your_writes`](crate::Config::read_your_writes). It matters only with the option
    /// [`reader`](crate::Config::reader). Zero does not.
    ///
    /// A response to a request that has borrowed a session for its [`Connection`](crate::Connection) sets the cookie `actix_pg_wrote`, with the
    /// [name](Database::named) of the database behind it if it has one. It lives for that time, in whole seconds. A request that has it reads from the primary. A time that is shorter than
    /// [`reader_max_lag`](crate::Config::reader_max_lag) counts as that. A response that a middleware makes of an error has no such cookie.
    ///
    /// ```
    /// # fn app(db: actix_pg::Database) {
    /// use std::time::Duration;
    ///
    /// let app = actix_web::App::new().wrap(db.middleware().read_your_writes(Duration::from_secs(3)));
    /// # }
    /// ```
    pub fn read_your_writes(mut self, window: Duration) -> Self {
        let least = self.database.reader_max_lag().unwrap_or_default();
        let window = if window.is_zero() { window } else { window.max(least) };
        self.cookie = WrittenCookie::window(window, self.name);
        self
    }
}

impl<D: 'static> Database<D> {
    /// Makes the middleware to wrap an App or a scope in.
    ///
    /// It goes outside of every middleware that uses a connection, so its `.wrap` comes last: in Actix Web the last one is the
    /// outermost. To have the `Database` in the app data is not enough: a request that is not wrapped has no connection, and
    /// extracting one fails with [`Error::MissingMiddleware`](crate::Error::MissingMiddleware).
    ///
    /// A middleware made by [`from_fn`](actix_web::middleware::from_fn) gets the connection by
    /// [`ConnectionExt::connection`](crate::ConnectionExt::connection):
    ///
    /// ```
    /// use actix_pg::ConnectionExt;
    /// use actix_web::body::MessageBody;
    /// use actix_web::dev::{ServiceRequest, ServiceResponse};
    /// use actix_web::middleware::{Next, from_fn};
    /// use actix_web::{App, error};
    /// # use actix_pg::{Connection, Database, testing::Postgres};
    /// # use actix_web::{test, web};
    ///
    /// async fn authenticated(
    ///     req: ServiceRequest,
    ///     next: Next<impl MessageBody>,
    /// ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    ///     let token = req.headers().get("authorization").and_then(|token| token.to_str().ok());
    ///     let token = token.ok_or_else(|| error::ErrorUnauthorized("a token, please"))?;
    ///     let conn = req.connection()?; // that of the handler
    ///     if conn.query_opt("SELECT FROM tokens WHERE token = $1", &[&token]).await?.is_none() {
    ///         return Err(error::ErrorForbidden("that token is unknown"));
    ///     }
    ///     next.call(req).await
    /// }
    ///
    /// # async fn handler(conn: Connection) -> actix_pg::Result<String> {
    /// #     conn.query_one_scalar("SELECT 'served'", &[]).await
    /// # }
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let schema = "CREATE TABLE tokens (token text); INSERT INTO tokens VALUES ('a'), ('b')";
    /// # let database = Postgres::shared()?.database_with(schema).await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let app = App::new().wrap(from_fn(authenticated)).wrap(db.middleware());
    /// # let app = test::init_service(app.route("/", web::get().to(handler))).await;
    /// # for (token, status) in [("a", 200), ("c", 403)] {
    /// #     let req = test::TestRequest::get().insert_header(("authorization", token)).to_request();
    /// #     let status_of = |res: Result<ServiceResponse<_>, actix_web::Error>| match res {
    /// #         Ok(res) => res.status(),
    /// #         Err(err) => err.as_response_error().status_code(),
    /// #     };
    /// #     assert_eq!(status_of(test::try_call_service(&app, req).await), status);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn middleware(&self) -> ConnectionMiddleware {
        let name = name_of::<D>();
        let own_writes = self.untyped().own_writes();
        let cookie = own_writes.and_then(|option| WrittenCookie::configured(option, name));
        ConnectionMiddleware {
            database: self.untyped().clone(),
            attach: attach::<D>,
            name,
            server_timing: false,
            cookie,
        }
    }
}

fn attach<D: 'static>(database: &Untyped, data: &mut Extensions) {
    data.insert(web::Data::new(Database::<D>::new(database.clone())));
    data.insert(Attached::<D>::new(database.clone()));
}

impl<S, B> Transform<S, ServiceRequest> for ConnectionMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = ServiceResponse<B>;
    type Error = actix_web::Error;
    type InitError = ();
    type Transform = ConnectionService<S>;
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let mut data = Extensions::new();
        data.insert(Served(self.database.clone()));
        (self.attach)(&self.database, &mut data);
        let adds = Adds { server_timing: self.server_timing, cookie: self.cookie.is_some() };
        if let Some(cookie) = &self.cookie {
            data.insert(cookie.clone());
        }
        ready(Ok(ConnectionService { service, data: Rc::new(data), adds }))
    }
}

/// The service that [`ConnectionMiddleware`] makes.
#[doc(hidden)]
#[derive(Debug)]
pub struct ConnectionService<S> {
    service: S,
    data: Rc<Extensions>,
    adds: Adds,
}

impl<S, B> Service<ServiceRequest> for ConnectionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = ServiceResponse<B>;
    type Error = actix_web::Error;
    type Future = ConnectionFuture<S::Future, B>;

    forward_ready!(service);

    fn call(&self, mut req: ServiceRequest) -> Self::Future {
        req.add_data_container(Rc::clone(&self.data));
        if self.adds.server_timing {
            RequestConnections::time(&req);
        }
        if let Some(written) = self.adds.cookie(&self.data).and_then(|cookie| cookie.of(&req)) {
            RequestConnections::read_own_writes(&req, &self.data, written);
        }
        ConnectionFuture {
            answer: self.service.call(req),
            data: Rc::clone(&self.data),
            adds: self.adds,
            later: None,
        }
    }
}

/// The answer, while the request's transaction is being committed, or the server is asked how far it is.
type Later<B> = (ServiceResponse<B>, BoxFuture<'static, crate::Result<Option<Written>>>);

pin_project! {
    /// The inner service's answer, at which the request's connection ends.
    #[doc(hidden)]
    pub struct ConnectionFuture<F, B> {
        #[pin]
        answer: F,
        data: Rc<Extensions>,
        adds: Adds,
        // Boxed, because few requests have one and all of them move this future around.
        later: Option<Box<Later<B>>>,
    }
}

impl<F, B> Future for ConnectionFuture<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, actix_web::Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (res, mut later) = match this.later.take() {
            Some(later) => *later,
            None => match try_ready!(this.answer.poll(cx)) {
                Ok(res) => {
                    let success = res.status().as_u16() < 400;
                    let cookie = this.adds.cookie(this.data);
                    match RequestConnections::end(res.request(), this.data, success, cookie) {
                        Ok(Ending::Now(written)) if this.adds.any() => {
                            return Poll::Ready(Ok(this.adds.added(res, this.data, written)));
                        }
                        Ok(Ending::Now(_)) => return Poll::Ready(Ok(res)),
                        Ok(Ending::Later(later)) => (res, later),
                        Err(err) => return Poll::Ready(Err(err.into())),
                    }
                }
                // An error has no request; its connection ends in the drop of the request's extensions.
                Err(err) => return Poll::Ready(Err(err)),
            },
        };
        match later.as_mut().poll(cx) {
            Poll::Ready(Ok(written)) if this.adds.any() => {
                Poll::Ready(Ok(this.adds.added(res, this.data, written)))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(res)),
            Poll::Ready(Err(err)) => Poll::Ready(Err(err.into())),
            Poll::Pending => {
                *this.later = Some(Box::new((res, later)));
                Poll::Pending
            }
        }
    }
}

impl<F, B> fmt::Debug for ConnectionFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionFuture").field("later", &self.later.is_some()).finish_non_exhaustive()
    }
}
