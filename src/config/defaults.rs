//! The value of each option when nobody sets it, with the reason for it.
//!
//! A doc names the projects that have the same default, so that a reader can check it, or says what the number follows from.

use std::num::NonZeroUsize;
use std::time::Duration;

/// This machine: a server on it needs no configuration. The default of gino-starlette.
pub const HOST: &str = "localhost";
/// The port that IANA has registered for PostgreSQL, and the default of its server.
pub const PORT: u16 = 5432;
/// The superuser that most packages of PostgreSQL create. The default of gino-starlette.
pub const USER: &str = "postgres";
/// The database that `initdb` creates for users and tools. The default of gino-starlette.
pub const DATABASE: &str = "postgres";
/// The driver that this crate is built on.
pub const DRIVER: &str = "tokio-postgres";

/// Half of [`POOL_MAX_SIZE`]: a burst of requests after a quiet time finds sessions that have logged in already. The default of
/// gino-starlette.
pub const POOL_MIN_SIZE: u32 = 5;
/// The default of asyncpg, bb8 and sqlx. Nine processes with it fit a server with PostgreSQL's defaults: `max_connections = 100`,
/// three of which are reserved for superusers.
pub const POOL_MAX_SIZE: u32 = 10;

/// One attempt, so that a wrong host fails the start at once. The default of gino-starlette. Raise it where the application may
/// start before its server.
pub const RETRY_LIMIT: u32 = 1;
/// The default of gino-starlette.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A third of [`ACQUIRE_TIMEOUT`], so that a request that waits can outlast two hosts that do not answer. Linux sends a lost SYN
/// packet again at least three times within it (after 1, 3 and 7 seconds).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of bb8 and sqlx. asyncpg waits without a bound.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// The default of Elixir's DBConnection. Long beside a burst, and short beside an overload.
pub const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// The default of asyncpg (`max_inactive_connection_lifetime`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The default of bb8 and sqlx. It bounds the memory that the caches of a backend grow to, and moves the pool to servers that a
/// name has pointed to since.
pub const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// As long as [`KEEPALIVES_IDLE`]. The system sends no keepalive before, so nothing else can have noticed that the server is gone.
pub const TEST_AFTER_IDLE: Duration = Duration::from_secs(30);

/// The default of asyncpg and sqlx.
pub const STATEMENT_CACHE_SIZE: u32 = 100;
/// With [`STATEMENT_CACHE_SIZE`] set to zero, the types of so many texts are kept, for all sessions together: as many as ten sessions with
/// the default keep statements.
pub(crate) const KNOWN_TEXTS: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");
/// A reset is one round trip. A server that needs seconds for it is overloaded or gone, and opening another session is cheaper.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as Actix Web waits for its workers at a graceful stop (`HttpServer::shutdown_timeout`).
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Off: what a view or a policy does is not in the statement's text, so the application has to know it.
pub const SHARED_READS: u32 = 0;
/// A hundred times what a look-up by key takes, and well below what somebody notices.
pub const SHARED_READS_SLOW: Duration = Duration::from_millis(5);
/// About as many rows as a server sends within [`SHARED_READS_SLOW`].
pub const SHARED_READS_LARGE: u32 = 1000;

/// Well below the 240 seconds after which the load balancers of Azure forget a silent connection, and the 350 seconds of AWS.
///
/// With [`KEEPALIVES_INTERVAL`] and [`KEEPALIVES_COUNT`], a server that vanished is noticed after 30 + 3 × 10 = 60 seconds. With the
/// defaults of Linux that takes 7200 + 9 × 75 seconds, more than two hours.
pub const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
/// See [`KEEPALIVES_IDLE`].
pub const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);
/// Two messages may be lost on the way. See [`KEEPALIVES_IDLE`].
pub const KEEPALIVES_COUNT: u32 = 3;
/// [`KEEPALIVES_COUNT`] times [`KEEPALIVES_INTERVAL`]: data that was sent goes unacknowledged as long as keepalives do. A statement
/// that runs for hours is not affected, because its arrival was acknowledged.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
