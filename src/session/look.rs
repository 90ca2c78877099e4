//! Whether a server still takes writes, asked on a connection of its own.
//!
//! For a session that was refused a write and is out of step, so that it cannot be [asked itself](Session::look_again). The
//! connection takes the place of that session, which has ended.

use std::sync::Arc;

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
