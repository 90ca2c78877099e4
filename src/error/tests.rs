//! What a client is told, and an operator reads.

use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;

use super::*;
use crate::config::Config;
use crate::row::FromRowErrorKind;

/// What a client is told, and an operator reads.
#[test]
fn transactions_settings_and_sandboxes_fail_with_a_status_and_a_text() {
    let lost = || Box::new(Error::CommandTimeout(Duration::from_secs(1)));
    for (err, text) in [
        (Error::TransactionEnded, "the transaction has ended"),
        (Error::TransactionFailed, "the transaction can only be rolled back"),
        (Error::NestedTransactionOpen, "commit out of order"),
        (Error::OutcomeUnknown(lost()), "not known whether the transaction was committed"),
        (Error::TransactionHeld, "drop every `RequestTransaction`"),
        (Error::SettingName("a b".into()), "\"a b\" is not the name of a setting"),
        (Error::SettingValue("app.tenant".into()), "\"app.tenant\" has a NUL in it"),
        (Error::SettingReserved("client_encoding".into()), "the driver speaks UTF-8 only"),
        (Error::ChannelName("a\0b".into()), "\"a\\0b\" cannot be the name of a channel"),
        (Error::Batch { index: 7, source: Box::new(Error::NoRows) }, "the batch failed at index 7"),
        (Error::NotInBatch, "cannot be a part of a batch"),
        (Error::CopyRow { expected: 2, found: 1 }, "a row of 1 values in a copy of 2 columns"),
        (Error::CopyValue { column: 3, source: "secret".into() }, "value at column 3 cannot be copied: …"),
        (Error::CopyFailed, "the copy has failed"),
        (Error::Sandboxed, "would break out of the sandbox"),
        (
            Error::NeedsSession("`LISTEN`"),
            "`LISTEN` needs a session of its own, and with `pooler = \"transaction\"`",
        ),
    ] {
        assert_eq!(err.status_code(), StatusCode::INTERNAL_SERVER_ERROR, "{err}");
        assert!(err.to_string().contains(text), "{err}");
        assert!(err.code().is_none(), "{err}");
    }
    let err = Error::OutcomeUnknown(lost());
    assert_eq!(error::Error::source(&err).map(ToString::to_string), Some(lost().to_string()));
    let late = Error::Batch { index: 7, source: lost() };
    assert_eq!((late.status_code(), late.retry_after()), (StatusCode::GATEWAY_TIMEOUT, None));
    assert_eq!(error::Error::source(&late).map(ToString::to_string), Some(lost().to_string()));
}

/// The status, `Retry-After` and `is_unavailable` say the same of each variant.
#[test]
fn an_error_is_unavailable_where_it_is_answered_with_503() {
    for (err, unavailable) in all() {
        let status = err.status_code();
        assert_eq!(err.is_unavailable(), unavailable, "{err:?}");
        assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, unavailable, "{err:?}: {status}");
        assert_eq!(err.retry_after().is_some(), unavailable, "{err:?}");
        assert_eq!(err.error_response().headers().contains_key(RETRY_AFTER), unavailable, "{err:?}");
    }
}

/// An error of each variant, and whether it is unavailable. It does not compile where one is missing.
macro_rules! errors {
    ($($variant:ident $(($value:expr))? $({ $($fields:tt)* })? => $unavailable:literal,)*) => {{
        let _of_each_variant = |err: &Error| match err {
            $(Error::$variant { .. } => (),)*
        };
        vec![$((Error::$variant $(($value))? $({ $($fields)* })?, $unavailable)),*]
    }};
}

/// What the server says decides for some of them: `errors_are_opaque` has those.
fn all() -> Vec<(Error, bool)> {
    let driver =
        || -> PostgresError { "nonsense".parse::<tokio_postgres::Config>().expect_err("no DSN").into() };
    let wrong = Config { pool_max_size: 0, ..Config::default() };
    let mut all = errors![
        Config(wrong.settings().expect_err("no pool")) => false,
        Connect(ConnectError::closed()) => true,
        MissingMiddleware => false,
        MissingMiddlewareOf("shop::Reports") => false,
        NoRequestConnection => false,
        Acquire(AcquireError::DatabaseClosed) => true,
        Busy(BusyWith::Statement) => false,
        ConnectionClosed => false,
        SessionLost => true,
        CommandTimeout(Duration::ZERO) => false,
        TimedOut { bound: Duration::ZERO, sent: true } => false,
        TooManyRows => false,
        NoRows => false,
        Postgres(driver()) => false,
        Batch { index: 0, source: Box::new(Error::SessionLost) } => true,
        NotInBatch => false,
        CopyRow { expected: 2, found: 1 } => false,
        CopyValue { column: 0, source: "no".into() } => false,
        Row(FromRowError::new(FromRowErrorKind::WrongType, "User::age", "i64")) => false,
        CopyFailed => false,
        Begin(driver()) => false,
        TransactionEnded => false,
        TransactionFailed => false,
        NestedTransactionOpen => false,
        CommitRefused(driver()) => false,
        OutcomeUnknown(Box::new(Error::SessionLost)) => false,
        TransactionHeld => false,
        Sandboxed => false,
        NeedsSession("`LISTEN`") => false,
        SettingName(String::new()) => false,
        SettingValue(String::new()) => false,
        SettingReserved(String::new()) => false,
        ChannelName(String::new()) => false,
        Setting(driver()) => false,
        NotFound => false,
    ];
    let acquire = [
        AcquireError::QueueFull { max_waiting: 7, database: None },
        AcquireError::Overloaded { queue_target: Duration::from_millis(50), database: None },
        AcquireError::TimedOut { acquire_timeout: Duration::ZERO, cause: None, database: None },
        AcquireError::Unavailable(ConnectError::closed()),
        AcquireError::SandboxLost,
        AcquireError::HomeStopped,
    ];
    all.push((Error::TimedOut { bound: Duration::ZERO, sent: false }, true));
    all.extend(acquire.map(|err| (err.into(), true)));
    all
}

/// The text names what is alive and what ends it.
#[test]
fn a_busy_connection_says_what_to_do() {
    for (with, text) in [
        (BusyWith::Statement, "busy with a statement: await it"),
        (BusyWith::RowStream, "busy with a row stream: read it to its end or drop it"),
        (BusyWith::Copy, "busy with a copy: finish it"),
        (BusyWith::Transaction, "busy with a transaction: commit it, roll it back or drop it"),
        (BusyWith::ClientGuard, "busy with a client guard: drop it"),
    ] {
        let err = Error::Busy(with);
        assert!(err.to_string().contains(text), "{err}");
        assert_eq!(err.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
