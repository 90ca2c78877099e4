//! The PostgreSQL server that all contenders ask.

use actix_pg::testing::{Postgres, TestDatabase};
use actix_web::rt::{self, System};
use tokio_postgres::NoTls;

use crate::app::SCHEMA;
use crate::contenders::Outcome;

/// A database of the harness's own, on a throwaway server or on that of `TEST_DATABASE_URL`.
#[derive(Debug)]
pub(crate) struct Server {
    // Dropped before the server.
    database: TestDatabase,
    _postgres: Postgres,
}

impl Server {
    pub(crate) fn start() -> Outcome<Self> {
        let postgres = Postgres::start()?;
        let database = System::new().block_on(postgres.database_with(SCHEMA))?;
        Ok(Self { database, _postgres: postgres })
    }

    pub(crate) fn dsn(&self) -> &str {
        self.database.dsn()
    }

    pub(crate) fn version(&self) -> Outcome<String> {
        System::new().block_on(async {
            let (client, driver) = tokio_postgres::connect(self.dsn(), NoTls).await?;
            rt::spawn(driver);
            let row = client.query_one("SHOW server_version", &[]).await?;
            Ok(row.get(0))
        })
    }
}
