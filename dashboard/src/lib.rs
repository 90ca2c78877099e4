//! A live page of an [`actix_pg`] pool.
//!
//! Every session with what it does, for how long and for which line of the program; the requests that wait; throughput, waits and
//! latency over the last five minutes; the statements that take the most time; and the server's own view of it, on demand.
//!
//! ```no_run
//! use actix_pg::{Config, Database};
//! use actix_web::{App, HttpServer};
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Database::connect(Config::from_env()?).await?;
//! HttpServer::new(move || App::new().wrap(db.middleware()).service(actix_pg_dashboard::scope(&db)))
//!     .bind(("127.0.0.1", 8080))?
//!     .run()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Who may see it
//!
//! Everyone who can reach the route. It is an Actix [`Scope`](actix_web::Scope): put it behind the middleware that guards your other internal pages.
//!
//! ```
//! use actix_pg::Database;
//! use actix_web::body::{BoxBody, MessageBody};
//! use actix_web::dev::{ServiceRequest, ServiceResponse};
//! use actix_web::http::header::AUTHORIZATION;
//! use actix_web::middleware::{Next, from_fn};
//! use actix_web::{Error, HttpResponse, web};
//!
//! fn internal_pages(db: &Database) -> impl FnOnce(&mut web::ServiceConfig) {
//!     let dashboard = actix_pg_dashboard::scope(db);
//!     |config| {
//!         config.service(dashboard.wrap(from_fn(operators_only)));
//!     }
//! }
//!
//! async fn operators_only(
//!     req: ServiceRequest,
//!     next: Next<impl MessageBody + 'static>,
//! ) -> Result<ServiceResponse<BoxBody>, Error> {
//!     if is_operator(&req) {
//!         return Ok(next.call(req).await?.map_into_boxed_body());
//!     }
//!     let ask = HttpResponse::Unauthorized().insert_header(("www-authenticate", "Basic")).finish();
//!     Ok(req.into_response(ask))
//! }
//!
//! fn is_operator(req: &ServiceRequest) -> bool {
//!     req.headers().get(AUTHORIZATION).is_some_and(|given| /* yours */ given == "Basic …")
//! }
//! ```
//!
//! The page only reads, and has no form. It shows the texts of statements with `?` for every literal, the lines of the program that
//! use the database, and no parameters, rows, host names or passwords. All text is set as text, under a `Content-Security-Policy`
//! that allows nothing but the page's own two files.
//!
//! # What it costs
//!
//! Nothing while nobody looks: a [`Watch`](actix_pg::Watch) exists from the first viewer to three seconds after the last, and only
//! meanwhile are the figures of statements kept. One sample a second serves all viewers of the process, of whom there can be
//! 100. A viewer that takes no event for 10 seconds is dropped: nothing is sampled for it any more. Its connection stays until the
//! client or the network ends it, as Actix Web has no time-out for writing.
//!
//! A stream ends after 15 seconds and the page opens the next one. So whatever guards the route is asked again, and a graceful
//! stop of the server waits for an open page no longer than that.

mod scope;
mod page;
mod events;
mod viewer;
mod sampler;
mod record;
mod sample;
mod point;
mod note;
mod look;
mod format;
mod activity;

pub use scope::{scope, scope_at};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
