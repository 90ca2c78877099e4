//! The page with the buttons, and what each of them does.

use std::time::Duration;

use actix_pg::Database;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadRequest, ErrorConflict, ErrorForbidden, ErrorInternalServerError};
use actix_web::http::Method;
use actix_web::http::header::{ContentType, HOST, ORIGIN};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpResponse, Responder, get, post, web};
use serde::Deserialize;
use serde_json::json;

use crate::load::Load;
use crate::server::Server;

/// One of our sessions, but not the one that the query runs on.
const KILL: &str = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND usename = session_user AND datname = current_database() \
    AND application_name = current_setting('application_name') AND pid <> pg_backend_pid() \
    ORDER BY backend_start LIMIT 1) AS one";

const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service((page, style, script, settings)).service(
        web::scope("/buttons").wrap(from_fn(own_page_only)).service((
            make_load,
            reports,
            transaction,
            kill,
            restart,
        )),
    );
}

#[get("/")]
async fn page() -> impl Responder {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header(("content-security-policy", POLICY))
        .body(include_str!("../page/demo.html"))
}

#[get("/demo.css")]
async fn style() -> impl Responder {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(include_str!("../page/demo.css"))
}

#[get("/demo.js")]
async fn script() -> impl Responder {
    HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(include_str!("../page/demo.js"))
}

/// What the page has to know.
#[get("/settings")]
async fn settings(server: web::Data<Server>) -> impl Responder {
    web::Json(json!({ "can_restart": server.is_ours() }))
}

#[derive(Deserialize)]
struct Clients {
    clients: u32,
}

#[post("/load")]
async fn make_load(wanted: web::Query<Clients>, load: web::Data<Load>) -> Result<impl Responder, Error> {
    let clients =
        within(wanted.clients, 1..=200).ok_or_else(|| bad_request("clients is a number from 1 to 200"))?;
    match Load::shop(&load, clients) {
        true => Ok(said(format!("{clients} clients shop for 10 seconds."))),
        false => Err(ErrorConflict("They are still shopping.")),
    }
}

#[derive(Deserialize)]
struct Reports {
    count: u32,
    release: bool,
}

#[post("/reports")]
async fn reports(wanted: web::Query<Reports>, load: web::Data<Load>) -> Result<impl Responder, Error> {
    let count = within(wanted.count, 1..=50).ok_or_else(|| bad_request("count is a number from 1 to 50"))?;
    let path = if wanted.release { "/reports/released" } else { "/reports/held" };
    load.send(&Method::GET, path, count);
    Ok(said(format!("{count} reports of 5 seconds have begun.")))
}

#[derive(Deserialize)]
pub(crate) struct Seconds {
    seconds: u32,
}

impl Seconds {
    pub(crate) fn duration(&self) -> Option<Duration> {
        within(self.seconds, 1..=60).map(|seconds| Duration::from_secs(seconds.into()))
    }
}

#[post("/transaction")]
async fn transaction(wanted: web::Query<Seconds>, load: web::Data<Load>) -> Result<impl Responder, Error> {
    let duration = wanted.duration().ok_or_else(|| bad_request("seconds is a number from 1 to 60"))?;
    let seconds = duration.as_secs();
    load.send(&Method::POST, &format!("/stocktaking?seconds={seconds}"), 1);
    Ok(said(format!("A transaction is open for {seconds} seconds.")))
}

#[post("/kill")]
async fn kill(db: web::Data<Database>) -> Result<impl Responder, Error> {
    match db.connection().query_one_scalar::<i64>(KILL, &[]).await? {
        0 => Err(ErrorConflict("There is only one session, and it was needed to ask.")),
        _ => Ok(said("One server process was ended.")),
    }
}

#[post("/restart")]
async fn restart(server: web::Data<Server>) -> Result<impl Responder, Error> {
    if !server.is_ours() {
        return Err(ErrorConflict("The server of DATABASE_URL is not ours to restart."));
    }
    match web::block(move || server.restart()).await.map_err(ErrorInternalServerError)? {
        Ok(true) => Ok(said("The server was away for 3 seconds and is back.")),
        Ok(false) => Err(ErrorConflict("It is being restarted already.")),
        Err(err) => Err(ErrorInternalServerError(err)),
    }
}

/// Another site that is open in the same browser must not press our buttons.
async fn own_page_only(req: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let text = |name| req.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let is_own = match (text(ORIGIN), text(HOST)) {
        (None, _) => true,
        (Some(origin), host) => origin.strip_prefix("http://").is_some_and(|origin| Some(origin) == host),
    };
    if !is_own {
        return Err(ErrorForbidden("The buttons are for their own page."));
    }
    next.call(req).await
}

fn within(number: u32, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    range.contains(&number).then_some(number)
}

pub(crate) fn bad_request(text: &'static str) -> Error {
    ErrorBadRequest(text)
}

fn said(text: impl Into<String>) -> HttpResponse {
    HttpResponse::Accepted().content_type(ContentType::plaintext()).body(text.into())
}
