//! The options of an application.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::names::with_options;
use super::value::{FromValue, Value};
use super::{Echo, IsolationLevel, Reset, SslMode, defaults};

/// What an application asks of its database.
///
/// Made from the environment, a DSN, any format that serde reads, or by hand:
///
/// ```no_run
/// use actix_pg::Config;
///
/// # fn main() -> Result<(), actix_pg::ConfigError> {
/// let from_env = Config::from_env()?;
/// let from_dsn = Config::from_dsn("postgres://alice@db.example.com/shop?connect_timeout=3")?;
/// let by_hand = Config { host: "db.example.com".into(), pool_max_size: 20, ..Config::default() };
/// # Ok(())
/// # }
/// ```
///
/// The page [`options`](crate::options) has every option with its default, unit, and name in the
/// environment.
///
/// Deserializing accepts durations as seconds (`30`, `0.5`) or text (`"500ms"`, `"5m"`), and
/// numbers and booleans as text too. A key that is no option has to be a driver parameter and goes
/// to [`driver_options`](Self::driver_options). Every option is applied or refused: a name that
/// nobody knows, a wrong type or a value out of range is a [`ConfigError`] that names it, before
/// any connection is tried.
///
/// `Debug` shows neither the password nor the one within the DSN.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `tokio-postgres`, the only driver there is. The reference's `asyncpg` and a URL's
    /// `postgres` and `postgresql` are accepted in its stead.
    /// Defaults to [`DRIVER`](defaults::DRIVER).
    pub driver: String,
    /// Name or address, several of them separated by commas, or the directory of a Unix-domain
    /// socket.
    /// Defaults to [`HOST`](defaults::HOST).
    pub host: String,
    /// The port at each host.
    /// Defaults to [`PORT`](defaults::PORT).
    pub port: u16,
    /// Who logs in.
    /// Defaults to [`USER`](defaults::USER).
    pub user: String,
    /// What `user` proves it with; empty for none.
    pub password: String,
    /// Where `user` works.
    /// Defaults to [`DATABASE`](defaults::DATABASE).
    pub database: String,
    /// `postgres://user:password@host:port/database?parameter=value`, or libpq's `key=value`.
    ///
    /// Replaces the six options above. A driver parameter that is given here and as an option is
    /// taken from the option.
    pub dsn: Option<String>,
    /// Keeps at least this many sessions open, lent or idle. Defaults to [`POOL_MIN_SIZE`](defaults::POOL_MIN_SIZE).
    pub pool_min_size: u32,
    /// Opens no more sessions than this, as the server counts them. Defaults to
    /// [`POOL_MAX_SIZE`](defaults::POOL_MAX_SIZE).
    pub pool_max_size: u32,
    /// What is logged of each statement, at INFO. Defaults to nothing.
    pub echo: Echo,
    /// Encryption. `None` is what the DSN says, else [`SslMode::Prefer`].
    pub ssl: Option<SslMode>,
    /// Whether the middleware puts a lazy connection on each request. Defaults to `true`.
    pub use_connection_for_request: bool,
    /// How often a start is tried, in all.
    /// Defaults to [`RETRY_LIMIT`](defaults::RETRY_LIMIT).
    pub retry_limit: u32,
    /// How long a start pauses between two attempts.
    /// Defaults to [`RETRY_INTERVAL`](defaults::RETRY_INTERVAL).
    pub retry_interval: Duration,
    /// Bound on one attempt at one address: TCP, TLS and login together, and at the first address of a name its look-up too.
    /// Defaults to [`CONNECT_TIMEOUT`](defaults::CONNECT_TIMEOUT).
    pub connect_timeout: Duration,
    /// Bound on the wait for a session: in the queue, for a login and for the check of one that has idled, together. Past it, the
    /// request is answered 503.
    /// Defaults to [`ACQUIRE_TIMEOUT`](defaults::ACQUIRE_TIMEOUT).
    pub acquire_timeout: Duration,
    /// How many may wait for a session, beyond those for whom one can be opened; one more is answered 503 at once. `None` is no
    /// limit.
    pub max_waiting: Option<u32>,
    /// A session that was idle this long is closed, unless it belongs to the `pool_min_size`. `None` or zero is never.
    /// Defaults to [`IDLE_TIMEOUT`](defaults::IDLE_TIMEOUT).
    pub idle_timeout: Option<Duration>,
    /// A session this old is closed and replaced, at once if it is idle, else when it comes back. Each has up to a tenth less, so
    /// that they do not end together. `None` or zero is never.
    /// Defaults to [`MAX_LIFETIME`](defaults::MAX_LIFETIME).
    pub max_lifetime: Option<Duration>,
    /// A session that was idle longer is checked by a round trip before it is lent. Zero checks
    /// each time.
    /// Defaults to [`TEST_AFTER_IDLE`](defaults::TEST_AFTER_IDLE).
    pub test_after_idle: Duration,
    /// How many prepared statements a session keeps. Zero keeps none.
    /// Defaults to [`STATEMENT_CACHE_SIZE`](defaults::STATEMENT_CACHE_SIZE).
    pub statement_cache_size: u32,
    /// When a session is reset at its return. Defaults to [`Reset::Auto`].
    pub reset: Reset,
    /// Bound on a reset, and on the repair after an abandoned statement; past it, the session is
    /// discarded.
    /// Defaults to [`RESET_TIMEOUT`](defaults::RESET_TIMEOUT).
    pub reset_timeout: Duration,
    /// How long closing waits for the sessions in use. Zero does not wait.
    /// Defaults to [`CLOSE_TIMEOUT`](defaults::CLOSE_TIMEOUT).
    pub close_timeout: Duration,
    /// Bound on a statement, kept by the client, which then cancels it on the server. `None` or
    /// zero is none.
    pub command_timeout: Option<Duration>,
    /// Bound on a statement, kept by the server. `None` or zero leaves it to the server's own
    /// setting.
    pub statement_timeout: Option<Duration>,
    /// Isolation of transactions that do not name theirs. `None` leaves it to the server's own
    /// setting.
    pub isolation_level: Option<IsolationLevel>,
    /// Server settings of every session, such as `search_path`. They survive a reset.
    pub server_settings: BTreeMap<String, String>,
    /// How the sessions call themselves in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Any further key: libpq's parameters `channel_binding`, `hostaddr`, `keepalives`,
    /// `keepalives_idle`, `keepalives_interval`, `keepalives_count` (or `keepalives_retries`),
    /// `load_balance_hosts`, `options`, `sslcert`, `sslkey`, `sslmode`, `sslnegotiation`,
    /// `sslrootcert`, `target_session_attrs`, `tcp_user_timeout`.
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
