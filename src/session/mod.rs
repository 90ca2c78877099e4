//! One physical connection: the client, its statement cache, and how it ends.

mod connector;
mod search;
mod race;
mod hosts;
mod role;
mod standing;
mod connect_error;
mod stream;
mod auth_watch;
mod passfile;
mod password;
mod dialect;
mod tls;
mod driver;
mod hooks;
mod position;
mod lag;
mod statement_errors;
mod statements;
mod changed;
mod names;
mod standby;
mod home;
mod login;
mod look;
mod cancel;
mod notices;
mod quiet;
mod settings_left;
mod texts;
mod unpinned;
mod value;

pub use connect_error::ConnectError;
pub(crate) use connector::Connector;
pub(crate) use dialect::Dialect;
pub(crate) use home::Home;
pub(crate) use hooks::{HookFailed, Hooks};
pub(crate) use lag::LagBound;
pub(crate) use login::LoggedIn;
pub use password::Login;
pub(crate) use position::Position;
pub(crate) use quiet::{Abandoned, answer, ask, cancel_until_quiet};
pub(crate) use statement_errors::{
    is_of_analysis, is_of_look_up, is_of_name, is_of_parameter, may_be_out_of_date,
};
pub(crate) use statements::Prepared;
pub(crate) use stream::Address;
use texts::Texts;
pub(crate) use texts::{Types, are_built_in};
pub(crate) use tls::Tls;
pub(crate) use unpinned::Unpinned;
pub(crate) use value::value;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::runtime::Id;

use crate::config::{Pooler, Settings};
use crate::stats::{Cell, EndReason, Stats};
use crate::telemetry::{self, Peer};
use crate::tokio_postgres::Client;
use driver::Driver;
use login::{Patience, Place};
use settings_left::SettingsLeft;
pub(crate) use settings_left::apply_many;
use standby::Standby;

/// One physical connection. Its drop says goodbye to the server in the background; [`end`](Self::end) waits for that.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    statements: Option<Mutex<LruCache<Box<str>, Prepared>>>,
    /// Where it keeps no statements.
    texts: Option<Arc<Texts>>,
    /// With a pooler that gives each transaction another backend.
    unpinned: Option<Box<Unpinned>>,
    stats: Arc<Stats>,
    cell: Arc<Cell>,
    peer: Peer,
    settings_left: SettingsLeft,
    place: Place,
    /// Nobody has used it yet.
    is_new: bool,
    retire_at: Option<Instant>,
    standby: Standby,
    /// When it was opened or last used.
    idle_since: Instant,
    driver: Driver,
}

impl Session {
    /// Boxed, because it is moved often.
    pub(crate) fn new(
        logged_in: LoggedIn,
        peer: Peer,
        settings: &Settings,
        stats: &Arc<Stats>,
        texts: Option<&Arc<Texts>>,
    ) -> Box<Self> {
        let LoggedIn { client, driver, place } = logged_in;
        let now = Instant::now();
        let unpinned = texts.filter(|_| settings.session.pooler == Pooler::Transaction);
        Box::new(Self {
            client,
            statements: NonZeroUsize::new(settings.session.statement_cache_size)
                .filter(|_| texts.is_none())
                .map(|size| Mutex::new(LruCache::new(size))),
            texts: texts.cloned(),
            unpinned: unpinned.map(|texts| Box::new(Unpinned::new(texts, place.names))),
            stats: Arc::clone(stats),
            cell: stats.board.add(),
            peer,
            settings_left: SettingsLeft::default(),
            place,
            is_new: true,
            retire_at: settings.pool.max_lifetime.and_then(|lifetime| now.checked_add(jittered(lifetime))),
            standby: Standby::default(),
            idle_since: now,
            driver,
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The client for one who owns the session.
    pub(crate) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// What it knows of its statements, if it has another backend in each transaction.
    pub(crate) fn unpinned(&self) -> Option<&Unpinned> {
        self.unpinned.as_deref()
    }

    /// What the server understands of a reset.
    pub(crate) fn dialect(&self) -> &Dialect {
        &self.place.dialect
    }

    pub(crate) fn address(&self) -> &Address {
        &self.place.address
    }

    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Its place on the board of all sessions.
    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    /// The server, as spans name it.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What requests have set on it, which is not reset yet.
    pub(crate) fn settings_left(&self) -> &SettingsLeft {
        &self.settings_left
    }

    pub(crate) fn settings_left_mut(&mut self) -> &mut SettingsLeft {
        &mut self.settings_left
    }

    /// The driver of the connection.
    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The runtime that drives the connection.
    pub(crate) fn runtime(&self) -> Id {
        self.driver.runtime()
    }

    /// Ends the session at its next return.
    pub(crate) fn retire(&self) {
        self.settings_left.forget();
        self.place.standing.statements_dropped();
    }

    /// Why the session cannot be lent again, if so.
    pub(crate) fn retire_reason(&self) -> Option<EndReason> {
        if self.client.is_closed() {
            Some(EndReason::ConnectionLost)
        } else if self.unpinned().is_some_and(Unpinned::is_lost) {
            Some(EndReason::StatementsDropped)
        } else {
            self.place.standing.retire_reason()
        }
    }

    /// Whether it is expected to write: a server that takes no writes will not do.
    pub(crate) fn writes(&self) -> bool {
        self.place.writes
    }

    /// Why it should be replaced by now: it has reached its `max_lifetime`, or the application has asked for another one.
    pub(crate) fn too_old(&self) -> Option<EndReason> {
        self.too_old_at(Instant::now())
    }

    /// Why it should have been replaced when it was last used. Reads no clock.
    pub(crate) fn was_too_old(&self) -> Option<EndReason> {
        self.too_old_at(self.idle_since)
    }

    fn too_old_at(&self, then: Instant) -> Option<EndReason> {
        if self.retire_at.is_some_and(|at| at <= then) {
            Some(EndReason::Lifetime)
        } else {
            self.cell.is_to_be_renewed(then).then_some(EndReason::Renewed)
        }
    }

    pub(crate) fn returned(&mut self) {
        self.is_new = false;
        self.idle_since = Instant::now();
    }

    /// Whether nobody has used it yet.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(crate) fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// When it was opened or last used.
    pub(crate) fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Whether its server does not answer any more.
    pub(crate) fn is_silent(&self) -> bool {
        self.place.standing.is_silent()
    }

    fn waits_for_server(&self) -> Patience<'_> {
        self.place.waits_for_server()
    }

    /// Says goodbye, and returns when the server has hung up or 5 seconds have passed. Closes the socket at once where the server is
    /// silent.
    pub(crate) async fn end(self: Box<Self>) {
        let Self { client, driver, place, stats, .. } = *self;
        if place.standing.is_silent() {
            telemetry::session_abandoned(stats.name());
            return driver.cut();
        }
        drop(client);
        driver.end().await;
    }
}

/// A lifetime that is up to a tenth shorter, so that sessions that were opened together do not end together.
fn jittered(lifetime: Duration) -> Duration {
    lifetime.mul_f64(rand::random_range(0.9..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P16: sessions that were opened together end one after the other, none later than asked for.
    #[test]
    fn lifetimes_are_spread() {
        let asked = Duration::from_secs(1000);
        let mut lifetimes: Vec<_> = (0..1000).map(|_| jittered(asked)).collect();
        lifetimes.sort_unstable();
        assert!(lifetimes[0] >= asked.mul_f64(0.9) && lifetimes[999] <= asked);
        let longest_gap = lifetimes.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest_gap < Some(asked / 50), "{longest_gap:?}");
    }
}
