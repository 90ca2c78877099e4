//! A database of one test, and a pool on it.

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{ClientGuard, Config, Connection, Database};

use crate::{eventually, log, soon};

/// A fresh database on the server that all tests of this binary share.
pub async fn database() -> TestDatabase {
    log::keep();
    Postgres::shared().expect("a PostgreSQL server").database().await.expect("a fresh database")
}

/// A pool of at most `size` sessions, opened as they are needed.
pub fn sized(config: Config, size: u32) -> Config {
    Config { pool_min_size: 0, pool_max_size: size, ..config }
}

/// A connected pool of at most `size` sessions on a fresh database.
pub async fn connect(size: u32) -> (TestDatabase, Database) {
    let database = database().await;
    let db = pool(&database, size).await;
    (database, db)
}

/// A connected pool of at most `size` sessions.
pub async fn pool(database: &TestDatabase, size: u32) -> Database {
    connected(sized(database.config(), size)).await
}

/// A connected pool.
pub async fn connected(config: Config) -> Database {
    Database::connect(config).await.expect("a connected database")
}

/// The DSN of a test database for somebody else.
pub fn dsn_as(database: &TestDatabase, user: &str, password: &str) -> String {
    let (scheme, rest) = database.dsn().split_once("://").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}:{password}@{host}")
}

/// Waits until no session is lent and nobody waits.
pub async fn all_returned(db: &Database) {
    eventually("every session has come back", async || {
        let status = db.status();
        status.used == 0 && status.pending_requests == 0
    })
    .await;
}

/// Borrows every place of the pool at once, so that none can have been lost.
pub async fn borrow_all(db: &Database) -> Vec<ClientGuard> {
    let mut guards = Vec::new();
    for _ in 0..db.status().max {
        guards.push(soon("a place in the pool", db.connection().client()).await.expect("a session"));
    }
    assert_eq!(db.status().used, db.status().max);
    guards
}

/// Waits until nothing is lent, and makes sure that no place was lost.
pub async fn assert_whole(db: &Database) {
    all_returned(db).await;
    drop(borrow_all(db).await);
    all_returned(db).await;
}

/// The server process behind a connection.
pub async fn backend(conn: &Connection) -> i32 {
    conn.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("a backend")
}
