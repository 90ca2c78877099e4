//! Finds out at the start whether two sessions have the same backend: then a pooler gives each transaction any of its own.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{ConfigError, OptionSource, Pooler, SessionSettings};
use crate::session::{Connector, Hooks, Session, value};
use crate::telemetry;
use crate::tokio_postgres::Client;

/// The longest wait for the answers. Nobody is held up by a server that is slow.
const PATIENCE: Duration = Duration::from_secs(1);

/// Refuses hooks that set a session up, where the next transaction has another backend.
pub(super) fn check_hooks(settings: &SessionSettings, hooks: &Hooks) -> Result<(), ConfigError> {
    if settings.pooler == Pooler::Transaction && hooks.after_connect.is_some() {
        let problem = "cannot be `transaction` with the hook `after_connect`: what it sets would end with its transaction";
        return Err(ConfigError::conflict(OptionSource::option("pooler"), problem));
    }
    Ok(())
}

/// Warns of a pooler in transaction mode that was not declared, in two round trips. Needs two sessions.
///
/// One after the other, because a pooler that has nothing else to do gives the server connection that it has just got back. Sessions that
/// have not answered in time end.
pub(super) async fn warn_of_transactions(
    connector: &Connector,
    settings: &SessionSettings,
    sessions: &mut Vec<Box<Session>>,
) {
    let [one, other, ..] = &**sessions else { return };
    if settings.pooler == Pooler::Transaction {
        return;
    }
    let asked = async { Some((backend(one.client()).await?, backend(other.client()).await?)) };
    match timeout(PATIENCE, asked).await {
        Ok(Some((one, other))) if one == other => telemetry::transaction_pooler(connector.stats().name()),
        Ok(_) => {}
        Err(_) => drop(sessions.drain(..2)),
    }
}

async fn backend(client: &Client) -> Option<String> {
    value(client, "SELECT pg_catalog.pg_backend_pid()").await.ok()?
}
