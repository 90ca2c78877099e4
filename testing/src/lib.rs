//! A throwaway PostgreSQL server, and fresh databases on it, for tests and examples.
//!
//! [`Postgres`] starts a server of its own from the PostgreSQL programs found on the machine: no
//! container, no account, nothing to configure, about half a second. It is gone when it is dropped,
//! when the test panics, and when the process is killed. A [`TestDatabase`] is made in
//! milliseconds, so that every test can have its own. What either gives to a client is a DSN.
//!
//! ```
//! use actix_pg_testing::Postgres;
//! use tokio_postgres::NoTls;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let postgres = Postgres::shared()?;
//! let database = postgres.database_with("CREATE TABLE users (id bigint, name text)").await?;
//! let (client, connection) = tokio_postgres::connect(database.dsn(), NoTls).await?;
//! tokio::spawn(connection);
//! assert_eq!(client.execute("INSERT INTO users VALUES (1, 'Ada')", &[]).await?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Cluster`] is a primary with standbys, for tests of what happens when one is promoted.
//!
//! `actix_pg::testing` is this crate with a `config()` beside each `dsn()`.
//!
//! Where the environment variable `TEST_DATABASE_URL` is set, [`Postgres::start`] and
//! [`Postgres::shared`] start nothing and make their databases on that server instead. It has to be
//! PostgreSQL 13 or newer, reachable without TLS, and its role has to be allowed to create
//! databases. This is the only place that reads the variable.
//!
//! With `TEST_KEEP_FAILED=600`, the database of a test that fails is kept for 600 seconds, and a
//! line of the error output says where.
//!
//! # One server for all test binaries
//!
//! Each test binary starts a server of its own, and a runner that gives every test a process of its
//! own, such as cargo-nextest, would start one for every test. The program of this crate starts one
//! for all of them:
//!
//! ```console
//! $ cargo install actix-pg-testing
//! $ with-postgres cargo nextest run
//! ```
//!
//! It sets `TEST_DATABASE_URL`, and `TEST_DATABASE_TEMPLATES=shared`: processes then share the
//! databases that schemas were run in, so that each schema runs once for all of them. On a server of
//! yours, where you may set both, these stay: they are named `actixpg_template_…`, and to drop one
//! takes `ALTER DATABASE … IS_TEMPLATE false` first.
//!
//! The server's files are in the folder that `TMPDIR` names, where that is set; else in memory, in
//! `/dev/shm`, where at least 1 GiB is free there; else in `/tmp`. A server takes about 100 MB, and
//! 8 MB more for each database.
//!
//! The server listens on 127.0.0.1 alone and asks for no password: while it runs, every user of
//! the machine is a superuser of it. Do not use it where you do not trust them.
//!
//! On Windows this crate is empty: the server is kept by a shell and by signals.
#![cfg(unix)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod postgres;
mod builder;
mod database;
mod cluster;
mod server;
mod folder;
mod places;
mod settings;
mod port;
mod owner;
mod binaries;
mod supervisor;
mod keeper;
mod work;
mod origin;
mod dsn;
mod error;

pub use builder::Builder;
pub use cluster::{Cluster, ClusterBuilder};
pub use database::TestDatabase;
pub use error::Error;
pub use postgres::Postgres;
