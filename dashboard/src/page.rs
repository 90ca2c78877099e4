//! The files of the page, and the headers of all that is served.

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder};

const HTML: &str = include_str!("../page/dashboard.html");
const CSS: &str = include_str!("../page/dashboard.css");
const JS: &str = include_str!("../page/dashboard.js");

/// The page's own files, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn html() -> HttpResponse {
    private(HttpResponse::Ok()).content_type(ContentType::html()).body(HTML)
}

pub(crate) async fn css() -> HttpResponse {
    private(HttpResponse::Ok()).content_type("text/css; charset=utf-8").body(CSS)
}

pub(crate) async fn js() -> HttpResponse {
    private(HttpResponse::Ok()).content_type("text/javascript; charset=utf-8").body(JS)
}

/// What every response says: do not keep it, do not guess what it is, do not tell others of it.
pub(crate) fn private(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header(("cache-control", "no-store"))
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("x-content-type-options", "nosniff"));
    response
}
