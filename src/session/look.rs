//! Whether a server still takes writes: asked on the session that was refused one, or on another connection.
//!
//! The other connection is for a session that is out of step and can be asked nothing. It takes the place of that session, which has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Session;
use super::connector::Connector;
use super::hosts::Host;
use super::stream::Address;

/// A server that has refused a write, and was not asked why.
#[derive(Debug)]
pub(crate) struct Doubted {
    address: Address,
    host: Arc<Host>,
}

impl Session {
    /// Asks the server whether it still takes writes, after it has refused one. If not, this session and all others of its host end at
    /// their next return. No transaction may be open.
    ///
    /// `false` if there was no answer in time. It is still due then, and the session must not be lent.
    pub(crate) async fn looks_again(&self, bound: Duration) -> bool {
        timeout(bound, self.place.look_again(&self.client)).await.is_ok()
    }

    /// Its server, to be asked on another connection when this one has ended.
    pub(crate) fn doubted(&self) -> Doubted {
        Doubted { address: self.place.address.clone(), host: Arc::clone(&self.place.host) }
    }
}

impl Connector {
    /// Asks a server whether it still takes writes. If not, all sessions of its host end at their next return. Does nothing where the
    /// server cannot be asked: then nothing is known.
    pub(crate) async fn look_at(&self, doubted: Doubted) {
        if self.is_closed() {
            return;
        }
        let Doubted { address, host } = doubted;
        let logged_in = self.drivers.track_future(self.log_in_to_ask(&address, &host)).await;
        let Ok(logged_in) = logged_in else {
            return;
        };
        let look = logged_in.place.look_again(logged_in.client());
        let _ = timeout(self.settings.session.reset_timeout, look).await;
        logged_in.end().await;
    }
}
