//! A session with its statements prepared once, for the contenders that are written by hand.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use crate::app::{SLOW_USER, USER, User};

#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    user: Statement,
    slow_user: Statement,
}

impl Session {
    /// Driven by the runtime that this is called on.
    pub(crate) async fn open(config: &Config) -> Result<Self, Error> {
        let (client, driver) = config.connect(NoTls).await?;
        tokio::spawn(driver);
        Ok(Self {
            user: client.prepare_typed(USER, &[Type::INT8]).await?,
            slow_user: client.prepare_typed(SLOW_USER, &[Type::INT8]).await?,
            client,
        })
    }

    pub(crate) async fn user(&self, id: i64) -> Result<User, Error> {
        let row = self.client.query_one(&self.user, &[&id]).await?;
        Ok(User::from(row))
    }

    pub(crate) async fn slow_user(&self, id: i64) -> Result<User, Error> {
        let row = self.client.query_one(&self.slow_user, &[&id]).await?;
        Ok(User::from(row))
    }

    /// Has the server answer, so that a session that is broken shows.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        self.client.check_connection().await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}
