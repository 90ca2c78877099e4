//! What an option is when nobody says otherwise, and why.

use std::time::Duration;

/// The reference's; whoever runs a server on his own machine needs no configuration at all.
pub const HOST: &str = "localhost";
/// PostgreSQL's own.
pub const PORT: u16 = 5432;
/// PostgreSQL's own superuser, as in the reference.
pub const USER: &str = "postgres";
/// The database that every server has, as in the reference.
pub const DATABASE: &str = "postgres";
/// The driver that this crate is built on.
pub const DRIVER: &str = "tokio-postgres";

/// The reference's: enough that a burst after a pause does not have to log in first.
pub const POOL_MIN_SIZE: u32 = 5;
/// The reference's; PostgreSQL serves few sessions better than many.
pub const POOL_MAX_SIZE: u32 = 10;

/// The reference's: one attempt in all, so that a wrong host is known at once.
pub const RETRY_LIMIT: u32 = 1;
/// The reference's; a server that is starting up takes a few of these.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A third of [`ACQUIRE_TIMEOUT`], so that whoever waits still hears why, and a second host gets
/// its turn.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as browsers and proxies are patient; the reference waits for ever.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// The reference's; also below the 350 s and 4 min after which cloud load balancers forget a silent
/// connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Lets a pool drift to servers and addresses that came later, and bounds what a backend's memory
/// grows to.
pub const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Under load no session is idle so long; and keepalive needs this long to begin asking, so that
/// until then a check is the only way to notice that a server is gone.
pub const TEST_AFTER_IDLE: Duration = Duration::from_secs(30);

/// The reference's.
pub const STATEMENT_CACHE_SIZE: u32 = 100;
/// A reset takes a millisecond; a server that needs thousands of them is ill, and its session
/// better discarded.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(5);
/// What Actix Web grants its own workers at a graceful stop.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// With the two below, a server that vanished silently is noticed within a minute, instead of the
/// operating system's two hours; the messages cost nothing.
pub const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
/// See [`KEEPALIVES_IDLE`].
pub const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);
/// See [`KEEPALIVES_IDLE`]; three, because one or two may be lost on the way.
pub const KEEPALIVES_COUNT: u32 = 3;
/// What a statement was sent with goes unacknowledged no longer than three keepalives do. A
/// statement that runs for hours is not touched: its arrival was acknowledged.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
