//! A database, an application and a network to break.

mod app;
mod latch;
pub(crate) mod log;
mod proxy;

pub(crate) use app::listen;
pub(crate) use app::{TestApp, Wire};
pub(crate) use latch::{Latch, PATIENCE, soon};
pub(crate) use proxy::Proxy;
pub(crate) use test_support::{FakeServer, Phase};

use std::future::Future;
use std::time::{Duration, Instant};

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{ClientGuard, Config, Connection, Database};

/// A fresh database on the server that all tests of this binary share.
pub(crate) async fn database() -> TestDatabase {
    log::keep();
    Postgres::shared().expect("a PostgreSQL server").database().await.expect("a fresh database")
}

/// A pool of at most `size` sessions, opened as they are needed.
pub(crate) fn sized(config: Config, size: u32) -> Config {
    Config { pool_min_size: 0, pool_max_size: size, ..config }
}

/// A connected pool of at most `size` sessions on a fresh database.
pub(crate) async fn connect(size: u32) -> (TestDatabase, Database) {
    let database = database().await;
    let db = Database::connect(sized(database.config(), size)).await.expect("a connected database");
    (database, db)
}

/// The DSN of a test database for somebody else.
pub(crate) fn dsn_as(database: &TestDatabase, user: &str, password: &str) -> String {
    let (scheme, rest) = database.dsn().split_once("://").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}:{password}@{host}")
}

/// Waits until `condition` holds. There is no event for what the server does; this polls for 20 seconds at most.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until no session is lent and nobody waits.
pub(crate) async fn all_returned(db: &Database) {
    eventually("every session has come back", async || {
        let status = db.status();
        status.used == 0 && status.pending_requests == 0
    })
    .await;
}

/// Borrows every place of the pool at once, so that none can have been lost.
pub(crate) async fn borrow_all(db: &Database) -> Vec<ClientGuard> {
    let mut guards = Vec::new();
    for _ in 0..db.status().max {
        guards.push(soon("a place in the pool", db.connection().client()).await.expect("a session"));
    }
    assert_eq!(db.status().used, db.status().max);
    guards
}

/// Waits until nothing is lent, and makes sure that no place was lost.
pub(crate) async fn assert_whole(db: &Database) {
    all_returned(db).await;
    drop(borrow_all(db).await);
    all_returned(db).await;
}

/// The server process behind a connection.
pub(crate) async fn backend(conn: &Connection) -> i32 {
    conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("a backend")
}

/// An observer on the same server: its statements are not those of the pool under test.
pub(crate) struct Observer(Database);

impl Observer {
    /// Connects to the server of a test database with one session.
    pub(crate) async fn of(database: &TestDatabase) -> Self {
        let config = Config {
            server_settings: [("application_name".to_owned(), "observer".to_owned())].into(),
            ..sized(database.config(), 1)
        };
        Self(Database::connect(config).await.expect("an observer"))
    }

    /// Server processes of other clients in this database.
    pub(crate) async fn backends(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name <> 'observer' AND backend_type = 'client backend'";
        self.0.connection().query_one_scalar(sql, &[]).await.expect("a count")
    }

    /// Those of them that run a statement whose text contains `part`.
    pub(crate) async fn running(&self, part: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND state = 'active' AND application_name <> 'observer' AND position($1 in query) > 0";
        self.0.connection().query_one_scalar(sql, &[&part]).await.expect("a count")
    }

    /// Waits until a statement with this text runs.
    pub(crate) async fn sees(&self, part: &str) {
        eventually(part, async || self.running(part).await > 0).await;
    }

    /// Ends a server process from outside, and returns when it is gone.
    pub(crate) async fn terminate(&self, backend: i32) {
        let sql = "SELECT pg_terminate_backend($1, 5000)";
        assert!(self.0.connection().query_one_scalar::<bool>(sql, &[&backend]).await.expect("an end"));
    }

    /// A connection for whatever else has to be looked up.
    pub(crate) fn connection(&self) -> Connection {
        self.0.connection()
    }
}
