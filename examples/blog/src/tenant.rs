//! Whose request it is.

use actix_pg::ConnectionExt;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;

use crate::error::ApiError;

/// A stand-in for what an application has: a session, a token, or a header that a proxy sets *after it has removed the client's*.
const HEADER: &str = "x-tenant";

const LONGEST: usize = 32;

/// Makes all statements of a request see the rows of its tenant, and no others. A request that does not say whose it is gets no further.
pub(crate) async fn required(
    req: ServiceRequest,
    next: Next<impl MessageBody>,
) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    let tenant = name(req.headers())?;
    // Recorded, not sent: a request that runs no statement borrows no session. It is in force on every session that this
    // request borrows, and gone when the session goes back.
    req.connection().and_then(|conn| conn.set_config("app.tenant", tenant)).map_err(ApiError::from)?;
    next.call(req).await
}

/// The one name in the header. With two, a proxy and this application might each believe another.
fn name(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(HEADER);
    let (Some(name), None) = (values.next(), values.next()) else {
        return Err(ApiError::NoTenant);
    };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.to_str()
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= LONGEST && name.bytes().all(is_plain))
        .ok_or(ApiError::NoTenant)
}
