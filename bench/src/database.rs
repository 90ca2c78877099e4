//! The PostgreSQL server that all contenders ask.

use actix_pg::testing::{Postgres, TestDatabase};
use actix_web::rt::{self, System};
use tokio_postgres::{Client, NoTls};

use crate::app::SCHEMA;
use crate::contenders::Outcome;
use crate::process_stats;

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
            let row = self.client().await?.query_one("SHOW server_version", &[]).await?;
            Ok(row.get(0))
        })
    }

    /// The postmaster: the parent of all processes of the server, which has to run on this machine.
    pub(crate) fn postmaster(&self) -> Outcome<u32> {
        System::new().block_on(async {
            let client = self.client().await?;
            let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
            let backend = u32::try_from(row.get::<_, i32>(0))?;
            Ok(process_stats::parent(backend).ok_or("the PostgreSQL server does not run on this machine")?)
        })
    }

    async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, driver) = tokio_postgres::connect(self.dsn(), NoTls).await?;
        rt::spawn(driver);
        Ok(client)
    }
}
