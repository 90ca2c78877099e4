//! The routes.

use actix_pg::Database;
use actix_web::{HttpRequest, HttpResponse, Scope, web};

use crate::sampler::Sampler;
use crate::{events, page};

/// The dashboard of a database, at `/dashboard`.
///
/// Everyone who reaches the route sees it: [wrap](Scope::wrap) it in what guards your internal pages, as shown in the
/// [crate's documentation](crate#who-may-see-it).
pub fn scope(db: &Database) -> Scope {
    scope_at("/dashboard", db)
}

/// The dashboard of a database, at a path of your choice, for instance one for each of several databases.
///
/// # Panics
///
/// If the path is not one that [`Scope::new`] takes.
pub fn scope_at(path: &str, db: &Database) -> Scope {
    web::scope(path)
        .app_data(web::Data::from(Sampler::of(db)))
        .service(web::resource("").get(with_slash))
        .service(web::resource("/").get(page::html))
        .service(web::resource("/dashboard.css").get(page::css))
        .service(web::resource("/dashboard.js").get(page::js))
        .service(web::resource("/events").get(events::stream))
        .service(web::resource("/activity").get(activity))
}

/// What the server says of the sessions.
async fn activity(sampler: web::Data<Sampler>) -> HttpResponse {
    sampler.activity.answer(sampler.database()).await
}

/// The page's files are beside it, so its address has to end in a slash. Relative, because a proxy may have another path for it.
async fn with_slash(req: HttpRequest) -> HttpResponse {
    let last = req.path().rsplit('/').next().unwrap_or_default();
    page::private(HttpResponse::TemporaryRedirect())
        .insert_header(("location", format!("./{last}/")))
        .finish()
}
