//! The driver's client on loan.

use std::fmt;
use std::ops::Deref;

use crate::Result;
use crate::lease::SessionUse;
use crate::tokio_postgres::Client;

/// The [`Client`] of a request's session, as [`Connection::client`](crate::Connection::client) lends it.
///
/// It keeps the session for the request: [`release`](crate::Connection::release) is refused while it is alive.
///
/// - A `Statement` or a row stream made with it must not be used after it. What is left of them is cancelled, or the session is
///   discarded, when it goes back.
/// - After a `COPY` of the client's that has failed, `release` the session before the next statement: the driver may have lost
///   count of the answers, and the return finds that out.
/// - `command_timeout` and `echo` do not apply to what is done with it.
pub struct ClientGuard {
    session_use: SessionUse,
}

impl fmt::Debug for ClientGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientGuard").finish_non_exhaustive()
    }
}

impl ClientGuard {
    pub(crate) async fn of(mut session_use: SessionUse) -> Result<Self> {
        session_use.lend_client().await?;
        Ok(Self { session_use })
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.session_use.client_returned();
    }
}

impl Deref for ClientGuard {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.session_use.session().client()
    }
}
