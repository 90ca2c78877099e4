//! What a response gets besides.

use actix_web::dev::{Extensions, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue, SET_COOKIE};

use super::own_writes::WrittenCookie;
use super::request_connections::RequestConnections;
use super::written::Written;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What a response gets besides. The middleware's service has it, and each of its futures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adds {
    pub(super) server_timing: bool,
    /// There is a [`WrittenCookie`] in the app data.
    pub(super) cookie: bool,
}

impl Adds {
    pub(super) fn any(self) -> bool {
        self.server_timing || self.cookie
    }

    /// The cookie of those who have written, if they are to read that.
    pub(super) fn cookie(self, data: &Extensions) -> Option<&WrittenCookie> {
        if self.cookie { data.get() } else { None }
    }

    /// Tells the client how long the database took, and what it has written.
    pub(super) fn added<B>(
        self,
        mut res: ServiceResponse<B>,
        data: &Extensions,
        written: Option<Written>,
    ) -> ServiceResponse<B> {
        if self.server_timing
            && let Some(timing) = RequestConnections::server_timing(res.request(), data)
            && let Ok(timing) = HeaderValue::try_from(timing)
        {
            res.headers_mut().append(SERVER_TIMING, timing);
        }
        if let Some((cookie, written)) = self.cookie(data).zip(written) {
            let by_https = res.request().connection_info().scheme() == "https";
            res.headers_mut().append(SET_COOKIE, cookie.set(written, by_https));
        }
        res
    }
}
