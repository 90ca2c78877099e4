//! What can fail. What the client is told of it: [`response`].

use std::error;
use std::time::Duration;

use crate::config::{ConfigError, Echo};
use crate::pool::AcquireError;
use crate::postgres_error::PostgresError;
use crate::row::FromRowError;
use crate::session::ConnectError;
use crate::sql::without_literals;
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, SqlState};

mod busy_with;
mod conflicts;
mod display;
mod out_of_step;
mod response;

pub use busy_with::BusyWith;
pub(crate) use conflicts::is_conflict;
pub(crate) use out_of_step::is_unexpected;

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
    /// Using: the session ended under an earlier statement, or before this one was sent. [`release`](crate::Connection::release) and try
    /// again. 503.
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
    /// Transaction: the answer to `COMMIT` was lost, or is that the server itself has lost a connection (class 08) or failed (class
    /// XX). It may have been committed, or not; look before you repeat it. 500.
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
