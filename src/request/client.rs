//! The driver's client on loan.

use std::ops::Deref;
use std::thread;

use crate::database::Usage;
use crate::tokio_postgres::Client;

/// The [`Client`] of a request's session, as [`Connection::client`](crate::Connection::client) lends it.
///
/// While it is alive the session is pinned to the request. A `Statement` or a row stream made with it must not be used
/// after it: what is left of them is cancelled, or the session is discarded.
#[derive(Debug)]
pub struct ClientGuard {
    usage: Usage,
}

impl ClientGuard {
    /// The usage is [ready](Usage::ready): while the guard is alive nothing is cancelled, for it could be hit.
    pub(crate) fn new(usage: Usage) -> Self {
        usage.lend_client();
        Self { usage }
    }
}

impl Deref for ClientGuard {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.usage.session().client()
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.usage.done();
        }
    }
}
