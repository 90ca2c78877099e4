//! Why no session could be borrowed.

use std::error;
use std::fmt;
use std::time::Duration;

use crate::session::ConnectError;
use crate::text::Chain;

/// Why no session could be borrowed.
///
/// `{err:#}` and `{err:?}` are the sentence with its causes, on one line.
#[derive(Clone)]
#[non_exhaustive]
pub enum AcquireError {
    /// None became free within `acquire_timeout`, which bounds the queue, the login and the check of an idle session together;
    /// and none could be opened, if there is a `cause`.
    TimedOut {
        /// The option.
        acquire_timeout: Duration,
        /// The latest failure to open a session.
        cause: Option<ConnectError>,
    },
    /// `max_waiting` requests wait already.
    QueueFull {
        /// The option.
        max_waiting: u32,
    },
    /// No session is alive, and none can be opened: said at once, for as long as that is so.
    Unavailable(ConnectError),
    /// [`Database::close`](crate::Database::close) has been called.
    DatabaseClosed,
    /// The session of a sandbox was lost, or broke out of its transaction.
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
