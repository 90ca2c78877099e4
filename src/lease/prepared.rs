//! A statement that is prepared on a leased session, behind what has to be sent ahead of it.

use std::pin::pin;

use futures_util::TryStreamExt;

use super::ahead::{Ahead, Failed};
use super::session_use::SessionUse;
use super::state::Reply;
use crate::session::Prepared;
use crate::sql::SideEffects;
use crate::tokio_postgres::RowStream;
use crate::tokio_postgres::error::SqlState;
use crate::{Error, Result};

/// Prepares a statement. The caller sends it, or says that the answer has come.
pub(super) async fn prepare(session_use: &mut SessionUse, sql: &str) -> Result<Prepared> {
    let ahead = session_use.send_behind(SideEffects::default(), Reply::Prepare).await?;
    let learns = !session_use.session().keeps_statements() && !session_use.lease().has_names_of_its_own();
    let sent = session_use.session().prepare(sql, learns);
    let prepared = match ahead {
        None => sent.await.map_err(Error::from),
        Some(ahead) => match ahead.along(sent).await {
            Ok(prepared) => prepared.map_err(Error::from),
            Err(failed) => Err(failed.error),
        },
    };
    prepared.map_err(|err| session_use.refused(err))
}

/// Whether a statement that was refused cannot be sent again, because the transaction that it was sent in has failed or ended.
pub(super) fn is_of_ended_transaction(err: &Error) -> bool {
    matches!(err, Error::TransactionEnded | Error::TransactionFailed)
        || err.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// Sends a statement behind something else. If that fails, the answer to the statement does not count, and is read away.
pub(super) async fn along<E>(
    ahead: Ahead,
    sent: impl Future<Output = Result<RowStream, E>>,
) -> Result<Result<RowStream, E>> {
    match ahead.along(sent).await {
        Ok(answer) => Ok(answer),
        Err(Failed { error, answer }) => {
            if let Ok(rows) = answer {
                let mut rows = pin!(rows);
                while let Ok(Some(_)) = rows.try_next().await {}
            }
            Err(error)
        }
    }
}
