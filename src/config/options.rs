//! The options of an application, and how each is set and shown by its name.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::names::with_options;
use super::value::{FromValue, Value};
use super::{Echo, IsolationLevel, Pooler, ReadYourWrites, Reset, SslMode, defaults};

/// The options of an application: where its database is, how large the pool is, and how long things may take.
///
/// [`Database::connect`](crate::Database::connect) takes it. It is read [from the environment](Self::from_env),
/// [from a DSN](Self::from_dsn) or from any format of serde's, or written by hand:
///
/// ```
/// use actix_pg::Config;
///
/// let by_hand = Config { host: "db.example.com".into(), pool_max_size: 20, ..Default::default() };
/// let from_dsn: Config = "postgres://alice@db.example.com/shop?connect_timeout=3".parse()?;
/// # Ok::<(), actix_pg::ConfigError>(())
/// ```
///
/// The page [`options`](crate::options) lists every option with its default, its unit and its name in the environment.
///
/// # A literal ends with `..Default::default()`
///
/// A new option is a new field, and it may come with any release: that is no breaking change. So end every literal with
/// `..Default::default()`, and every pattern with `..`.
///
/// # Deserialization
///
/// A duration is a number of seconds (`30`, `0.5`) or text (`"500ms"`, `"5m"`). Numbers and booleans may be text, as they are in
/// the environment. A key that is no option has to be a driver parameter, and goes to [`driver_options`](Self::driver_options).
///
/// ```
/// let config: actix_pg::Config = serde_json::from_str(r#"{"pool_max_size": 20, "idle_timeout": "5m", "keepalives_idle": 20}"#)?;
/// assert_eq!(config.pool_max_size, 20);
/// assert_eq!(config.idle_timeout, Some(std::time::Duration::from_secs(300)));
/// assert_eq!(config.driver_options["keepalives_idle"], "20");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
///
/// An unknown name, a wrong type, an impossible value and two options that contradict each other are a
/// [`ConfigError`](crate::ConfigError) that names the option, before any connection is tried. Deserialization finds unknown names and wrong
/// types; the rest is checked by [`from_env`](Self::from_env), [`from_dsn`](Self::from_dsn) and
/// [`Database::connect`](crate::Database::connect). The page [`options`](crate::options) names the few that have no effect beside others.
///
/// `Debug` hides the passwords, those within a DSN too, and the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Names the driver. `tokio-postgres` is the only one; `asyncpg`, `postgres` and `postgresql` mean the same.
    /// Defaults to [`DRIVER`](defaults::DRIVER).
    pub driver: String,
    /// Names the server: a host name, an IP address, or the directory of a Unix-domain socket.
    ///
    /// Several, separated by commas, are tried in this order until one will do. A refused login ends the search.
    /// Defaults to [`HOST`](defaults::HOST).
    pub host: String,
    /// Sets the port at every host. Zero is refused. Defaults to [`PORT`](defaults::PORT).
    pub port: u16,
    /// Sets the role that logs in. Empty means the operating system's user that the process runs as.
    /// Defaults to [`USER`](defaults::USER).
    pub user: String,
    /// Sets the password of `user`. Empty, the default, means that there is none. It is never logged or shown.
    pub password: String,
    /// Sets the database to work in. Empty means the one that has the name of `user`.
    /// Defaults to [`DATABASE`](defaults::DATABASE).
    pub database: String,
    /// Replaces `driver`, `host`, `port`, `user`, `password` and `database`: a URL
    /// `postgres://user:password@host:port/database?parameter=value`, or libpq's pairs `key=value`. Defaults to `None`.
    ///
    /// A driver parameter that is given here and as an option is taken from the option.
    pub dsn: Option<String>,
    /// Keeps at least this many sessions open, lent or idle. Each occupies a backend of the server.
    ///
    /// At most `pool_max_size`. Defaults to [`POOL_MIN_SIZE`](defaults::POOL_MIN_SIZE).
    pub pool_min_size: u32,
    /// Opens no more sessions than this at any moment, as the server counts them. A request that needs one more waits for
    /// `acquire_timeout`.
    ///
    /// At least 1. Every process of an application has a pool of its own, so the server's `max_connections` has to allow for all
    /// of them. Defaults to [`POOL_MAX_SIZE`](defaults::POOL_MAX_SIZE).
    pub pool_max_size: u32,
    /// Logs each statement with its duration, at INFO, with or without its parameters. Defaults to [`Echo::Off`].
    pub echo: Echo,
    /// Sets whether the connection is encrypted, and how the server proves who it is. `None`, the default, takes the mode of the
    /// DSN, or [`SslMode::Prefer`] where it has none.
    pub ssl: Option<SslMode>,
    /// Puts a lazy [`Connection`](crate::Connection) on each request that passes the middleware. Defaults to `true`.
    ///
    /// With `false`, extracting one fails with [`Error::NoRequestConnection`](crate::Error::NoRequestConnection).
    pub use_connection_for_request: bool,
    /// Tries this many times in all to reach the database at the start. At least 1.
    ///
    /// An error that another attempt cannot cure, such as a wrong password, ends the start at once.
    /// Defaults to [`RETRY_LIMIT`](defaults::RETRY_LIMIT).
    pub retry_limit: u32,
    /// Waits this long between two attempts of a start. Zero does not wait.
    /// Defaults to [`RETRY_INTERVAL`](defaults::RETRY_INTERVAL).
    pub retry_interval: Duration,
    /// Bounds one attempt to connect to one address: TCP, TLS and login together, and the look-up of the name where it is its first
    /// address.
    ///
    /// Zero is refused. Defaults to [`CONNECT_TIMEOUT`](defaults::CONNECT_TIMEOUT).
    pub connect_timeout: Duration,
    /// Bounds the wait for a session as a whole: in the queue, for a login, and for the check of an idle session. Past it, the
    /// request is answered with 503.
    ///
    /// Zero is refused; `max_waiting = 0` lets no request wait. Defaults to [`ACQUIRE_TIMEOUT`](defaults::ACQUIRE_TIMEOUT).
    pub acquire_timeout: Duration,
    /// Lets at most this many requests wait for a session, beyond those for which one can be opened. One more is answered with 503
    /// at once. `None`, the default, sets no limit.
    pub max_waiting: Option<u32>,
    /// If for a whole [`queue_interval`](Self::queue_interval) every request that was served had waited longer than this, requests that
    /// have waited more than twice as long get a 503. `None`, the default, or zero never does.
    ///
    /// Time in which sessions are being opened does not count. 50 ms is the default of Elixir's DBConnection.
    pub queue_target: Option<Duration>,
    /// The interval that [`queue_target`](Self::queue_target) looks at.
    ///
    /// Zero is refused. Defaults to [`QUEUE_INTERVAL`](defaults::QUEUE_INTERVAL).
    pub queue_interval: Duration,
    /// Closes a session that was not used for this long, down to `pool_min_size` sessions. `None` or zero never does.
    /// Defaults to [`IDLE_TIMEOUT`](defaults::IDLE_TIMEOUT).
    pub idle_timeout: Option<Duration>,
    /// Closes a session that is this old and opens another in its place: at once if it is idle, else when it comes back.
    ///
    /// The bound of each session is up to a tenth shorter, so that those that were opened together do not end together. `None` or
    /// zero sets no bound. Defaults to [`MAX_LIFETIME`](defaults::MAX_LIFETIME).
    pub max_lifetime: Option<Duration>,
    /// Checks a session by one round trip before it is lent, if it has been idle for this long. Zero checks every time.
    /// Defaults to [`TEST_AFTER_IDLE`](defaults::TEST_AFTER_IDLE).
    pub test_after_idle: Duration,
    /// Keeps this many prepared statements on each session; the one that was used least recently makes room for the next.
    ///
    /// A statement that is kept costs one round trip instead of two, and memory of the backend. Zero keeps none.
    /// Defaults to [`STATEMENT_CACHE_SIZE`](defaults::STATEMENT_CACHE_SIZE).
    pub statement_cache_size: u32,
    /// Sets when a session is reset before it goes back to the pool. Defaults to [`Reset::Auto`].
    pub reset: Reset,
    /// Bounds a reset, and the repair of a session after an abandoned statement. Past it, the session is closed.
    ///
    /// Zero is refused. Defaults to [`RESET_TIMEOUT`](defaults::RESET_TIMEOUT).
    pub reset_timeout: Duration,
    /// Bounds how long [`Database::close`](crate::Database::close) waits for the sessions in use. Zero does not wait.
    /// Defaults to [`CLOSE_TIMEOUT`](defaults::CLOSE_TIMEOUT).
    pub close_timeout: Duration,
    /// Cancels a statement that has taken this long, counted by the client, which fails with
    /// [`Error::CommandTimeout`](crate::Error::CommandTimeout). `None`, the default, or zero sets no bound.
    pub command_timeout: Option<Duration>,
    /// Has the server cancel a statement that has taken this long, counted in whole milliseconds. `None`, the default, or zero
    /// leaves the server's own `statement_timeout`.
    pub statement_timeout: Option<Duration>,
    /// Sets the isolation of transactions that do not name theirs. `None`, the default, leaves the server's own
    /// `default_transaction_isolation`.
    pub isolation_level: Option<IsolationLevel>,
    /// Sets parameters of the server on every session, such as `search_path`. They survive a reset. Defaults to none.
    ///
    /// A bare number has the unit that the server gives to the parameter.
    pub server_settings: BTreeMap<String, String>,
    /// Sets the name that `pg_stat_activity` and the server's log show for the sessions. Defaults to `None`.
    pub application_name: Option<String>,
    /// Says what is between this and the server. Defaults to [`Pooler::None`].
    ///
    /// With [`Pooler::Transaction`] nothing of a session is relied on beyond a transaction, and what needs that is an
    /// [`Error::NeedsSession`](crate::Error::NeedsSession). A pooler in that mode that is not declared hands settings of one request to others.
    pub pooler: Pooler,
    /// Shares this many sessions of each worker: statements that only read, of requests that hold no session, are sent on them
    /// together. Zero shares none. Defaults to [`SHARED_READS`](defaults::SHARED_READS).
    ///
    /// [`guide::shared_reads`](crate::guide::shared_reads) says what is shared, and what that takes. Refused together with
    /// `reset = "always"`, and without a statement cache.
    pub shared_reads: u32,
    /// Runs a statement that takes longer than this, by a moving average of its recent runs, on a session of its own, and sends those
    /// behind it again elsewhere. Defaults to [`SHARED_READS_SLOW`](defaults::SHARED_READS_SLOW).
    pub shared_reads_slow: Duration,
    /// Runs a statement that returns at least this many rows on a session of its own. Zero is refused. Defaults to
    /// [`SHARED_READS_LARGE`](defaults::SHARED_READS_LARGE).
    pub shared_reads_large: u32,
    /// Serves a [`ReadConnection`](crate::ReadConnection) and [`Database::reader`](crate::Database::reader) on standbys:
    /// `prefer-standby` for those among the hosts, or a DSN that says where they are. What that does not say is as for the writer.
    /// `None`, the default, serves them as any other connection.
    ///
    /// [`guide::reader`](crate::guide::reader) says what holds.
    pub reader: Option<String>,
    /// Uses no standby that is further than this behind the primary, which then serves instead. At least 100 ms. `None`, the
    /// default, or zero sets no bound.
    ///
    /// The process asks the primary four times in this time, and once a second at least, on a connection of its own.
    pub reader_max_lag: Option<Duration>,
    /// Makes sure that a client reads what it has written in an earlier request. Defaults to [`ReadYourWrites::Off`]. Refused without `reader`.
    pub read_your_writes: ReadYourWrites,
    /// Signs the positions that clients bring back, with [`ReadYourWrites::Position`]. The same for all processes of the application, at
    /// least 32 characters, at random. Empty, the default, means that there is none. It is never logged or shown.
    pub read_your_writes_key: String,
    /// Warns of a statement that took this long. `None`, the default, or zero never does.
    ///
    /// This and the next three write one line of the log at WARN, which names the line of the application and the route.
    pub slow_statement: Option<Duration>,
    /// Warns of a request that has waited for a session for this long, while it still waits. `None`, the default, or zero never
    /// does.
    pub slow_acquire: Option<Duration>,
    /// Warns of a session that has been held for this long, while it still is, and logs its return at INFO. `None`, the
    /// default, or zero never does.
    pub long_hold: Option<Duration>,
    /// Warns of a request that runs the same statement this many times. `None`, the default, never does.
    pub repeated_statement: Option<u32>,
    /// Holds the driver parameters: libpq's `channel_binding`, `hostaddr`, `keepalives`, `keepalives_idle`, `keepalives_interval`,
    /// `keepalives_count` (or `keepalives_retries`), `load_balance_hosts`, `options`, `passfile`, `require_auth`, `sslcert`, `sslkey`, `sslmode`,
    /// `sslnegotiation`, `sslrootcert`, `target_session_attrs`, `tcp_user_timeout`. Defaults to none.
    ///
    /// Any other name is refused. [Driver parameters](crate::options#driver-parameters) has their meanings and defaults.
    pub driver_options: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            driver: defaults::DRIVER.into(),
            host: defaults::HOST.into(),
            port: defaults::PORT,
            user: defaults::USER.into(),
            password: String::new(),
            database: defaults::DATABASE.into(),
            dsn: None,
            pool_min_size: defaults::POOL_MIN_SIZE,
            pool_max_size: defaults::POOL_MAX_SIZE,
            echo: Echo::default(),
            ssl: None,
            use_connection_for_request: true,
            retry_limit: defaults::RETRY_LIMIT,
            retry_interval: defaults::RETRY_INTERVAL,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            acquire_timeout: defaults::ACQUIRE_TIMEOUT,
            max_waiting: None,
            queue_target: None,
            queue_interval: defaults::QUEUE_INTERVAL,
            idle_timeout: Some(defaults::IDLE_TIMEOUT),
            max_lifetime: Some(defaults::MAX_LIFETIME),
            test_after_idle: defaults::TEST_AFTER_IDLE,
            statement_cache_size: defaults::STATEMENT_CACHE_SIZE,
            reset: Reset::default(),
            reset_timeout: defaults::RESET_TIMEOUT,
            close_timeout: defaults::CLOSE_TIMEOUT,
            command_timeout: None,
            statement_timeout: None,
            isolation_level: None,
            server_settings: BTreeMap::new(),
            application_name: None,
            pooler: Pooler::default(),
            shared_reads: defaults::SHARED_READS,
            shared_reads_slow: defaults::SHARED_READS_SLOW,
            shared_reads_large: defaults::SHARED_READS_LARGE,
            reader: None,
            reader_max_lag: None,
            read_your_writes: ReadYourWrites::default(),
            read_your_writes_key: String::new(),
            slow_statement: None,
            slow_acquire: None,
            long_hold: None,
            repeated_statement: None,
            driver_options: BTreeMap::new(),
        }
    }
}

/// Reads and shows every option by its name. A field that [`with_options`] does not list does not compile.
macro_rules! options {
    ($($name:ident)*) => {
        impl Config {
            /// Sets the option of that name.
            ///
            /// `None` if there is no such option; an error is the rest of a sentence that begins with its name.
            pub(super) fn set_option(&mut self, name: &str, value: Value) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($name) => Some(FromValue::from_value(value).map(|value| self.$name = value)),)*
                    _ => None,
                }
            }

            /// Shows every field as it is, passwords too: for a copy that hides them.
            pub(super) fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($name,)* driver_options } = self;
                let mut debug = f.debug_struct("Config");
                $(debug.field(stringify!($name), $name);)*
                debug.field("driver_options", driver_options).finish()
            }
        }
    };
}

with_options!(options);
