//! What can fail. What the client is told of it: [`response`].

use std::error;
use std::fmt;
use std::time::Duration;

use crate::config::{ConfigError, Echo};
use crate::pool::AcquireError;
use crate::postgres_error::{PostgresError, cause_of_conversion};
use crate::row::FromRowError;
use crate::session::ConnectError;
use crate::sql::without_literals;
use crate::text::Chain;
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, SqlState};

mod busy_with;
mod conflicts;
mod response;

pub use busy_with::BusyWith;
pub(crate) use conflicts::is_conflict;

/// A [`std::result::Result`] with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can fail, in the order in which an application meets it.
///
/// As an [Actix error](actix_web::ResponseError) it becomes a response without a body and one line of the [log](Self::log); only
/// [`NotFound`](Self::NotFound) has the body `not found` and no line. The client sees no SQL, no name and no host. The status stands at each error
/// below. An application with bodies of its own wraps it in an
/// error of its own; the page [`errors`](crate::guide::errors) shows how.
///
/// `{err}` is the sentence for this error alone. `{err:#}` and `{err:?}` append its causes, on one line, which shows no
/// parameter and no data of a row (see [`PostgresError`]).
#[non_exhaustive]
pub enum Error {
    /// Start-up: an option cannot be applied. 500.
    Config(ConfigError),
    /// Start-up: the database cannot be reached, or refuses the login. Listening: no session can be opened, or none may listen. 503.
    Connect(ConnectError),

    /// Extraction: no [`ConnectionMiddleware`](crate::ConnectionMiddleware) wraps this route. 500.
    MissingMiddleware,
    /// Extraction: the middleware of the database with this [name](crate::Database::named) does not wrap this route. 500.
    MissingMiddlewareOf(&'static str),
    /// Extraction: `use_connection_for_request` is off. 500.
    NoRequestConnection,

    /// Borrowing: no session could be had. 503 with `Retry-After`.
    Acquire(AcquireError),
    /// Using: the connection is in use in a way that excludes this. 500.
    ///
    /// A `release()` or `close()` while a statement, row stream, copy, transaction or client guard of the request is alive;
    /// a statement while a row stream or a copy is open; a second transaction beside one that is open. [`BusyWith`] says
    /// which.
    Busy(BusyWith),
    /// Using: the connection has been closed with [`close`](crate::Connection::close). 500.
    ConnectionClosed,
    /// Using: the session ended under an earlier statement. [`release`](crate::Connection::release) and try again. 503.
    SessionLost,

    /// Statement: it took longer than `command_timeout`, and is cancelled. 504.
    CommandTimeout(Duration),
    /// Call: it was not over in time, with the borrow that it needs, and what ran is cancelled. 504, or 503 with `Retry-After` if
    /// nothing was sent.
    ///
    /// The time is that of [`with_timeout`](crate::Connection::with_timeout), of
    /// [`set_deadline`](crate::Connection::set_deadline) or of [`ping_within`](crate::Database::ping_within).
    #[non_exhaustive]
    TimedOut {
        /// The time that there was for the call, or for the whole request when its deadline was set.
        bound: Duration,
        /// Whether the statement may have been sent. If not, it waited for a session in vain, or the time was over before, and
        /// nothing has happened.
        sent: bool,
    },
    /// Statement: a query for one row, or for at most one, found more. 500.
    TooManyRows,
    /// Statement: a query for exactly one row found none. 500; see [`OrNotFound`](crate::OrNotFound) for a 404.
    NoRows,
    /// Statement: the server or the driver refused it. 503 where [`is_unavailable`](Self::is_unavailable) says so: the connection is
    /// gone, the server is going down or out of resources, or another transaction won; else 500.
    Postgres(PostgresError),
    /// Row: the result does not fit the type that it is read into, or a value of it does not. The first is found before the
    /// statement is sent. 500.
    Row(FromRowError),

    /// Batch: one of its statements or rows failed, and nothing of the batch is kept. The status is that of the source.
    Batch {
        /// The place of the statement or row in the batch, counted from 0.
        index: usize,
        /// What failed.
        source: Box<Error>,
    },
    /// Batch: SQL that begins or ends a transaction, or is a COPY, cannot be a part of one. Nothing was sent. 500.
    NotInBatch,

    /// Copy: a row has not as many values as the copy has types. 500.
    CopyRow {
        /// The number of types.
        expected: usize,
        /// The number of values.
        found: usize,
    },
    /// Copy: a value cannot be written as the type of its column. 500.
    CopyValue {
        /// The place of the value in its row, counted from 0.
        column: usize,
        /// What the value's `ToSql` said. It may tell the value, so it is shown only where it is known not to.
        source: Box<dyn error::Error + Send + Sync>,
    },
    /// Copy: it was finished after it had failed. 500.
    CopyFailed,

    /// Transaction: the server refused to begin one, and the statement that was to be its first has had no effect. 503 or 500, as for a
    /// statement.
    Begin(PostgresError),
    /// Transaction: it has ended, or the one around it has. 500.
    TransactionEnded,
    /// Transaction: it could not be begun, a statement in it was abandoned, or a batch failed half-way, so that it can only be rolled
    /// back. 500.
    TransactionFailed,
    /// Transaction: a commit while a transaction in it was open. Everything is rolled back. 500.
    NestedTransactionOpen,
    /// Transaction: the server refused to commit, and everything is rolled back. 503 or 500, as for a statement.
    CommitRefused(PostgresError),
    /// Transaction: the answer to `COMMIT` was lost, or is that the server itself has lost a connection (class 08). It may have been
    /// committed, or not; look before you repeat it. 500.
    OutcomeUnknown(Box<Error>),
    /// Transaction: the response was ready while its body, or something else, still held the
    /// [`RequestTransaction`](crate::RequestTransaction). Everything is rolled back. 500.
    TransactionHeld,

    /// Sandbox: SQL that begins or ends a transaction would end the sandbox, and [`Database::session`](crate::Database::session) would
    /// leave it. Both are refused. 500.
    Sandboxed,

    /// Pooler: with the option `pooler = "transaction"` nothing outlives a transaction, and this would have to. Nothing was sent. 500.
    ///
    /// It says what it was, such as `LISTEN`. [`guide::pooler`](crate::guide::pooler) says what to do instead.
    NeedsSession(&'static str),

    /// Setting: this is not the name of a configuration parameter. 500.
    SettingName(String),
    /// Setting: a value cannot have a NUL in it. 500.
    SettingValue(String),
    /// Setting: the driver relies on the value of this parameter, `client_encoding`. 500.
    SettingReserved(String),
    /// Setting: the server refuses it, and the statement that it was meant for has had no effect. 503 or 500, as for a statement.
    Setting(PostgresError),

    /// Listening: no channel can be called that: it is empty, longer than 63 bytes, or has a NUL in it. 500.
    ChannelName(String),

    /// A value is not there: [`or_not_found`](crate::OrNotFound::or_not_found). 404.
    NotFound,
}

impl Error {
    /// Returns the [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html) of what the server said.
    ///
    /// ```
    /// # use actix_pg::tokio_postgres::error::SqlState;
    /// # use actix_web::{error, ResponseError};
    /// # fn status(err: actix_pg::Error) -> actix_web::Error {
    /// match err.code() {
    ///     Some(&SqlState::UNIQUE_VIOLATION) => error::ErrorConflict("that name is taken"),
    ///     _ => err.into(),
    /// }
    /// # }
    /// ```
    pub fn code(&self) -> Option<&SqlState> {
        self.postgres().and_then(PostgresError::code)
    }

    /// Returns what the server or the driver said, if that is behind this error.
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database_with("CREATE TABLE users (email text CONSTRAINT one_each UNIQUE)").await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let conn = db.connection();
    /// let insert = "INSERT INTO users VALUES ('ada@example.com')";
    /// conn.execute(insert, &[]).await?;
    /// let err = conn.execute(insert, &[]).await.unwrap_err();
    /// let said = err.postgres().expect("an answer of the server");
    /// assert_eq!(said.constraint(), Some("one_each"));
    /// assert_eq!(said.sql(), Some("INSERT INTO users VALUES (?)")); // without literals
    /// # Ok(())
    /// # }
    /// ```
    pub fn postgres(&self) -> Option<&PostgresError> {
        match self {
            Self::Postgres(err) | Self::Begin(err) | Self::CommitRefused(err) | Self::Setting(err) => {
                Some(err)
            }
            Self::OutcomeUnknown(err) | Self::Batch { source: err, .. } => err.postgres(),
            Self::Connect(err) | Self::Acquire(AcquireError::Unavailable(err)) => err.postgres(),
            _ => None,
        }
    }

    /// Returns the name of the constraint that does not hold, where the server reports one.
    ///
    /// A handler that knows its constraints answers each of them in its own words:
    ///
    /// ```
    /// use actix_pg::tokio_postgres::error::SqlState;
    /// use actix_pg::{Connection, Error};
    /// use actix_web::{HttpResponse, error};
    ///
    /// async fn register(email: String, conn: Connection) -> actix_web::Result<HttpResponse> {
    ///     conn.execute("INSERT INTO users (email) VALUES ($1)", &[&email]).await.map_err(refused)?;
    ///     Ok(HttpResponse::Created().finish())
    /// }
    ///
    /// fn refused(err: Error) -> actix_web::Error {
    ///     match (err.code(), err.constraint()) {
    ///         (Some(&SqlState::UNIQUE_VIOLATION), Some("users_email_key")) => {
    ///             error::ErrorConflict("that address is registered")
    ///         }
    ///         _ => err.into(),
    ///     }
    /// }
    /// # use actix_pg::{Database, testing::Postgres};
    /// # use actix_web::{App, test, web};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database_with("CREATE TABLE users (email text UNIQUE)").await?;
    /// # let db = Database::connect(database.config()).await?;
    /// # let app = App::new().wrap(db.middleware()).route("/", web::post().to(register));
    /// # let app = test::init_service(app).await;
    /// # for status in [201, 409] {
    /// #     let req = test::TestRequest::post().set_payload("ada@example.org").to_request();
    /// #     assert_eq!(test::call_service(&app, req).await.status(), status);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn constraint(&self) -> Option<&str> {
        self.postgres().and_then(PostgresError::constraint)
    }

    /// Returns everything that the server said. That may hold the data of rows, so it is not for a log or a client.
    pub fn as_db_error(&self) -> Option<&DbError> {
        self.postgres().and_then(PostgresError::as_db_error)
    }

    /// Says which statement it was that failed. Values are shown as `echo` says.
    pub(crate) fn of_statement(self, sql: Option<&str>, echo: Echo) -> Self {
        let told = |said: PostgresError| if echo == Echo::Full { said.with_values() } else { said };
        match self {
            Self::Postgres(said) => {
                let said = told(said);
                Self::Postgres(match sql {
                    Some(sql) if said.sql().is_none() => said.with_sql(without_literals(sql)),
                    _ => said,
                })
            }
            Self::Batch { index, source } => {
                Self::Batch { index, source: Box::new(source.of_statement(sql, echo)) }
            }
            Self::Begin(said) => Self::Begin(told(said)),
            Self::CommitRefused(said) => Self::CommitRefused(told(said)),
            Self::Setting(said) => Self::Setting(told(said)),
            Self::Row(err) => {
                let err = if echo == Echo::Full { err.with_values() } else { err };
                Self::Row(match sql {
                    Some(sql) => err.with_sql(without_literals(sql)),
                    None => err,
                })
            }
            other => other,
        }
    }

    /// Marks a refused write as one that another attempt may not meet, because the server takes no writes for now.
    pub(crate) fn of_read_only_server(self) -> Self {
        match self {
            Self::Postgres(said) => Self::Postgres(said.of_read_only_server()),
            Self::Batch { index, source } => {
                Self::Batch { index, source: Box::new(source.of_read_only_server()) }
            }
            other => other,
        }
    }

    /// Whether the driver has read what is no answer to what it sent: it may take every later answer for the one before.
    pub(crate) fn is_out_of_step(&self) -> bool {
        match self {
            Self::Postgres(err) | Self::Begin(err) | Self::Setting(err) => {
                let driver = err.driver();
                is_unexpected(driver) || says(driver, "error parsing response from server")
            }
            Self::Batch { source, .. } | Self::OutcomeUnknown(source) => source.is_out_of_step(),
            _ => false,
        }
    }
}

/// Whether the driver has read a message that it did not expect.
pub(crate) fn is_unexpected(err: &tokio_postgres::Error) -> bool {
    says(err, "unexpected message from server")
}

/// The driver's errors have a kind that only their text shows.
fn says(err: &tokio_postgres::Error, text: &str) -> bool {
    err.as_db_error().is_none() && err.to_string() == text
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self).write(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return Chain(self).write(f);
        }
        f.write_str(match self {
            Self::Config(_) => "the configuration cannot be applied",
            Self::Connect(_) => "the database cannot be reached",
            Self::MissingMiddleware => {
                "no connection here: wrap the App or the scope of this route in `Database::middleware()`, \
                 as in `App::new().wrap(db.middleware())`, outside of every middleware that uses a connection: \
                 the last `.wrap` is the outermost"
            }
            Self::MissingMiddlewareOf(name) => {
                return write!(
                    f,
                    "no connection to the database `{name}` here: wrap the App or the scope of this route in the `middleware()` of a \
                     `Database<{name}>`, which `db.named::<{name}>()` makes, outside of every middleware that uses a connection: \
                     the last `.wrap` is the outermost"
                );
            }
            Self::NoRequestConnection => {
                "no connection on requests: the option `use_connection_for_request` is off; \
                 use `Database::connection()`, or turn it on"
            }
            Self::Acquire(_) => "no database session could be borrowed",
            Self::Busy(with) => {
                return write!(f, "the connection is busy with {with}: {}", with.remedy());
            }
            Self::ConnectionClosed => "the connection has been closed for the rest of this request",
            Self::SessionLost => "the session was lost under an earlier statement; release the connection and try again",
            Self::CommandTimeout(bound) => {
                return write!(f, "the statement took longer than {bound:?} (`command_timeout`) and was cancelled");
            }
            Self::TimedOut { bound, sent: true } => {
                return write!(f, "the call was not over within {bound:?}, and was cancelled");
            }
            Self::TimedOut { bound, sent: false } => {
                return write!(f, "the call was not over within {bound:?}: its statement was not sent");
            }
            Self::TooManyRows => "the query returned more than one row",
            Self::NoRows => "the query returned no row",
            Self::Postgres(_) => "the statement failed",
            Self::Batch { index, .. } => return write!(f, "the batch failed at index {index}"),
            Self::NotInBatch => {
                "SQL that begins or ends a transaction, or is a COPY, cannot be a part of a batch; nothing was sent"
            }
            Self::CopyRow { expected, found } => {
                return write!(f, "a row of {found} values in a copy of {expected} columns");
            }
            Self::CopyValue { column, source } => {
                let reason = cause_of_conversion(&**source);
                return write!(f, "the value at column {column} cannot be copied: {reason}");
            }
            Self::Row(_) => "the rows do not fit the type that they are read into",
            Self::CopyFailed => "the copy has failed before",
            Self::Begin(_) => "the transaction could not be begun",
            Self::TransactionEnded => "the transaction has ended, or the one around it has",
            Self::TransactionFailed => {
                "the transaction could not be begun, a statement of it was abandoned before its answer, or a batch in it failed \
                 half-way; the transaction can only be rolled back"
            }
            Self::NestedTransactionOpen => {
                "commit out of order: a transaction in this one is open; everything was rolled back"
            }
            Self::CommitRefused(_) => "the transaction was not committed, but rolled back",
            Self::OutcomeUnknown(_) => {
                "the answer to COMMIT was lost: it is not known whether the transaction was committed"
            }
            Self::TransactionHeld => {
                "the request's transaction was still held when the response was ready, and was rolled back; \
                 drop every `RequestTransaction`, in a streaming body too, before the handler returns"
            }
            Self::Sandboxed => {
                "SQL that begins or ends a transaction, or a session to own, would break out of the sandbox; \
                 use `Connection::transaction()`"
            }
            Self::NeedsSession(what) => {
                return write!(
                    f,
                    "{what} needs a session of its own, and with `pooler = \"transaction\"` nothing outlives a transaction"
                );
            }
            Self::SettingName(name) => {
                return write!(f, "{name:?} is not the name of a setting; expected identifiers with dots between them");
            }
            Self::SettingValue(name) => return write!(f, "the value of the setting {name:?} has a NUL in it"),
            Self::SettingReserved(name) => {
                return write!(f, "the setting {name:?} cannot be changed: the driver speaks UTF-8 only");
            }
            Self::Setting(_) => "a setting of the request could not be applied",
            Self::ChannelName(name) => {
                return write!(f, "{name:?} cannot be the name of a channel: expected 1 to 63 bytes, without a NUL");
            }
            Self::NotFound => "not found",
        })
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Config(err) => Some(err),
            Self::Connect(err) => Some(err),
            Self::Acquire(err) => Some(err),
            Self::Postgres(err) | Self::Begin(err) | Self::CommitRefused(err) | Self::Setting(err) => {
                Some(err)
            }
            Self::Row(err) => Some(err),
            Self::OutcomeUnknown(err) | Self::Batch { source: err, .. } => Some(err),
            _ => None,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(err: ConfigError) -> Self {
        Self::Config(err)
    }
}

impl From<ConnectError> for Error {
    fn from(err: ConnectError) -> Self {
        Self::Connect(err)
    }
}

impl From<AcquireError> for Error {
    fn from(err: AcquireError) -> Self {
        Self::Acquire(err)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(err: tokio_postgres::Error) -> Self {
        Self::Postgres(err.into())
    }
}

impl From<PostgresError> for Error {
    fn from(err: PostgresError) -> Self {
        Self::Postgres(err)
    }
}

impl From<FromRowError> for Error {
    fn from(err: FromRowError) -> Self {
        Self::Row(err)
    }
}

#[cfg(test)]
mod tests;
