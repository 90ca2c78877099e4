//! Why a session could not be opened, and whether it is worth another attempt.

use std::error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::hooks::HookFailed;
use crate::postgres_error::PostgresError;
use crate::text::{Chain, Escaped, Told};
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, SqlState};

/// Why no session could be opened: the address that was tried last, and its cause as [`source`](error::Error::source).
///
/// It stands behind [`Error::Connect`](crate::Error::Connect) at the start and behind
/// [`AcquireError::Unavailable`](crate::AcquireError::Unavailable) later on. `{err}` names the address, `{err:#}` and `{err:?}`
/// append the cause, on one line. Causes are: nothing listens there, no route, a name that does not resolve, `connect_timeout`, a
/// TLS handshake that fails, a refusal of the server ([`postgres`](Self::postgres)), a password source that fails, or no server that is what
/// `target_session_attrs` asks for.
///
/// ```
/// use actix_pg::{Config, Database, Error};
///
/// # #[actix_web::main]
/// # async fn main() {
/// let config = Config { host: "127.0.0.1".into(), port: 1, ..Config::default() };
/// let Err(Error::Connect(err)) = Database::connect(config).await else { panic!("nothing listens there") };
/// assert_eq!(err.to_string(), "cannot connect to 127.0.0.1:1");
/// assert!(!err.is_final()); // it may come up: worth another attempt
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectError(Arc<Failed>);

struct Failed {
    server: String,
    cause: Cause,
}

pub(crate) enum Cause {
    Io(io::ErrorKind, Told),
    Postgres(PostgresError),
    TimedOut(Duration),
    NoAddress,
    WrongTarget,
    /// One of the hosts is not what is wanted, and no other will do.
    NoneFits,
    /// A standby has not got what the primary had so long ago.
    TooFarBehind(Duration),
    Interrupted,
    /// The application's source of passwords has given none.
    Password(Told),
    /// The hook after the login panicked or was late.
    Hook,
    /// A start-up parameter did not arrive: the setting of this name is not in force.
    Dropped(String),
    Closed,
}

impl ConnectError {
    pub(crate) fn new(server: String, cause: Cause) -> Self {
        Self(Arc::new(Failed { server, cause }))
    }

    pub(crate) fn closed() -> Self {
        Self::new("the server".into(), Cause::Closed)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new("the server".into(), Cause::Interrupted)
    }

    /// Whether the server did not answer in time.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self.0.cause, Cause::TimedOut(_))
    }

    /// Whether the server is not what `target_session_attrs` asks for.
    pub(super) fn is_wrong_target(&self) -> bool {
        matches!(self.0.cause, Cause::WrongTarget | Cause::NoneFits)
    }

    /// Whether another host had better be tried first for some time.
    pub(super) fn speaks_against_host(&self) -> bool {
        matches!(self.0.cause, Cause::TimedOut(_) | Cause::WrongTarget)
    }

    /// Whether a server has answered with a refusal that is not for this moment only (57P03).
    pub(crate) fn is_refusal(&self) -> bool {
        self.0.cause.is_refusal()
    }

    /// Whether the server refused who logs in: class 28.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.code().is_some_and(|code| code.code().starts_with("28"))
    }

    /// Returns what the server or the driver said, if the connection came so far.
    pub fn postgres(&self) -> Option<&PostgresError> {
        match &self.0.cause {
            Cause::Postgres(err) => Some(err),
            _ => None,
        }
    }

    /// Returns everything that the server said, if it was the server that refused.
    pub fn as_db_error(&self) -> Option<&DbError> {
        self.postgres().and_then(PostgresError::as_db_error)
    }

    /// Returns the SQLSTATE of the refusal, if it was the server that refused: 28P01 for a wrong password, 3D000 for a database
    /// that does not exist, 53300 for too many connections.
    pub fn code(&self) -> Option<&SqlState> {
        self.as_db_error().map(DbError::code)
    }

    /// Whether another attempt with the same configuration has to fail as well. [`Database::connect`](crate::Database::connect)
    /// does not retry then.
    ///
    /// | refusal | final |
    /// |---|---|
    /// | nothing listens, no route, a time-out, a name that does not resolve (yet) | no |
    /// | the [password source](crate::DatabaseBuilder::password_source) fails | no |
    /// | 57P03 the server is starting up or shutting down, 53300 too many connections, 57P01 … 57P02 | no |
    /// | class 28: wrong password, unknown role, no line in `pg_hba.conf` | yes |
    /// | 3D000 no such database, 42501 no right to connect, 42704 and class 22: a wrong setting | yes |
    /// | TLS is asked for and the server has none, or its certificate does not fit | yes |
    /// | a pooler refuses start-up parameters (08P01) or drops them ([`pooler`](crate::Config::pooler)) | yes |
    pub fn is_final(&self) -> bool {
        match &self.0.cause {
            Cause::Postgres(err) => match err.code() {
                Some(code) => {
                    let is_final = |class: &&str| code.code().starts_with(*class);
                    ["28", "22", "3D", "42", "0A"].iter().any(is_final) || is_of_pooler(err)
                }
                None => !is_transport(err.driver()),
            },
            Cause::Io(kind, _) => *kind == io::ErrorKind::InvalidInput,
            Cause::TimedOut(_)
            | Cause::NoAddress
            | Cause::WrongTarget
            | Cause::NoneFits
            | Cause::TooFarBehind(_)
            | Cause::Interrupted
            | Cause::Password(_)
            | Cause::Hook => false,
            Cause::Closed | Cause::Dropped(_) => true,
        }
    }
}

impl Cause {
    /// Whether the next host need not be tried: a server has answered with a refusal that is not for this moment only (57P03), or
    /// there is no password.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Password(_) | Self::Dropped(_) => true,
            Self::Postgres(err) => match err.code() {
                Some(code) => *code != SqlState::CANNOT_CONNECT_NOW,
                None => !is_transport(err.driver()),
            },
            _ => false,
        }
    }

    /// Whether another password may help: 28P01, and 28000 as of a server that asks somebody else about it.
    pub(super) fn is_password_refused(&self) -> bool {
        let Self::Postgres(err) = self else { return false };
        let refusals = [&SqlState::INVALID_PASSWORD, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
        err.code().is_some_and(|code| refusals.contains(&code))
    }
}

impl From<HookFailed> for Cause {
    fn from(failed: HookFailed) -> Self {
        match failed {
            HookFailed::Postgres(err) => err.into(),
            HookFailed::Interrupted => Self::Hook,
        }
    }
}

impl From<io::Error> for Cause {
    fn from(err: io::Error) -> Self {
        Self::Io(err.kind(), Told::of(&err))
    }
}

impl From<tokio_postgres::Error> for Cause {
    /// No client has a say in a login: the values are the operator's.
    fn from(err: tokio_postgres::Error) -> Self {
        Self::Postgres(PostgresError::from(err).with_values())
    }
}

/// Whether the stream failed, rather than what was said over it.
fn is_transport(err: &tokio_postgres::Error) -> bool {
    let io = error::Error::source(err).and_then(|cause| cause.downcast_ref::<io::Error>());
    err.is_closed() || io.is_some_and(|io| io.kind() != io::ErrorKind::InvalidData)
}

/// PgBouncer knows a handful of start-up parameters, and refuses the others unless it is told to drop them.
fn is_of_pooler(err: &PostgresError) -> bool {
    err.code() == Some(&SqlState::PROTOCOL_VIOLATION)
        && err.message().starts_with("unsupported startup parameter")
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self).write(f)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return Chain(self).write(f);
        }
        let server = Escaped(&self.0.server);
        match &self.0.cause {
            Cause::TimedOut(bound) => {
                write!(f, "{server} did not answer within {bound:?} (`connect_timeout`)")
            }
            Cause::NoAddress => write!(f, "the server's name has no address"),
            Cause::WrongTarget => write!(f, "{server} is not what `target_session_attrs` asks for"),
            Cause::Password(_) => write!(f, "no password for {server}"),
            Cause::NoneFits => write!(f, "none of {server} is what `target_session_attrs` asks for"),
            Cause::TooFarBehind(most) => {
                write!(f, "{server} is more than {most:?} behind the primary (`reader_max_lag`)")
            }
            Cause::Interrupted => write!(f, "a panic interrupted the login"),
            Cause::Hook => {
                write!(f, "the hook after the login panicked, or took longer than `reset_timeout`")
            }
            Cause::Closed => write!(f, "the database has been closed"),
            Cause::Dropped(setting) => {
                let setting = Escaped(setting);
                write!(
                    f,
                    "{server} has not got the setting `{setting}`: a pooler drops start-up parameters (set `pooler` to its mode), or the login may not set it"
                )
            }
            Cause::Postgres(err) if is_of_pooler(err) => {
                write!(
                    f,
                    "{server} is a pooler that passes no start-up parameters on: set `pooler` to its mode"
                )
            }
            Cause::Io(..) | Cause::Postgres(_) => write!(f, "cannot connect to {server}"),
        }
    }
}

impl error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.cause {
            Cause::Io(_, err) | Cause::Password(err) => Some(err),
            Cause::Postgres(err) => Some(err),
            Cause::TimedOut(_)
            | Cause::NoAddress
            | Cause::WrongTarget
            | Cause::NoneFits
            | Cause::TooFarBehind(_)
            | Cause::Interrupted
            | Cause::Hook
            | Cause::Dropped(_)
            | Cause::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's names, and whatever else a counterpart sends, stand in the cause.
    #[test]
    fn a_cause_is_one_line() {
        let cause = Cause::from(io::Error::other("no\r\nsuch\u{2028}name"));
        let err = ConnectError::new("db\n".into(), cause);
        let line = "cannot connect to db\\n: no\\r\\nsuch\\u{2028}name";
        assert_eq!((format!("{err:#}"), format!("{err:?}")), (line.to_owned(), line.to_owned()));
        let source = error::Error::source(&err).expect("a cause");
        assert_eq!(format!("{source} {source:?}").lines().count(), 1);
    }
}
