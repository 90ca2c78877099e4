//! Opens sessions, and sends cancel requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::Session;
use super::auth_watch::{AuthWatch, WatchedHandshake};
use super::cancel;
use super::connect_error::{Cause, ConnectError};
use super::hooks::Hooks;
use super::login::{Alive, LoggedIn};
use super::notices::Heard;
use super::password::Passwords;
use super::stream::{Address, Stream};
use super::tls::Tls;
use crate::config::{Server, Settings};
#[cfg(feature = "metrics")]
use crate::stats::Metrics;
use crate::stats::{Event, Recorder, Stats};
use crate::telemetry::{self, Span};
use crate::tokio_postgres::CancelToken;
use crate::tokio_postgres::config::SslMode;

/// The way to the server, and the count of the sessions that are alive. The pool holds it.
#[derive(Debug)]
pub(crate) struct Connector {
    settings: Settings,
    tls: Tls,
    hooks: Hooks,
    stats: Arc<Stats>,
    alive: Arc<AtomicU32>,
    drivers: TaskTracker,
    closed: AtomicBool,
    passwords: Passwords,
}

impl Connector {
    pub(crate) fn new(settings: Settings, tls: Tls, hooks: Hooks) -> Self {
        let stats = Arc::new(Stats::new(recorder(&settings)));
        Self {
            settings,
            tls,
            passwords: Passwords::new(hooks.password.clone()),
            hooks,
            stats,
            alive: Arc::default(),
            drivers: TaskTracker::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Opens a session whose home is the current runtime.
    ///
    /// Hosts are tried in turn as [libpq does](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS),
    /// each at all of its addresses. The next one is tried where nothing answers in time, where the server cannot be
    /// connected to now (57P03) or is not what `target_session_attrs` asks for, and, unlike libpq, where the connection
    /// breaks during the login. It is not tried after a refusal, such as that of the password: the error is that one,
    /// else that of the last host.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<Box<Session>, ConnectError> {
        let since = Instant::now();
        let logged_in = self.log_in(None).await?;
        self.stats.count(Event::Open);
        self.stats.record(|recorder| recorder.created(since.elapsed()));
        let peer = logged_in.address.peer(namespace(&self.settings));
        Ok(Session::new(logged_in, peer, &self.settings, &self.stats))
    }

    /// Opens a connection that only listens, in the same way. It is no session of the pool: no hook sets it up, and it is not
    /// counted.
    pub(crate) async fn open_to_listen(&self, heard: Heard) -> Result<LoggedIn, ConnectError> {
        self.log_in(Some(&heard)).await
    }

    async fn log_in(&self, heard: Option<&Heard>) -> Result<LoggedIn, ConnectError> {
        let span = Span::session("connect", None);
        let logged_in = self.drivers.track_future(self.log_in_somewhere(heard)).await;
        if let Err(err) = &logged_in {
            span.record_error(err.code().map(|code| code.code()), "connect");
        }
        drop(span);
        logged_in
            .and_then(|logged_in| if self.is_closed() { Err(ConnectError::closed()) } else { Ok(logged_in) })
    }

    async fn log_in_somewhere(&self, heard: Option<&Heard>) -> Result<LoggedIn, ConnectError> {
        if self.is_closed() {
            return Err(ConnectError::closed());
        }
        let server = &self.settings.server;
        let mut hosts: Vec<_> = server.hosts.iter().collect();
        if server.load_balance_hosts {
            hosts.shuffle(&mut rand::rng());
        }
        let mut failed = None;
        for host in hosts {
            // The look-up and the first address share one bound: a name server may be silent too.
            let mut deadline = Instant::now() + server.connect_timeout;
            let looked_up = timeout_at(deadline, Address::resolve(host)).await;
            let mut addresses = match looked_up {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(err)) => {
                    failed = Some(ConnectError::new(host.host.to_string(), err.into()));
                    continue;
                }
                Err(_) => {
                    let look_up = format!("the look-up of `{}`", host.host);
                    failed = Some(ConnectError::new(look_up, Cause::TimedOut(server.connect_timeout)));
                    continue;
                }
            };
            if server.load_balance_hosts {
                addresses.shuffle(&mut rand::rng());
            }
            for address in addresses {
                let logged_in = timeout_at(deadline, self.log_in_at(&address, host, deadline, heard)).await;
                let cause = match logged_in {
                    Ok(Ok(logged_in)) => return Ok(logged_in),
                    Ok(Err(cause)) => cause,
                    Err(_) => Cause::TimedOut(server.connect_timeout),
                };
                let is_refusal = cause.is_refusal();
                let err = ConnectError::new(address.to_string(), cause);
                if is_refusal {
                    return Err(err);
                }
                failed = Some(err);
                deadline = Instant::now() + server.connect_timeout;
            }
        }
        Err(failed.unwrap_or_else(|| ConnectError::new("the server".into(), Cause::NoAddress)))
    }

    /// Logs in. Where the password is refused, and has changed since it was asked for, does so once more.
    async fn log_in_at(
        &self,
        address: &Address,
        host: &Server,
        deadline: Instant,
        heard: Option<&Heard>,
    ) -> Result<LoggedIn, Cause> {
        let server = &self.settings.server;
        let password = self.passwords.ask(server, host, false, deadline, &self.stats).await;
        let password = password.map_err(Cause::Password)?;
        let refusal = match self.log_in_with(password.as_deref(), address, heard).await {
            Err(cause) if password.is_some() && cause.is_password_refused() => cause,
            done => return done,
        };
        match self.passwords.ask(server, host, true, deadline, &self.stats).await {
            Ok(Some(changed)) if Some(&changed) != password.as_ref() => {
                self.log_in_with(Some(&changed), address, heard).await
            }
            _ => Err(refusal),
        }
    }

    async fn log_in_with(
        &self,
        password: Option<&[u8]>,
        address: &Address,
        heard: Option<&Heard>,
    ) -> Result<LoggedIn, Cause> {
        let server = &self.settings.server;
        let mut driver = server.driver.clone();
        if let Some(password) = password {
            driver.password(password);
        }
        let ssl_mode = ssl_mode(&self.tls, address);
        driver.ssl_mode(ssl_mode);
        let stream = Stream::connect(address, server).await.map_err(Cause::from)?;
        let moved = stream.moved();
        let handshake = self.tls.handshake(address.host()).map_err(Cause::from)?;
        let handshake = WatchedHandshake { handshake, allowed: server.require_auth.clone() };
        let stream = AuthWatch::new(stream, server.require_auth.as_ref(), ssl_mode != SslMode::Disable);
        let connected = driver.connect_raw(stream, handshake).await.map_err(Cause::from)?;

        // From here on a drop ends it as it ends any other.
        let alive = heard.is_none().then(|| Alive::new(&self.alive));
        let logged_in =
            LoggedIn::new(connected, address, moved, &self.stats, &self.drivers, alive, heard.cloned());
        if let Err(cause) = logged_in.check_target(server.target_session_attrs).await {
            logged_in.end().await;
            return Err(cause);
        }
        if heard.is_none()
            && let Err(failed) =
                self.hooks.set_up(&logged_in.client, self.settings.session.reset_timeout).await
        {
            logged_in.end().await;
            return Err(failed.into());
        }
        telemetry::session_opened(self.stats.name(), address);
        Ok(logged_in)
    }

    /// Asks the server to cancel what a session's backend runs, and returns when the backend has been signalled.
    ///
    /// So no later statement can be hit. After an error the request may still be on its way.
    pub(crate) async fn cancel(&self, token: &CancelToken, address: &Address) -> Result<(), ConnectError> {
        self.stats.count(Event::Cancel);
        let _span = Span::session("cancel", Some(&address.peer(namespace(&self.settings))));
        let cancelled = cancel::cancel(token, address, &self.settings.server, &self.tls).await;
        cancelled.map_err(|cause| ConnectError::new(address.to_string(), cause))
    }

    /// The application's own steps in the life of a session.
    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// What is known and counted of the sessions and their statements.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Gives the database a name, for its lines of the log, unless it has one.
    pub(crate) fn set_name(&self, name: &'static str) {
        if self.stats.set_name(name) {
            telemetry::database_named(name, &servers(&self.settings), namespace(&self.settings));
        }
    }

    /// The number of sessions whose driver runs, with those that are lent and those that are about to end.
    pub(crate) fn alive(&self) -> u32 {
        self.alive.load(Ordering::Relaxed)
    }

    /// The bound of a login, and of whatever a session has to be told before it can be used.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.settings.server.connect_timeout
    }

    /// Refuses to open sessions from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.drivers.close();
    }

    /// Resolves after [`close`](Self::close), when every driver has ended.
    pub(crate) async fn ended(&self) {
        self.drivers.wait().await;
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The servers, with commas between them.
fn servers(settings: &Settings) -> String {
    let servers = settings.server.hosts.iter().map(|server| format!("{}:{}", server.host, server.port));
    servers.collect::<Vec<_>>().join(",")
}

/// The database that a session works in: as in libpq, that of the user's name if none is named.
fn namespace(settings: &Settings) -> &str {
    let driver = &settings.server.driver;
    driver.get_dbname().or(driver.get_user()).unwrap_or_default()
}

/// The metrics of the application, with the feature of that name.
fn recorder(settings: &Settings) -> Option<Box<dyn Recorder>> {
    #[cfg(not(feature = "metrics"))]
    let (recorder, _) = (None, settings);
    #[cfg(feature = "metrics")]
    let recorder = {
        let namespace = namespace(settings);
        let pool = format!("{}/{namespace}", servers(settings));
        // With several hosts a statement's is not known here.
        let (address, port) = match &*settings.server.hosts {
            [one] => (Some(one.host.to_string()), Some(one.port).filter(|port| *port != 5432)),
            _ => (None, None),
        };
        Some(Box::new(Metrics::new(&pool, namespace, address.as_deref(), port)) as _)
    };
    recorder
}

fn ssl_mode(tls: &Tls, address: &Address) -> SslMode {
    // There is no TLS on a Unix-domain socket, and libpq ignores `sslmode` there.
    if address.is_unix() { SslMode::Disable } else { tls.mode }
}
