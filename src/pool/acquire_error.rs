//! Why no session could be borrowed.

use std::error;
use std::fmt;
use std::time::Duration;

use crate::session::ConnectError;
use crate::text::Chain;

/// Why no session could be borrowed: the cause of an [`Error::Acquire`](crate::Error::Acquire), which a client sees as a 503 with
/// `Retry-After`.
///
/// `{err}` is the sentence for it; `{err:#}` and `{err:?}` append its causes, on one line.
///
/// ```
/// # use actix_pg::{Config, Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// use std::time::Duration;
///
/// use actix_pg::{AcquireError, Error};
///
/// let acquire_timeout = Duration::from_millis(50);
/// let config = Config { pool_min_size: 1, pool_max_size: 1, acquire_timeout, ..database.config() };
/// let db = Database::connect(config).await?;
/// let busy = db.connection();
/// busy.query("SELECT 1", &[]).await?; // the only session
///
/// let err = db.connection().query("SELECT 1", &[]).await.unwrap_err();
/// assert!(matches!(err, Error::Acquire(AcquireError::TimedOut { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum AcquireError {
    /// No session became free within `acquire_timeout`. That bounds the wait in the queue, for a login, and for the check of a
    /// session that has idled, together.
    #[non_exhaustive]
    TimedOut {
        /// How long was waited: the option of that name.
        acquire_timeout: Duration,
        /// The latest failure to open a session, if there was one.
        cause: Option<ConnectError>,
    },
    /// As many requests as `max_waiting` allows were waiting already. Said at once.
    #[non_exhaustive]
    QueueFull {
        /// How many may wait: the option of that name.
        max_waiting: u32,
    },
    /// The pool is overloaded: this has waited for more than twice `queue_target`, and for a whole `queue_interval` everybody has
    /// waited for more than `queue_target`. Said as soon as that is so.
    #[non_exhaustive]
    Overloaded {
        /// The option of that name.
        queue_target: Duration,
    },
    /// No session is alive, and none can be opened: the server is down or refuses the login. Said at once, for as long as that
    /// is so.
    Unavailable(ConnectError),
    /// [`Database::close`](crate::Database::close) has been called.
    DatabaseClosed,
    /// The session of a sandbox was lost, or left its transaction.
    SandboxLost,
    /// The runtime that called [`Database::connect`](crate::Database::connect), and drives the sessions, has stopped.
    HomeStopped,
}

impl fmt::Debug for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self).write(f)
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return Chain(self).write(f);
        }
        match self {
            Self::TimedOut { acquire_timeout, cause: None } => {
                write!(
                    f,
                    "no session became free within {acquire_timeout:?} (`acquire_timeout`): all were in use, or did not answer"
                )
            }
            Self::TimedOut { acquire_timeout, .. } => {
                write!(
                    f,
                    "no session became free within {acquire_timeout:?} (`acquire_timeout`), and none could be opened"
                )
            }
            Self::QueueFull { max_waiting } => {
                write!(f, "all sessions are in use and {max_waiting} requests wait already (`max_waiting`)")
            }
            Self::Overloaded { queue_target } => {
                write!(
                    f,
                    "the pool is overloaded: every request waits for more than {queue_target:?} (`queue_target`)"
                )
            }
            Self::Unavailable(_) => write!(f, "no session is alive and none can be opened"),
            Self::DatabaseClosed => write!(f, "the database has been closed"),
            Self::SandboxLost => {
                write!(f, "the session of the sandbox was lost, or has left its transaction")
            }
            Self::HomeStopped => {
                write!(
                    f,
                    "the runtime that called `Database::connect` has stopped; keep it running for as long as the workers"
                )
            }
        }
    }
}

impl error::Error for AcquireError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unavailable(err) | Self::TimedOut { cause: Some(err), .. } => Some(err),
            _ => None,
        }
    }
}
