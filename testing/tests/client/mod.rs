//! Talks to a server of a test.

use tokio_postgres::{Client, NoTls};

pub(crate) async fn connect(dsn: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn value(client: &Client, query: &str) -> Result<String, tokio_postgres::Error> {
    Ok(client.query_one(query, &[]).await?.get(0))
}
