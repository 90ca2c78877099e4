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
        /// The type that [names](crate::Database::named) the database.
        database: Option<&'static str>,
    },
    /// As many requests as `max_waiting` allows were waiting already. Returned at once.
    #[non_exhaustive]
    QueueFull {
        /// How many may wait: the option of that name.
        max_waiting: u32,
        /// The type that [names](crate::Database::named) the database.
        database: Option<&'static str>,
    },
    /// The pool is overloaded: this has waited for more than twice `queue_target`, and for a whole `queue_interval` every request that was
    /// served had waited for more than `queue_target`.
    #[non_exhaustive]
    Overloaded {
        /// The option of that name.
        queue_target: Duration,
        /// The type that [names](crate::Database::named) the database.
        database: Option<&'static str>,
    },
    /// No session is alive, and none can be opened: the server is down or refuses the login. Returned at once, for as long as that
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
            Self::TimedOut { acquire_timeout, cause, database } => {
                let why = match cause {
                    None => ": all were in use, or did not answer",
                    Some(_) => ", and none could be opened",
                };
                let of = Of(*database);
                write!(f, "no session{of} became free within {acquire_timeout:?} (`acquire_timeout`){why}")
            }
            Self::QueueFull { max_waiting, database } => {
                let of = Of(*database);
                write!(
                    f,
                    "all sessions{of} are in use and {max_waiting} requests wait already (`max_waiting`)"
                )
            }
            Self::Overloaded { queue_target, database } => {
                let of = Of(*database);
                write!(
                    f,
                    "the pool{of} is overloaded: every request waits for more than {queue_target:?} (`queue_target`)"
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

/// Which database, if it has a name.
struct Of(Option<&'static str>);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, " of the database `{name}`"))
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
