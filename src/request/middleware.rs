//! Attach, call, end: the `Transform` that an App is wrapped in.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready as try_ready};

use actix_service::{Service, Transform, forward_ready};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::{HttpMessage, HttpRequest, web};
use pin_project_lite::pin_project;
use smallvec::SmallVec;

use super::Scope;
use crate::Database;

/// Gives every request of an App or a scope its lazy [`Connection`](crate::Connection).
///
/// Made by [`Database::middleware`]. It registers the [`Database`] as app data, so that handlers may extract
/// `web::Data<Database>`, and ends a request's connection when its response is ready. A request that extracts no
/// connection costs no allocation here.
#[derive(Debug, Clone)]
pub struct ConnectionMiddleware {
    database: Database,
}

impl Database {
    /// The middleware to wrap an App or a scope in.
    ///
    /// ```no_run
    /// # use actix_web::App;
    /// # fn app(db: actix_pg::Database) {
    /// let app = App::new().wrap(db.middleware());
    /// # }
    /// ```
    pub fn middleware(&self) -> ConnectionMiddleware {
        ConnectionMiddleware { database: self.clone() }
    }
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
        data.insert(self.database.clone());
        data.insert(web::Data::new(self.database.clone()));
        ready(Ok(ConnectionService { service, data: Rc::new(data) }))
    }
}

/// The service that [`ConnectionMiddleware`] makes.
#[doc(hidden)]
#[derive(Debug)]
pub struct ConnectionService<S> {
    service: S,
    data: Rc<Extensions>,
}

impl<S, B> Service<ServiceRequest> for ConnectionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = ServiceResponse<B>;
    type Error = actix_web::Error;
    type Future = Answer<S::Future>;

    forward_ready!(service);

    fn call(&self, mut req: ServiceRequest) -> Self::Future {
        req.add_data_container(Rc::clone(&self.data));
        Answer { answer: self.service.call(req), data: Rc::clone(&self.data) }
    }
}

pin_project! {
    /// The inner service's answer, at which the request's connection ends.
    #[doc(hidden)]
    #[derive(Debug)]
    pub struct Answer<F> {
        #[pin]
        answer: F,
        data: Rc<Extensions>,
    }
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Result<ServiceResponse<B>, actix_web::Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = try_ready!(this.answer.poll(cx));
        // An error has no request; its connection ends in the drop of the request's extensions.
        if let Ok(res) = &answer {
            RequestScopes::end(res.request(), this.data);
        }
        Poll::Ready(answer)
    }
}

/// The connections of one request, kept in its extensions: one for each database that was asked for one.
///
/// A guard: a request whose handler panicked or was cancelled ends with the drop of its extensions.
#[derive(Debug, Default)]
pub(crate) struct RequestScopes(SmallVec<[Arc<Scope>; 1]>);

impl RequestScopes {
    /// The request's connection to a database, made on first sight.
    pub(crate) fn of(req: &HttpRequest, database: &Database) -> Arc<Scope> {
        let mut extensions = req.extensions_mut();
        if let Some(scopes) = extensions.get_mut::<Self>() {
            return scopes.find_or_add(database);
        }
        let mut scopes = Self::default();
        let scope = scopes.find_or_add(database);
        extensions.insert(scopes);
        scope
    }

    fn find_or_add(&mut self, database: &Database) -> Arc<Scope> {
        self.find(database).unwrap_or_else(|| {
            let scope = Scope::new(Arc::clone(database.pool()));
            self.0.push(Arc::clone(&scope));
            scope
        })
    }

    fn find(&self, database: &Database) -> Option<Arc<Scope>> {
        self.0.iter().find(|scope| scope.is_of(database.pool())).cloned()
    }

    fn end(req: &HttpRequest, data: &Extensions) {
        let ended = req.extensions_mut().get_mut::<Self>().and_then(|scopes| {
            let database = data.get::<Database>()?;
            scopes.find(database)
        });
        // Outside of the borrow of the extensions: whatever is dropped now may look at them.
        if let Some(scope) = ended {
            scope.end();
        }
    }
}

impl Drop for RequestScopes {
    fn drop(&mut self) {
        for scope in &self.0 {
            scope.end();
        }
    }
}
