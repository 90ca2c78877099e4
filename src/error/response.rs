//! What the client is told: a status, and when to come back.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};

use super::{Error, is_conflict};
use crate::postgres_error::PostgresError;
use crate::telemetry;
use crate::tokio_postgres::error::SqlState;

/// When a client may come back that was answered 503.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(1);

impl Error {
    /// Returns whether the same request may succeed later: the error is answered with 503 and a
    /// [`Retry-After`](Self::retry_after).
    ///
    /// | error | unavailable |
    /// |---|---|
    /// | [`Connect`](Self::Connect), [`Acquire`](Self::Acquire), [`SessionLost`](Self::SessionLost) | always |
    /// | [`Postgres`](Self::Postgres), [`Begin`](Self::Begin), [`CommitRefused`](Self::CommitRefused), [`Setting`](Self::Setting) | if the connection is gone or the server ends it, lacks resources, is shutting down or takes no writes any more, and after a serialization failure or a deadlock, which another attempt may not meet |
    /// | [`TimedOut`](Self::TimedOut) | if nothing was sent |
    /// | [`Batch`](Self::Batch) | if its source is |
    /// | all others | never: not even [`OutcomeUnknown`](Self::OutcomeUnknown), which may have been committed |
    ///
    /// ```
    /// # use std::time::Duration;
    /// use actix_pg::{AcquireError, Error};
    ///
    /// assert!(Error::from(AcquireError::DatabaseClosed).is_unavailable());
    /// assert!(!Error::CommandTimeout(Duration::from_secs(1)).is_unavailable());
    /// ```
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Acquire(_) | Self::SessionLost => true,
            Self::TimedOut { sent, .. } => !sent,
            Self::Postgres(said) | Self::Begin(said) | Self::CommitRefused(said) | Self::Setting(said) => {
                is_unavailable(said)
            }
            Self::Batch { source, .. } => source.is_unavailable(),
            Self::Config(_)
            | Self::MissingMiddleware
            | Self::MissingMiddlewareOf(_)
            | Self::NoRequestConnection
            | Self::Busy(_)
            | Self::ConnectionClosed
            | Self::CommandTimeout(_)
            | Self::TooManyRows
            | Self::NoRows
            | Self::NotInBatch
            | Self::CopyRow { .. }
            | Self::CopyValue { .. }
            | Self::Row(_)
            | Self::CopyFailed
            | Self::TransactionEnded
            | Self::TransactionFailed
            | Self::NestedTransactionOpen
            | Self::OutcomeUnknown(_)
            | Self::TransactionHeld
            | Self::Sandboxed
            | Self::NeedsSession(_)
            | Self::SettingName(_)
            | Self::SettingValue(_)
            | Self::SettingReserved(_)
            | Self::ChannelName(_)
            | Self::NotFound => false,
        }
    }

    /// Returns how long a client should wait before it tries again, the header `Retry-After` of a 503. `None` for any other
    /// status.
    ///
    /// ```
    /// use actix_pg::{AcquireError, Error};
    ///
    /// assert!(Error::from(AcquireError::DatabaseClosed).retry_after().is_some());
    /// assert!(Error::NotFound.retry_after().is_none());
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_unavailable().then_some(RETRY_AFTER_OUTAGE)
    }

    /// Writes the line of the log that stands for a failed request: at ERROR, target `actix_pg::request`.
    ///
    /// [`error_response`](ResponseError::error_response) does that by itself. An application that makes its responses in
    /// another way calls it once for each. [`NotFound`](Self::NotFound) is no failure and is not logged.
    pub fn log(&self) {
        if !matches!(self, Self::NotFound) {
            let row = if let Self::Row(err) = self { Some(err) } else { None };
            telemetry::request_failed(self, self.postgres(), row);
        }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Batch { source, .. } => source.status_code(),
            Self::CommandTimeout(_) | Self::TimedOut { sent: true, .. } => StatusCode::GATEWAY_TIMEOUT,
            _ if self.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::NotFound = self {
            return HttpResponse::NotFound().body("not found");
        }
        self.log();
        let mut response = HttpResponse::build(self.status_code());
        if let Some(pause) = self.retry_after() {
            response.insert_header((RETRY_AFTER, pause.as_secs()));
        }
        response.finish()
    }
}

/// Whether another attempt may do better.
fn is_unavailable(said: &PostgresError) -> bool {
    match said.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => false,
        // Another attempt may not meet the other transaction.
        Some(code) if is_conflict(code) => true,
        // Whatever its class, the server has hung up after it.
        Some(_) if said.is_fatal() => true,
        Some(_) if said.is_of_read_only_server() => true,
        // Connection exception, insufficient resources, operator intervention.
        Some(code) => ["08", "53", "57"].iter().any(|class| code.code().starts_with(class)),
        None => said.is_closed(),
    }
}
