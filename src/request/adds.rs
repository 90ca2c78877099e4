//! What a response gets besides.

use actix_web::dev::{Extensions, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue, SET_COOKIE};

use super::own_writes::OwnWrites;
use super::request_connections::RequestConnections;
use super::written::Written;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What a response gets besides. The middleware's service has it, and each of its futures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adds {
    server_timing: bool,
    own_writes: bool,
    asks: bool,
}

impl Adds {
    pub(super) fn new(server_timing: bool, own_writes: Option<&OwnWrites>) -> Self {
        let asks = own_writes.is_some_and(OwnWrites::is_by_position);
        Self { server_timing, own_writes: own_writes.is_some(), asks }
    }

    pub(super) fn any(self) -> bool {
        self.server_timing || self.own_writes
    }

    pub(super) fn server_timing(self) -> bool {
        self.server_timing
    }

    /// Whether a client is to read what it has written.
    pub(super) fn own_writes(self) -> bool {
        self.own_writes
    }

    /// Whether the server is asked how far a request has written.
    pub(super) fn asks(self) -> bool {
        self.asks
    }

    /// Tells the client how long the database took, and how far it may have written.
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
        if let Some(own_writes) = data.get::<OwnWrites>() {
            let somewhere = !self.asks && RequestConnections::may_have_written(res.request(), data);
            if let Some(written) = written.or_else(|| somewhere.then_some(Written::Somewhere)) {
                let by_https = res.request().connection_info().scheme() == "https";
                res.headers_mut().append(SET_COOKIE, own_writes.cookie(written, by_https));
            }
        }
        res
    }
}
