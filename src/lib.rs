//! A lazy, shared PostgreSQL connection per request for [Actix Web](actix_web).
//!
//! Wrap the app once with [`Database::middleware`] and extract [`Connection`] in a handler. A session is borrowed from the
//! pool on the first query, shared by everything in that request, returned when the response is ready, and released early,
//! with one call, before something slow.
//!
//! ```no_run
//! use actix_pg::{Config, Connection, Database};
//! use actix_web::{App, HttpServer, Responder, get, web};
//!
//! #[get("/users/{id}")]
//! async fn user(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
//!     let row = conn.query_one("SELECT name FROM users WHERE id = $1", &[&*id]).await?; // borrowed here
//!     conn.release()?; // back to the pool before something slow
//!     let avatar = fetch_avatar().await;
//!     conn.execute("INSERT INTO visits (user_id) VALUES ($1)", &[&*id]).await?; // borrowed again
//!     Ok(format!("{} {avatar}", row.get::<_, String>("name")))
//! } // back to the pool with the response
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let db = Database::connect(Config::from_env()?).await?;
//!     let app = db.clone();
//!     HttpServer::new(move || App::new().wrap(app.middleware()).service(user))
//!         .bind(("127.0.0.1", 8080))?
//!         .run()
//!         .await?;
//!     db.close().await;
//!     Ok(())
//! }
//! # async fn fetch_avatar() -> &'static str { "" }
//! ```
//!
//! # Where to read on
//!
//! - **The [guide]**, from the first handler to PgBouncer, and what to expect if you come from deadpool-postgres, sqlx,
//!   axum-sqlx-tx or GINO.
//! - What an application asks for: [`Config`]; [`options`] has every option on one page.
//! - What lives as long as the application: [`Database`], its [`Status`], a [`Watch`] of it, the probes in [`health`];
//!   [`DatabaseBuilder`] for hooks.
//! - What lives as long as a request: [`Connection`], [`ReadConnection`] for reads on standbys, [`RowStream`], [`ClientGuard`], [`CopyIn`], [`BinaryCopyIn`], [`CopyOut`]. Without an extractor, as in
//!   a middleware: [`ConnectionExt`].
//! - Rows as structs: [`FromRow`](trait@FromRow), [`Connection::query_as`].
//! - What belongs together or not at all: [`Connection::transaction`], [`Connection::transact`], [`RequestTransaction`]. A
//!   function that takes a [`GenericClient`] runs in one or without.
//! - What a tool or a library wants for itself, such as one for migrations: [`Database::session`], an [`OwnedSession`].
//! - What is in between, such as PgBouncer: [`Pooler`].
//! - What happens in the database, as a stream of notifications: [`Database::listen`].
//! - More than one database: [`Database::named`].
//! - What can fail, and what the client is told: [`Error`]. What the server said, as it may be shown: [`PostgresError`].
//! - A server for your tests: the module `testing`, with the feature of that name.
//!
//! # A dropped future is cancelled on the server
//!
//! When a client hangs up, a time-out passes or `select!` decides for another branch, the statement that was running ends on the
//! server too, and the session is clean before its next statement. A transaction that the statement ran in can only be rolled
//! back from then on. [`Connection`](Connection#cancel-safety) has the details, and each method has a section of that name.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `rustls` | TLS to the server, through rustls with aws-lc-rs: `sslmode` from `require` to `verify-full`, client certificates, SCRAM channel binding |
//! | `rustls-ring` | the same with ring |
//! | `rustls-no-provider` | the same with the provider that the application installs |
//! | `derive` | `#[derive(FromRow)]`: rows into structs |
//! | `metrics` | metrics with OpenTelemetry's names, through the [`metrics`](https://docs.rs/metrics) facade |
//! | `with-uuid-1`, `with-chrono-0_4`, `with-serde_json-1`, `array-impls` … | the driver's optional types, by the driver's names |
//! | `testing` | the module `testing` and `Database::sandbox`: a throwaway PostgreSQL server and fresh databases, for your tests too |
//!
//! [`tokio_postgres`] is the driver, re-exported.
//!
//! # What `reset = "auto"` cannot see
//!
//! A session that ran plain statements alone goes back without a reset. Their text does not show what a trigger, a view, a policy or an operator
//! runs. If one of yours changes the session, set `reset = "always"`: see
//! [`lazy_shared_released`](guide::lazy_shared_released#returned-what-is-undone).
//!
//! # What is logged
//!
//! Through [tracing](https://docs.rs/tracing), or `log` where nobody has subscribed to that. Every event is one line that nobody
//! can forge. No line shows a password. Parameters, and values that an error is about, are shown only with `echo = true`.
//!
//! | target | what |
//! |---|---|
//! | `actix_pg::request` | each failed request, at ERROR: [`Error::log`]. Turn it off if a middleware of yours logs errors |
//! | `actix_pg::notice` | what the server says besides its answers, such as `RAISE NOTICE`: INFO, its LOG and DEBUG at DEBUG |
//! | `actix_pg::telemetry` | the life of the sessions; warnings, at WARN; statements, with `echo` |
//! | `actix_pg::span` | spans, at INFO: see [`operating`](guide::operating) |
//! | `tokio_postgres` | the driver's own, at DEBUG: every statement **with its parameters** |

mod config;
mod watch;
mod builder;
pub mod health;
mod database;
mod request;
mod shared;
mod lease;
mod listen;
mod pool;
mod session;
mod stats;
mod sql;
mod error;
mod postgres_error;
mod row;
mod telemetry;
mod text;
#[cfg(all(feature = "testing", unix))]
pub mod testing;

#[doc = include_str!("../docs/options.md")]
pub mod options {}

pub mod guide;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// What the derive macro writes its code with.
#[doc(hidden)]
pub mod __private {
    pub use crate::row::{Cells, Columns, FromJson, Json};
    pub use crate::tokio_postgres::types::FromSqlOwned;

    /// What the macro `test` writes its code with.
    #[cfg(all(feature = "testing", unix))]
    pub use crate::testing::run as test;
}

/// Runs an `async` test with a database of its own, on the runtime of `#[actix_web::test]` (feature `testing`).
///
/// The test says by the types of its arguments what it is given:
///
/// | type | what the test is given |
/// |---|---|
/// | [`Database`] | a pool on a fresh database; closed when the test ends |
/// | [`Config`] | the configuration of that database, to connect in another way |
/// | [`testing::TestDatabase`] | that database itself, which goes with the value |
///
/// | argument of the attribute | what it does |
/// |---|---|
/// | `schema = "…"` | runs SQL in the database: once for each text, databases are copied from the result |
/// | `migrations = "folder"` | runs the `.sql` files of a folder of the crate, in the order of the versions in front of their names: `V1__…`, `V1.2__…`, `0002_…`. Files without one run last; those that undo others, `U1__…` and `….down.sql`, are left out |
/// | `sandbox` | gives a [sandbox](Database::sandbox) instead: the tests share one database, and each is rolled back |
///
/// A test that returns an error fails, as with `#[test]`. The compiler does not see that a file has been added to the folder: touch the test,
/// or one of the other files.
///
/// ```
/// use actix_pg::Database;
///
/// #[actix_pg::test(schema = "CREATE TABLE users (name text)")]
/// async fn a_user_is_stored(db: Database) -> actix_pg::Result<()> {
///     db.execute("INSERT INTO users VALUES ($1)", &[&"ada"]).await?;
///     let users: i64 = db.query_one_scalar("SELECT count(*) FROM users", &[]).await?;
///     assert_eq!(users, 1);
///     Ok(())
/// }
/// ```
#[cfg(all(feature = "testing", unix))]
pub use actix_pg_derive::test;

#[cfg(feature = "derive")]
pub use actix_pg_derive::FromRow;
pub use builder::DatabaseBuilder;
pub use config::{
    Config, ConfigError, ConfigErrorKind, Echo, IsolationLevel, OptionSource, Pooler, ReadYourWrites, Reset,
    SslMode, defaults,
};
pub use database::{Database, Main};
pub use error::{BusyWith, Error, Result};
pub use lease::OwnedSession;
pub use listen::{Event, Events, Notification};
pub use pool::{AcquireError, Counters, Ended, Status};
pub use postgres_error::PostgresError;
#[doc(hidden)]
pub use request::ConnectionService;
pub use request::{
    BinaryCopyIn, ClientGuard, Connection, ConnectionExt, ConnectionMiddleware, CopyIn, CopyOut,
    GenericClient, OrNotFound, ReadConnection, RequestTransaction, RowStream, Transaction,
    TransactionBuilder, WithTimeout,
};
pub use row::{FromRow, FromRowError, FromRowErrorKind};
pub use session::{ConnectError, Login};
#[cfg(feature = "metrics")]
pub use stats::DURATION_BUCKETS;
pub use stats::{Durations, Warning, WarningKind};
pub use tokio_postgres;
pub use watch::{SessionInfo, SessionState, StatementStats, Watch};
