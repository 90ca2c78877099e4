//! Opens sessions, and sends cancel requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use rand::seq::SliceRandom;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::Session;
use super::auth_watch::{AuthWatch, WatchedHandshake};
use super::cancel;
use super::connect_error::{Cause, ConnectError};
use super::driver::Driver;
use super::hooks::Hooks;
use super::notices;
use super::passfile;
use super::stream::{Address, Stream};
use super::tls::Tls;
use crate::config::{Server, Settings};
#[cfg(feature = "metrics")]
use crate::stats::Metrics;
use crate::stats::{Event, Recorder, Stats};
use crate::telemetry::{self, Span};
use crate::tokio_postgres::config::{SslMode, TargetSessionAttrs};
use crate::tokio_postgres::{CancelToken, Client, SimpleQueryMessage};

/// The longest wait for the server to hang up after a goodbye. The socket is closed then.
const GOODBYE: Duration = Duration::from_secs(5);

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
    warned_of_passfile: AtomicBool,
}

impl Connector {
    pub(crate) fn new(settings: Settings, tls: Tls, hooks: Hooks) -> Self {
        let stats = Arc::new(Stats::new(recorder(&settings)));
        Self {
            settings,
            tls,
            hooks,
            stats,
            alive: Arc::default(),
            drivers: TaskTracker::new(),
            closed: AtomicBool::new(false),
            warned_of_passfile: AtomicBool::new(false),
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
        let span = Span::session("connect", None);
        let opened = self.drivers.track_future(self.open_somewhere()).await;
        if let Err(err) = &opened {
            span.record_error(err.code().map(|code| code.code()), "connect");
        }
        drop(span);
        match opened {
            Ok(session) if !self.is_closed() => {
                self.stats.count(Event::Open);
                self.stats.record(|recorder| recorder.created(since.elapsed()));
                Ok(session)
            }
            Ok(_) if self.is_closed() => Err(ConnectError::closed()),
            other => other,
        }
    }

    async fn open_somewhere(self: &Arc<Self>) -> Result<Box<Session>, ConnectError> {
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
                let opened = timeout_at(deadline, self.open_at(&address, host)).await;
                let cause = match opened {
                    Ok(Ok(session)) => return Ok(session),
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

    async fn open_at(self: &Arc<Self>, address: &Address, host: &Server) -> Result<Box<Session>, Cause> {
        let server = &self.settings.server;
        let mut driver = server.driver.clone();
        if driver.get_password().is_none()
            && let Some(password) = self.password(host).await
        {
            driver.password(password);
        }
        let ssl_mode = ssl_mode(&self.tls, address);
        driver.ssl_mode(ssl_mode);
        let stream = Stream::connect(address, server).await.map_err(Cause::from)?;
        let moved = stream.moved();
        let handshake = self.tls.handshake(address.host()).map_err(Cause::from)?;
        let handshake = WatchedHandshake { handshake, allowed: server.require_auth.clone() };
        let stream = AuthWatch::new(stream, server.require_auth.as_ref(), ssl_mode != SslMode::Disable);
        let (client, connection) = driver.connect_raw(stream, handshake).await.map_err(Cause::from)?;

        let alive = Alive::new(&self.alive);
        let driver = Driver::start(moved, |dropped| {
            self.drivers.track_future(async move {
                let _alive = alive;
                let ended = match select(notices::driven(connection), dropped).await {
                    Either::Left((ended, _)) => Ok(ended),
                    Either::Right((_, connection)) => timeout(GOODBYE, connection).await,
                };
                match ended {
                    Ok(Ok(())) => telemetry::session_closed(),
                    Ok(Err(err)) => telemetry::session_lost(&err),
                    Err(_) => telemetry::session_abandoned(),
                }
            })
        });
        // From here on a drop ends the session as it ends any other.
        let peer = address.peer(namespace(&self.settings));
        let session = Session::new(client, address.clone(), peer, driver, &self.settings, &self.stats);
        if let Err(cause) = check_target(session.client(), server.target_session_attrs).await {
            session.end().await;
            return Err(cause);
        }
        if let Err(failed) = self.hooks.set_up(session.client(), self.settings.session.reset_timeout).await {
            session.end().await;
            return Err(failed.into());
        }
        telemetry::session_opened(address);
        Ok(session)
    }

    /// The password of the password file, if there is one. A file that cannot be used is warned of once, as libpq does at each login.
    async fn password(&self, host: &Server) -> Option<Vec<u8>> {
        let server = &self.settings.server;
        let path = server.passfile.clone()?;
        let user = server.driver.get_user().map(str::to_owned).or_else(|| whoami::username().ok())?;
        let database = server.driver.get_dbname().unwrap_or(&user).to_owned();
        let host = host.clone();
        let found = spawn_blocking(move || passfile::password(&path, &host, &database, &user)).await.ok()?;
        found
            .inspect_err(|err| {
                if !self.warned_of_passfile.swap(true, Ordering::Relaxed) {
                    telemetry::passfile_not_used(err);
                }
            })
            .ok()?
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

    /// The number of sessions whose driver runs, with those that are lent and those that are about to end.
    pub(crate) fn alive(&self) -> u32 {
        self.alive.load(Ordering::Relaxed)
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
        let hosts: Vec<_> =
            settings.server.hosts.iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
        let pool = format!("{}/{namespace}", hosts.join(","));
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

async fn check_target(client: &Client, wanted: TargetSessionAttrs) -> Result<(), Cause> {
    let wanted = match wanted {
        TargetSessionAttrs::ReadWrite => "off",
        TargetSessionAttrs::ReadOnly => "on",
        _ => return Ok(()),
    };
    let answer = client.simple_query("SHOW transaction_read_only").await.map_err(Cause::from)?;
    let read_only = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if read_only == Some(wanted) { Ok(()) } else { Err(Cause::WrongTarget) }
}

/// Counts a session from its login to the end of its driver.
struct Alive(Arc<AtomicU32>);

impl Alive {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
