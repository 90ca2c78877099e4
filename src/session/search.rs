//! Finds a server that will do, and logs in.
//!
//! Hosts are tried as [libpq does](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS), each at all of
//! its addresses. The next one is tried where the server cannot be connected to now (57P03) or is not what
//! `target_session_attrs` asks for, and, unlike libpq, where the connection breaks during the login. It is not tried after a refusal,
//! such as that of the password.
//!
//! Also unlike libpq, the next one is tried beside a server that is silent ([`race`](super::race)), and what was silent or not what is
//! wanted comes last for some seconds ([`hosts`](super::hosts)).

use std::sync::Arc;

use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};

use super::auth_watch::{AuthWatch, WatchedHandshake};
use super::connect_error::{Cause, ConnectError};
use super::connector::Connector;
use super::dialect::{self, Dialect};
use super::hosts::Host;
use super::login::{Alive, LoggedIn, Place};
use super::notices::Heard;
use super::race::{HEAD_START, Race, Runner};
use super::role::{self, Role};
use super::stream::{Address, Stream};
use super::tls::Tls;
use crate::config::TargetSessionAttrs;
use crate::telemetry;
use crate::tokio_postgres::config::SslMode;

/// What is looked for.
struct Search<'a> {
    wanted: TargetSessionAttrs,
    heard: Option<&'a Heard>,
    /// It is counted, and set up by the hooks of the application.
    is_session: bool,
    race: Race,
}

impl Connector {
    /// Logs in to the first host that will do.
    pub(super) async fn search(&self, heard: Option<&Heard>) -> Result<LoggedIn, ConnectError> {
        let wanted = self.settings.server.target_session_attrs;
        match self.search_for(wanted, heard).await {
            Err(err) if wanted == TargetSessionAttrs::PreferStandby && !err.is_refusal() => {
                self.search_for(TargetSessionAttrs::Any, heard).await
            }
            found => found,
        }
    }

    async fn search_for(
        &self,
        wanted: TargetSessionAttrs,
        heard: Option<&Heard>,
    ) -> Result<LoggedIn, ConnectError> {
        let (search, hosts) =
            (Search { wanted, heard, is_session: heard.is_none(), race: Race::new() }, self.hosts.in_order());
        let attempts: Vec<_> = hosts.iter().map(|host| self.at_host(host, &search)).collect();
        let found = search.race.first(attempts).await;
        found.map_err(|failed| match failed {
            // Whichever was asked last: the answer is the same each time.
            Some(err) if err.is_wrong_target() && self.hosts.are_several() => {
                ConnectError::new(self.hosts.names(), Cause::NoneFits)
            }
            Some(err) => err,
            None => ConnectError::new("the server".into(), Cause::NoAddress),
        })
    }

    /// Logs in to one server, whatever it is, to ask it something.
    pub(super) async fn log_in_to_ask(
        &self,
        address: &Address,
        host: &Arc<Host>,
    ) -> Result<LoggedIn, ConnectError> {
        let wanted = TargetSessionAttrs::Any;
        let search = Search { wanted, heard: None, is_session: false, race: Race::new() };
        self.at_address(address, None, host, &search).await
    }

    /// Tries all addresses of a host, which DNS is asked for at each login.
    async fn at_host(&self, host: &Arc<Host>, search: &Search<'_>) -> Result<LoggedIn, ConnectError> {
        let server = &self.settings.server;
        let mut overtaken = Overtaken { host: Some(host), since: Instant::now() };
        // The look-up and the first address share one bound: a name server may be silent too.
        let deadline = Instant::now() + server.connect_timeout;
        let mut addresses = match timeout_at(deadline, Address::resolve(&host.server)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(err)) => {
                overtaken.host = None;
                return Err(ConnectError::new(host.server.host.to_string(), err.into()));
            }
            Err(_) => {
                overtaken.host = None;
                host.avoid();
                let look_up = format!("the look-up of `{}`", host.server.host);
                return Err(ConnectError::new(look_up, Cause::TimedOut(server.connect_timeout)));
            }
        };
        if server.load_balance_hosts {
            addresses.shuffle(&mut rand::rng());
        }
        let mut attempts = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let deadline = Some(deadline).filter(|_| attempts.is_empty());
            attempts.push(self.at_address(address, deadline, host, search));
        }
        let found = search.race.first(attempts).await;
        overtaken.host = None;
        if let Err(Some(failed)) = &found
            && failed.speaks_against_host()
        {
            host.avoid();
        }
        let no_address = || ConnectError::new("the server".into(), Cause::NoAddress);
        found.map_err(|failed| failed.unwrap_or_else(no_address))
    }

    async fn at_address(
        &self,
        address: &Address,
        deadline: Option<Instant>,
        host: &Arc<Host>,
        search: &Search<'_>,
    ) -> Result<LoggedIn, ConnectError> {
        let bound = self.settings.server.connect_timeout;
        let deadline = deadline.unwrap_or_else(|| Instant::now() + bound);
        let logged_in = timeout_at(deadline, self.log_in_at(address, host, deadline, search)).await;
        let cause = match logged_in {
            Ok(Ok(logged_in)) => return Ok(logged_in),
            Ok(Err(cause)) => cause,
            Err(_) => Cause::TimedOut(bound),
        };
        Err(ConnectError::new(address.to_string(), cause))
    }

    /// Logs in. Where the password is refused, and has changed since it was asked for, does so once more.
    async fn log_in_at(
        &self,
        address: &Address,
        host: &Arc<Host>,
        deadline: Instant,
        search: &Search<'_>,
    ) -> Result<LoggedIn, Cause> {
        let (server, stats) = (&self.settings.server, self.stats());
        // The turn is kept while the password is asked for again: no other server is tried after a refusal.
        let runner = search.race.enter();
        let password = self.passwords.ask(server, &host.server, false, deadline, stats).await;
        let password = password.map_err(Cause::Password)?;
        let refusal = match self.log_in_with(password.as_deref(), address, host, &runner, search).await {
            Err(cause) if password.is_some() && cause.is_password_refused() => cause,
            done => return done,
        };
        match self.passwords.ask(server, &host.server, true, deadline, stats).await {
            Ok(Some(changed)) if Some(&changed) != password.as_ref() => {
                self.log_in_with(Some(&changed), address, host, &runner, search).await
            }
            _ => Err(refusal),
        }
    }

    async fn log_in_with(
        &self,
        password: Option<&[u8]>,
        address: &Address,
        host: &Arc<Host>,
        runner: &Runner,
        search: &Search<'_>,
    ) -> Result<LoggedIn, Cause> {
        let server = &self.settings.server;
        let mut driver = server.driver.clone();
        if let Some(password) = password {
            driver.password(password);
        }
        let ssl_mode = ssl_mode(&self.tls, address);
        driver.ssl_mode(ssl_mode);
        let stream = Stream::connect(address, server).await.map_err(Cause::from)?.wait_for(runner.turn());
        let moved = stream.moved();
        let handshake = self.tls.handshake(address.host()).map_err(Cause::from)?;
        let handshake = WatchedHandshake { handshake, allowed: server.require_auth.clone() };
        let stream = AuthWatch::new(stream, server.require_auth.as_ref(), ssl_mode != SslMode::Disable);
        let connected = driver.connect_raw(stream, handshake).await.map_err(Cause::from)?;

        // From here on a drop ends it as it ends any other.
        let reported = Role::reported(&connected.1);
        let is_postgres = dialect::is_postgres(|name| connected.1.parameter(name));
        let place = Place::new(address, host, reported, server.target_session_attrs);
        let alive = Alive::new(&self.alive);
        let mut logged_in = LoggedIn::new(
            connected,
            place,
            moved,
            self.stats(),
            &self.drivers,
            Arc::clone(&alive),
            search.heard.cloned(),
        );
        if let Err(cause) = role::check(logged_in.client(), reported, search.wanted).await {
            logged_in.end().await;
            return Err(cause);
        }
        let ready = async {
            if !is_postgres {
                let found = self.dialect.get_or_try_init(|| Dialect::of(&logged_in.client)).await?;
                logged_in.place.dialect = found.clone();
            }
            logged_in.check_lag(self.hooks().lag.as_deref()).await?;
            logged_in.adapt(&self.settings.session).await
        };
        if let Err(cause) = ready.await {
            logged_in.end().await;
            return Err(cause);
        }
        if search.is_session {
            alive.count();
            let set_up = self.hooks().set_up(&logged_in.client, self.settings.session.reset_timeout).await;
            if let Err(failed) = set_up {
                logged_in.end().await;
                return Err(failed.into());
            }
        }
        telemetry::session_opened(self.stats().name(), address);
        Ok(logged_in)
    }
}

/// An attempt at a host. Dropped while it goes on, another host was faster: this one comes last for some seconds.
struct Overtaken<'a> {
    host: Option<&'a Host>,
    since: Instant,
}

impl Drop for Overtaken<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.host
            && self.since.elapsed() >= HEAD_START
        {
            host.avoid();
        }
    }
}

fn ssl_mode(tls: &Tls, address: &Address) -> SslMode {
    // There is no TLS on a Unix-domain socket, and libpq ignores `sslmode` there.
    if address.is_unix() { SslMode::Disable } else { tls.mode }
}
