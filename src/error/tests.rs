//! What a client is told, and an operator reads.

use actix_web::ResponseError;
use actix_web::http::StatusCode;

use super::*;

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
        (Error::CopyFailed, "the copy has failed"),
        (Error::Sandboxed, "would break out of the sandbox"),
    ] {
        assert_eq!(err.status_code(), StatusCode::INTERNAL_SERVER_ERROR, "{err}");
        assert!(err.to_string().contains(text), "{err}");
        assert!(err.code().is_none(), "{err}");
    }
    let err = Error::OutcomeUnknown(lost());
    assert_eq!(error::Error::source(&err).map(ToString::to_string), Some(lost().to_string()));
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
