//! Sends the reads of a client that has written to the primary, for a time. A cookie says that it has.

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{COOKIE, HeaderValue};

const NAME: &str = "actix_pg_wrote";

/// The cookie for a client that has written. It is forgotten by itself, so that no clocks are compared.
pub(super) fn cookie(window: Duration) -> HeaderValue {
    // Browsers count whole seconds.
    let seconds = window.as_secs().saturating_add(u64::from(window.subsec_nanos() > 0));
    let cookie = format!("{NAME}=1; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(cookie).expect("no character is strange")
}

/// Whether a client says that it has written of late.
pub(super) fn are_recent(req: &ServiceRequest) -> bool {
    let cookies = req.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).any(|cookie| cookie.trim().split('=').next() == Some(NAME))
}
