//! What the server says of the sessions of a test.

use actix_pg::testing::TestDatabase;
use actix_pg::{Config, Connection, Database};

use crate::{connected, eventually, sized};

/// Another client of the same database: its statements are not those of the pool under test.
#[derive(Debug)]
pub struct Observer(Database);

impl Observer {
    /// Connects to the server of a test database with one session.
    pub async fn of(database: &TestDatabase) -> Self {
        let config = Config {
            server_settings: [("application_name".to_owned(), "observer".to_owned())].into(),
            ..sized(database.config(), 1)
        };
        Self(connected(config).await)
    }

    /// Server processes of other clients in this database.
    pub async fn backends(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name <> 'observer' AND backend_type = 'client backend'";
        self.0.connection().query_one_scalar(sql, &[]).await.expect("a count")
    }

    /// Those of them that run a statement whose text contains `part`.
    pub async fn running(&self, part: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND state = 'active' AND application_name <> 'observer' AND position($1 in query) > 0";
        self.0.connection().query_one_scalar(sql, &[&part]).await.expect("a count")
    }

    /// How many backends are in `pg_sleep`. PostgreSQL ignores a cancel that comes earlier, between two messages of a statement.
    pub async fn sleeping(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        self.0.connection().query_one_scalar(sql, &[]).await.expect("a count")
    }

    /// Waits until a statement with this text runs.
    pub async fn sees(&self, part: &str) {
        eventually(part, async || self.running(part).await > 0).await;
    }

    /// Ends a server process from outside, and returns when it is gone.
    pub async fn terminate(&self, backend: i32) {
        let sql = "SELECT pg_terminate_backend($1, 5000)";
        assert!(self.0.connection().query_one_scalar::<bool>(sql, &[&backend]).await.expect("an end"));
    }

    /// A connection for whatever else has to be looked up.
    pub fn connection(&self) -> Connection {
        self.0.connection()
    }
}
