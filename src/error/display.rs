//! The sentence of each error, and its cause.

use std::error;
use std::fmt;

use super::Error;
use crate::postgres_error::cause_of_conversion;
use crate::text::Chain;

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
