//! A [`Config`](super::Config) after its check, in the form in which the rest of the crate reads it.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Echo, OptionSource, OwnWrites, Pooler, RequireAuth, Reset, SslMode, TargetSessionAttrs, defaults,
};
use crate::tokio_postgres;
use crate::tokio_postgres::config::SslNegotiation;

/// All options; made by [`Config::settings`](super::Config).
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) server: ServerSettings,
    pub(crate) pool: PoolSettings,
    pub(crate) start: StartSettings,
    pub(crate) session: SessionSettings,
    pub(crate) shared_reads: SharedReadSettings,
    /// `None` if the writer serves the reads.
    pub(crate) reader: Option<ReaderSettings>,
    pub(crate) warnings: WarningSettings,
    pub(crate) use_connection_for_request: bool,
    /// The name of the pool, if it is none of the application's.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only the metrics know a pool so early"))]
    pub(crate) name: Option<&'static str>,
}

/// The options of connecting: where the server is, and how it is talked to.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    /// Tried in this order, or in a random one with `load_balance_hosts`.
    pub(crate) hosts: Vec<Server>,
    pub(crate) load_balance_hosts: bool,
    pub(crate) target_session_attrs: TargetSessionAttrs,
    /// User, password, database, start-up options, channel binding; no host, no ssl mode.
    pub(crate) driver: tokio_postgres::Config,
    /// Where to look for a password if `driver` has none. `session` reads it at each login.
    pub(crate) passfile: Option<PathBuf>,
    /// The ways in which the server may ask who logs in; `None` for all.
    pub(crate) require_auth: Option<Arc<RequireAuth>>,
    /// `session` reads its files before anything is connected.
    pub(crate) ssl: Ssl,
    /// Bounds one attempt at one address: TCP, TLS and login together, for the first also the look-up of the name.
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) tcp_user_timeout: Option<Duration>,
}

/// One host of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: Host,
    /// The address to connect to without asking DNS. `host` is still the name that the certificate has to bear.
    pub(crate) hostaddr: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Server {
    /// Whether it runs on this machine, reached over loopback or a Unix-domain socket.
    pub(super) fn is_local(&self) -> bool {
        match (&self.host, self.hostaddr) {
            (Host::Unix(_), _) => true,
            (Host::Tcp(_), Some(address)) => address.is_loopback(),
            (Host::Tcp(name), None) => match name.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => name.eq_ignore_ascii_case("localhost"),
            },
        }
    }
}

/// A name or an address, or the directory of a Unix-domain socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Tcp(String),
    Unix(PathBuf),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(name) => f.write_str(name),
            Self::Unix(directory) => directory.display().fmt(f),
        }
    }
}

/// The options of encryption.
#[derive(Clone)]
pub(crate) struct Ssl {
    pub(crate) mode: SslMode,
    /// The place where the mode was given.
    pub(crate) source: OptionSource,
    /// The certificates that vouch for that of the server. `None` means those of the system.
    pub(crate) root: Option<PemFile>,
    /// The certificate and the key that prove to the server who the client is.
    pub(crate) client: Option<(PemFile, PemFile)>,
    pub(crate) negotiation: SslNegotiation,
    /// Whether every host is this machine, where nobody can listen in between.
    #[cfg_attr(
        feature = "rustls-no-provider",
        allow(dead_code, reason = "only who cannot encrypt has to warn")
    )]
    pub(crate) is_local: bool,
}

/// A file with certificates or a key, with the place where it was named.
#[derive(Debug, Clone)]
pub(crate) struct PemFile {
    pub(crate) path: PathBuf,
    pub(crate) source: OptionSource,
}

/// Leaves out where the mode was given, so that what asks for the same looks the same.
impl fmt::Debug for Ssl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, source: _, root, client, negotiation, is_local: _ } = self;
        f.debug_struct("Ssl")
            .field("mode", mode)
            .field("root", root)
            .field("client", client)
            .field("negotiation", negotiation)
            .finish_non_exhaustive()
    }
}

/// TCP keepalive; `None` leaves a value to the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) idle: Duration,
    pub(crate) interval: Option<Duration>,
    pub(crate) retries: Option<u32>,
}

/// The options of the pool: who gets a session, and how long sessions live.
#[derive(Debug, Clone)]
pub(crate) struct PoolSettings {
    pub(crate) min_size: u32,
    pub(crate) max_size: u32,
    pub(crate) acquire_timeout: Duration,
    /// `None` means no limit.
    pub(crate) max_waiting: Option<u32>,
    /// `None` means that nobody is refused for having waited too long.
    pub(crate) queue_target: Option<Duration>,
    pub(crate) queue_interval: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) test_after_idle: Duration,
    pub(crate) close_timeout: Duration,
}

/// The options of the start.
#[derive(Debug, Clone)]
pub(crate) struct StartSettings {
    /// Attempts in all, at least 1.
    pub(crate) retry_limit: u32,
    pub(crate) retry_interval: Duration,
}

/// The options of a session.
#[derive(Debug, Clone)]
pub(crate) struct SessionSettings {
    /// Zero means no cache.
    pub(crate) statement_cache_size: usize,
    pub(crate) command_timeout: Option<Duration>,
    pub(crate) reset: Reset,
    /// Bounds a reset, and the repair after an abandoned statement.
    pub(crate) reset_timeout: Duration,
    pub(crate) echo: Echo,
    pub(crate) pooler: Pooler,
    /// SQL that a pooler makes necessary after a login and behind a reset. Empty without one.
    pub(crate) restore: Box<str>,
    /// SQL that returns the name of a start-up setting that is not in force. Empty with a pooler, or without such settings.
    pub(crate) not_in_force: Box<str>,
}

impl SessionSettings {
    /// How many texts' types are kept for all sessions together. `None` where each session keeps its statements.
    pub(crate) fn known_texts(&self) -> Option<NonZeroUsize> {
        match NonZeroUsize::new(self.statement_cache_size) {
            Some(size) => (self.pooler == Pooler::Transaction).then_some(size),
            None => Some(defaults::KNOWN_TEXTS),
        }
    }
}

/// The options of shared reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedReadSettings {
    /// So many sessions of each worker. Zero shares none.
    pub(crate) sessions: u32,
    /// What takes longer has a session of its own.
    pub(crate) slow: Duration,
    /// What returns so many rows has a session of its own.
    pub(crate) large: u64,
}

/// The options of the reader: where the standbys are, how far they may be behind, and who reads what it has written.
#[derive(Debug, Clone)]
pub(crate) struct ReaderSettings {
    pub(crate) server: ServerSettings,
    /// `None` means no bound.
    pub(crate) max_lag: Option<Duration>,
    pub(crate) own_writes: OwnWrites,
}

/// What is worth a warning. `None` means never.
#[derive(Debug, Clone)]
pub(crate) struct WarningSettings {
    pub(crate) slow_statement: Option<Duration>,
    pub(crate) slow_acquire: Option<Duration>,
    pub(crate) long_hold: Option<Duration>,
    pub(crate) repeated_statement: Option<u32>,
}

impl WarningSettings {
    /// Whether a warning may have to name the route of a request.
    pub(crate) fn any(&self) -> bool {
        let Self { slow_statement, slow_acquire, long_hold, repeated_statement } = self;
        slow_statement.is_some()
            || slow_acquire.is_some()
            || long_hold.is_some()
            || repeated_statement.is_some()
    }
}
