//! A throwaway PostgreSQL server, and fresh databases on it, for tests and examples (feature `testing`).
//!
//! [`Postgres`] starts a server of its own from the PostgreSQL programs found on the machine: no container, no account,
//! nothing to configure, about half a second. It is gone when it is dropped, when the test panics, and when the process is
//! killed. A [`TestDatabase`] is made in milliseconds, so that every test can have its own.
//!
//! ```
//! use actix_pg::testing::Postgres;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let postgres = Postgres::shared()?;
//! let database = postgres.database_with("CREATE TABLE users (id bigint, name text)").await?;
//! let config = database.config();
//! assert_eq!(config.dsn.as_deref(), Some(database.dsn()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the environment variable `TEST_DATABASE_URL` is set, no server is started, and the databases are made on that one. A
//! server of our own asks for no password: while it runs, every user of the machine is a superuser of it.
//!
//! [`Cluster`] is a primary with standbys, one of which can be promoted: for tests of a failover. Its [`dsn()`](Cluster::dsn) names
//! all the hosts.
//!
//! All of this is the crate [`actix_pg_testing`], with a `config()` beside each DSN. Its page says more of both, and where the
//! server's files are.

mod builder;
mod database;
mod postgres;
#[doc(hidden)]
pub mod run;

pub use actix_pg_testing::{Cluster, ClusterBuilder, Error};
pub use builder::Builder;
pub use database::TestDatabase;
pub use postgres::Postgres;

use crate::Config;

fn config(dsn: &str) -> Config {
    Config { dsn: Some(dsn.to_owned()), ..Config::default() }
}
