//! A primary and standbys, and an application that reads on them.

use std::env;
use std::time::Duration;

use actix_pg::testing::{Cluster, Error};
use actix_pg::tokio_postgres::types::FromSqlOwned;
use actix_pg::{Config, Connection, Database, ReadConnection, Result};
use actix_pg_testing::{Postgres, TestDatabase};
use test_support::{connected, eventually, log};

const SCHEMA: &str = "CREATE TABLE runs (id bigint PRIMARY KEY); INSERT INTO runs VALUES (0)";
pub const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";
pub const LATEST: &str = "SELECT max(id) FROM runs";
pub const WRITE: &str = "INSERT INTO runs SELECT max(id) + 1 FROM runs RETURNING id";

/// A primary, a standby that has got the database, and a pool on each.
pub struct Setup {
    pub db: Database,
    pub database: TestDatabase,
    pub cluster: Cluster,
}

impl Setup {
    /// `None` where there is no program that makes a standby, which CI does not forgive.
    pub async fn start(max_lag: Option<Duration>) -> Option<Self> {
        Self::with(1, |config| Config { reader_max_lag: max_lag, ..config }).await
    }

    /// The same with so many standbys and other options.
    pub async fn with(standbys: usize, options: impl FnOnce(Config) -> Config) -> Option<Self> {
        log::keep();
        let cluster = match Cluster::builder().standbys(standbys).start() {
            Err(Error::Copy { log }) if log.contains("not found") && env::var_os("CI").is_none() => {
                eprintln!("skipped: {log}");
                return None;
            }
            cluster => cluster.expect("a cluster"),
        };
        let database = cluster.primary().database_with(SCHEMA).await.expect("a database");
        for standby in 0..standbys {
            cluster.caught_up(standby).expect("a standby");
        }
        let db = connected(options(configured(&cluster, &database))).await;
        Some(Self { db, database, cluster })
    }

    /// Whether a standby answers.
    pub async fn standby_serves(&self) -> bool {
        // A session whose server has gone fails once.
        self.db.reader().query_one_scalar(IS_STANDBY, &[]).await.unwrap_or(false)
    }

    pub async fn until_standby_serves(&self, wanted: bool) {
        let what = format!("a standby serves: {wanted}");
        eventually(&what, async || self.standby_serves().await == wanted).await;
    }

    /// Runs a statement on the standby, beside the pools.
    pub async fn tell_standby(&self, sql: &str) {
        self.tell(self.cluster.standby(0).dsn(), sql).await;
    }

    /// Runs a statement on a server, beside the pools.
    pub async fn tell(&self, dsn: &str, sql: &str) {
        let config = Config { pool_min_size: 0, ..Config::from_dsn(dsn).expect("a DSN") };
        let db = connected(config).await;
        db.batch_execute(sql).await.expect("done");
        db.close().await;
    }

    /// The options that the pools have been started with, but for those of the test.
    pub fn config(&self) -> Config {
        configured(&self.cluster, &self.database)
    }

    /// The latest row at a server.
    pub async fn latest_at(&self, server: &Postgres) -> i64 {
        self.asked_at(server, LATEST).await
    }

    /// Up to where a standby has replayed the log.
    pub async fn replayed_at(&self, server: &Postgres) -> String {
        self.asked_at(server, "SELECT pg_last_wal_replay_lsn()::text").await
    }

    /// What a server answers, beside the pools.
    async fn asked_at<T: FromSqlOwned>(&self, server: &Postgres, sql: &str) -> T {
        let dsn =
            format!("host=127.0.0.1 port={} user=postgres dbname={}", server.port(), self.database.name());
        let db = connected(Config { pool_min_size: 0, ..Config::from_dsn(&dsn).expect("a DSN") }).await;
        let answer = db.query_one_scalar(sql, &[]).await.expect("a row");
        db.close().await;
        answer
    }

    /// The sessions of the pools at a server, with the one that asks.
    pub async fn sessions_at(&self, dsn: &str) -> i64 {
        let db = connected(Config { pool_min_size: 0, ..Config::from_dsn(dsn).expect("a DSN") }).await;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        let count = db.query_one_scalar(sql, &[&self.database.name()]).await.expect("a count");
        db.close().await;
        count
    }
}

/// A writer on whichever server takes writes, and a reader on the others.
fn configured(cluster: &Cluster, database: &TestDatabase) -> Config {
    Config {
        dsn: Some(format!("{}?target_session_attrs=read-write", cluster.dsn_of(database))),
        pool_min_size: 1,
        pool_max_size: 2,
        reader: Some("prefer-standby".into()),
        ..Config::default()
    }
}

/// Writes the next row.
pub async fn write(conn: Connection) -> Result<String> {
    Ok(conn.query_one_scalar::<i64>(WRITE, &[]).await?.to_string())
}

/// Whether a standby answers, and what it has.
pub async fn read(conn: ReadConnection) -> Result<String> {
    let sql = "SELECT pg_is_in_recovery(), max(id) FROM runs";
    let (is_standby, id): (bool, i64) = conn.query_one_as(sql, &[]).await?;
    Ok(format!("{is_standby} {id}"))
}
