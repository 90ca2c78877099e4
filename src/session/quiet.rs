//! Makes a session quiet, and finds out whether its answers belong to its questions.
//!
//! A session is quiet when the server runs nothing on it and every answer has been read. Two faults stand in the way. A cancel
//! request has a connection of its own and may arrive before its statement, or after it. And tokio-postgres may be one answer
//! behind after a `COPY` that failed. Hence two tools: a cancel that is known to have been carried out, and a question.
//!
//! ```text
//!   cancel ──> the server closes the request's connection ──> probe ──answered──> quiet
//!     ^                                                         │ no answer within 100 ms, 200 ms …
//!     └─────────────────────────────────────────────────────────┘
//! ```
//!
//! A question is a random number. It is sent behind the statements that matter, in the same message, and the last row has
//! to be that number. Where it is not, the session is out of step and ends.

use std::time::Duration;

use tokio::time::timeout;

use super::{ConnectError, Connector, Session};
use crate::telemetry;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Error, SimpleQueryMessage, SimpleQueryRow};

/// The first wait for a probe's answer. Each further cancel request doubles it.
const CANCEL_BACKOFF: Duration = Duration::from_millis(100);

/// How an abandoned statement comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Abandoned {
    /// It is cancelled at once.
    Cancelled,
    /// It gets a moment to end by itself, and the session is asked a question. A `COPY … FROM STDIN` that fails before the
    /// server has asked for its data, by a cancel too, makes tokio-postgres take every answer for the one before.
    Ending,
}

/// Runs statements, and says whether the session is in step.
///
/// A `COPY … FROM STDIN` that is refused once it has been sent leaves tokio-postgres 0.7 one answer behind: it sends a second
/// Sync, and takes the end of that for the answer to whatever comes next.
pub(crate) async fn ask(session: &Session, sql: &str) -> Result<bool, Error> {
    Ok(answer(session, sql, "").await?.is_some())
}

/// Runs statements and a question, and returns the last row if it has the number that was asked for. `more` adds columns to it.
pub(crate) async fn answer(
    session: &Session,
    sql: &str,
    more: &str,
) -> Result<Option<SimpleQueryRow>, Error> {
    let question = rand::random::<u64>().to_string();
    let answers = session.client().simple_query(&format!("{sql};SELECT '{question}'{more}")).await?;
    let last = answers.into_iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(last.filter(|row| row.try_get(0).is_ok_and(|answer| answer == Some(&question))))
}

/// Cancels what runs on a session until it is quiet. `false` means that nobody knows, so that the session has to end.
///
/// A server that does not answer the request is silent: all sessions of its host end without a goodbye then.
///
/// A request that overtakes its statement is lost, because a backend that reads its next message ignores it. So it is repeated.
///
/// No later statement can be hit. Each request is known to have been carried out before the session is probed, and the answer
/// that counts belongs to a probe that was sent after the last request.
pub(crate) async fn cancel_until_quiet(
    session: &Session,
    connector: &Connector,
    abandoned: Abandoned,
) -> bool {
    session.driver().go_home();
    if abandoned == Abandoned::Ending
        && let Ok(quiet) = timeout(CANCEL_BACKOFF, probe(session, abandoned)).await
    {
        return quiet;
    }
    let (mut patience, mut asked) = (CANCEL_BACKOFF, abandoned);
    loop {
        let token = session.client().cancel_token();
        let silence = session.waits_for_server();
        let cancelled = connector.cancel(&token, session.address()).await;
        if !cancelled.as_ref().is_err_and(ConnectError::is_timeout) {
            silence.answered();
        }
        if let Err(err) = cancelled {
            telemetry::cancel_failed(session.stats().name(), &err);
            return false;
        }
        match timeout(patience, probe(session, asked)).await {
            Ok(quiet) => return quiet,
            // In the middle of a COPY that nobody feeds a Sync is ignored, and a cancel too; a query ends the connection.
            Err(_) => (patience, asked) = (patience * 2, Abandoned::Ending),
        }
    }
}

/// Whether everything that was sent before is answered, and the session can be used.
async fn probe(session: &Session, abandoned: Abandoned) -> bool {
    let is_synchronized = async || match abandoned {
        Abandoned::Cancelled => session.client().check_connection().await.map(|()| true),
        Abandoned::Ending => match ask(session, "").await {
            // A transaction that has failed answers nothing else. What may be left over of a COPY is no error.
            Err(err) if err.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => Ok(true),
            asked => asked,
        },
    };
    match is_synchronized().await {
        // The statement had ended by itself, and the cancel hit the probe.
        Err(err) if err.code() == Some(&SqlState::QUERY_CANCELED) => is_synchronized().await.unwrap_or(false),
        asked => asked.unwrap_or(false),
    }
}
