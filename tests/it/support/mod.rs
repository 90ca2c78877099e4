//! A database, an application and a network to break.

mod app;
mod proxy;

pub use app::{Answer, TestApp};
pub use proxy::Proxy;

use std::future::Future;
use std::time::{Duration, Instant};

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Connection, Database};

/// A fresh database on the server that all tests of this binary share.
pub async fn database() -> TestDatabase {
    Postgres::shared().expect("a PostgreSQL server").database().await.expect("a fresh database")
}

/// A pool of exactly `size` sessions at most, opened as they are needed.
pub fn sized(config: Config, size: u32) -> Config {
    Config { pool_min_size: 0, pool_max_size: size, ..config }
}

/// A connected pool of at most `size` sessions on a fresh database.
pub async fn connect(size: u32) -> (TestDatabase, Database) {
    let database = database().await;
    let db = Database::connect(sized(database.config(), size)).await.expect("a connected database");
    (database, db)
}

/// Waits until `condition` holds. There is no event for what the server does; this polls for 10 seconds at most.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The server process behind a connection.
pub async fn backend(conn: &Connection) -> i32 {
    conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("a backend")
}

/// An observer on the same server: its statements are not those of the pool under test.
pub struct Observer(Database);

impl Observer {
    /// Connects to the server of a test database with one session.
    pub async fn of(database: &TestDatabase) -> Self {
        let config = Config {
            server_settings: [("application_name".to_owned(), "observer".to_owned())].into(),
            ..sized(database.config(), 1)
        };
        Self(Database::connect(config).await.expect("an observer"))
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

    /// Ends a server process from outside.
    pub async fn terminate(&self, backend: i32) {
        let sql = "SELECT pg_terminate_backend($1, 5000)";
        assert!(self.0.connection().query_one_scalar::<bool>(sql, &[&backend]).await.expect("an end"));
    }

    /// A connection for whatever else has to be looked up.
    pub fn connection(&self) -> Connection {
        self.0.connection()
    }
}
