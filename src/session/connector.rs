//! Opens sessions, and sends cancel requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::Session;
use super::cancel;
use super::connect_error::{Cause, ConnectError};
use super::dialect::Dialect;
use super::hooks::Hooks;
use super::hosts::Hosts;
use super::login::LoggedIn;
use super::notices::Heard;
use super::password::Passwords;
use super::stream::Address;
use super::texts::Texts;
use super::tls::Tls;
use crate::config::Settings;
#[cfg(feature = "metrics")]
use crate::stats::Metrics;
use crate::stats::{Event, Recorder, Stats};
use crate::telemetry::{self, Span};
use crate::tokio_postgres::CancelToken;

/// The way to the server, and the count of the sessions that are alive. The pool holds it.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(super) settings: Settings,
    pub(super) hosts: Hosts,
    pub(super) tls: Tls,
    hooks: Hooks,
    stats: Arc<Stats>,
    /// Where sessions keep no statements.
    texts: Option<Arc<Texts>>,
    pub(super) alive: Arc<AtomicU32>,
    pub(super) drivers: TaskTracker,
    closed: AtomicBool,
    pub(super) passwords: Passwords,
    /// That of a server that is not PostgreSQL.
    pub(super) dialect: OnceCell<Dialect>,
}

impl Connector {
    pub(crate) fn new(settings: Settings, tls: Tls, hooks: Hooks) -> Self {
        let stats = Arc::new(Stats::new(recorder(&settings)));
        Self {
            hosts: Hosts::new(&settings.server),
            texts: settings.session.known_texts().map(Texts::new),
            settings,
            tls,
            passwords: Passwords::new(hooks.password.clone()),
            dialect: OnceCell::new(),
            hooks,
            stats,
            alive: Arc::default(),
            drivers: TaskTracker::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Opens a session whose home is the current runtime.
    ///
    /// How the hosts are tried: see [`search`](super::search).
    pub(crate) async fn open(self: &Arc<Self>) -> Result<Box<Session>, ConnectError> {
        let since = Instant::now();
        let logged_in = self.log_in(None).await?;
        self.stats.count(Event::Open);
        self.stats.record(|recorder| recorder.created(since.elapsed()));
        let peer = logged_in.place.address.peer(namespace(&self.settings));
        Ok(Session::new(logged_in, peer, &self.settings, &self.stats, self.texts.as_ref()))
    }

    /// Opens a connection that only listens, in the same way. It is no session of the pool: no hook sets it up, and it is not
    /// counted.
    pub(crate) async fn open_to_listen(&self, heard: Heard) -> Result<LoggedIn, ConnectError> {
        self.log_in(Some(&heard)).await
    }

    async fn log_in(&self, heard: Option<&Heard>) -> Result<LoggedIn, ConnectError> {
        if self.is_closed() {
            return Err(ConnectError::closed());
        }
        let span = Span::session("connect", None);
        let logged_in = self.drivers.track_future(self.search(heard)).await;
        if let Err(err) = &logged_in {
            span.record_error(err.code().map(|code| code.code()), "connect");
        }
        drop(span);
        logged_in
            .and_then(|logged_in| if self.is_closed() { Err(ConnectError::closed()) } else { Ok(logged_in) })
    }

    /// Asks the server to cancel what a session's backend runs, and returns when the backend has been signalled.
    ///
    /// So no later statement can be hit. Fails after `connect_timeout` where nothing answers. After an error the request may still be
    /// on its way.
    pub(crate) async fn cancel(&self, token: &CancelToken, address: &Address) -> Result<(), ConnectError> {
        self.stats.count(Event::Cancel);
        let _span = Span::session("cancel", Some(&address.peer(namespace(&self.settings))));
        let (server, bound) = (&self.settings.server, self.connect_timeout());
        let cancelled = timeout(bound, cancel::cancel(token, address, server, &self.tls)).await;
        cancelled
            .unwrap_or(Err(Cause::TimedOut(bound)))
            .map_err(|cause| ConnectError::new(address.to_string(), cause))
    }

    /// The application's own steps in the life of a session.
    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// What is known and counted of the sessions and their statements.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
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

    pub(super) fn is_closed(&self) -> bool {
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
        let name = settings.name.map(|name| format!("/{name}")).unwrap_or_default();
        let pool = format!("{}/{namespace}{name}", servers(settings));
        // With several hosts a statement's is not known here.
        let (address, port) = match &*settings.server.hosts {
            [one] => (Some(one.host.to_string()), Some(one.port).filter(|port| *port != 5432)),
            _ => (None, None),
        };
        Some(Box::new(Metrics::new(&pool, namespace, address.as_deref(), port)) as _)
    };
    recorder
}
