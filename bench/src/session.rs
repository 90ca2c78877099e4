//! A session with its statements prepared once, for the contenders that are written by hand.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use crate::app::{self, DIRTY_USER, OWN_USER, SET_TENANT, SLOW_USER, USER, User, VISIT};

#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    user: Statement,
    slow_user: Statement,
    set_tenant: Statement,
    own_user: Statement,
    visit: Statement,
    dirty_user: Statement,
}

/// What deadpool-postgres sends for `RecyclingMethod::Clean`.
const CLEAN: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES;";

impl Session {
    /// Driven by the runtime that this is called on.
    pub(crate) async fn open(config: &Config) -> Result<Self, Error> {
        let (client, driver) = config.connect(NoTls).await?;
        tokio::spawn(driver);
        Ok(Self {
            user: client.prepare_typed(USER, &[Type::INT8]).await?,
            slow_user: client.prepare_typed(SLOW_USER, &[Type::INT8]).await?,
            set_tenant: client.prepare_typed(SET_TENANT, &[Type::TEXT]).await?,
            own_user: client.prepare_typed(OWN_USER, &[Type::INT8]).await?,
            visit: client.prepare_typed(VISIT, &[Type::INT8]).await?,
            dirty_user: client.prepare_typed(DIRTY_USER, &[Type::INT8]).await?,
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

    /// Each request sets its tenant, so that nothing has to be cleaned.
    pub(crate) async fn own_user(&self, id: i64) -> Result<User, Error> {
        self.client.query_one(&self.set_tenant, &[&app::tenant(id)]).await?;
        let row = self.client.query_one(&self.own_user, &[&id]).await?;
        Ok(User::from(row))
    }

    pub(crate) async fn visit(&self, id: i64) -> Result<User, Error> {
        self.client.batch_execute("BEGIN").await?;
        let row = self.client.query_one(&self.user, &[&id]).await?;
        self.client.execute(&self.visit, &[&id]).await?;
        self.client.batch_execute("COMMIT").await?;
        Ok(User::from(row))
    }

    pub(crate) async fn dirty_user(&self, id: i64) -> Result<User, Error> {
        let row = self.client.query_one(&self.dirty_user, &[&id]).await?;
        Ok(User::from(row))
    }

    pub(crate) async fn clean(&self) -> Result<(), Error> {
        self.client.batch_execute(CLEAN).await
    }

    /// Has the server answer, so that a session that is broken shows.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        self.client.check_connection().await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}
