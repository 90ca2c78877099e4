//! Asks a server for a single value.

use crate::tokio_postgres::{Client, Error, SimpleQueryMessage};

/// The first column of the first row, as text. `None` where there is no row, or NULL in it.
pub(crate) async fn value(client: &Client, sql: &str) -> Result<Option<String>, Error> {
    let answer = client.simple_query(sql).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
