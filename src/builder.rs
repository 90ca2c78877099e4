//! A database with hooks.

use std::error::Error;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::session::{Hooks, Login};
use crate::tokio_postgres::{self, Client};
use crate::{Config, Database, Result};

/// A database that is about to be connected, with the application's own steps in the life of a session:
/// [`Database::builder`].
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "DO $$ BEGIN CREATE ROLE app; EXCEPTION WHEN duplicate_object THEN NULL; END $$";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let config = database.config();
/// let db = Database::builder(config)
///     .after_connect(|client| Box::pin(async move { client.batch_execute("SET ROLE app").await }))
///     .connect()
///     .await?;
/// assert_eq!(db.connection().query_one_scalar::<String>("SELECT current_user::text", &[]).await?, "app");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is connected before `connect`"]
pub struct DatabaseBuilder {
    config: Config,
    hooks: Hooks,
}

impl Database {
    /// Prepares a database with hooks. [`connect`](DatabaseBuilder::connect) connects it.
    pub fn builder(config: Config) -> DatabaseBuilder {
        DatabaseBuilder { config, hooks: Hooks::default() }
    }
}

impl DatabaseBuilder {
    /// Asks for the password of each login, in place of `password` and `passfile`: for passwords that change, such as tokens of a cloud.
    ///
    /// The future is awaited before the server is connected to, and `connect_timeout` bounds both together. A source that fails,
    /// panics or is late is a failed login, whose cause only the log has. Sessions that are logged in stay so, whatever becomes of their
    /// password.
    ///
    /// A login whose password is refused (28P01, 28000) asks once more, with [`Login::was_refused`], and tries again if the answer is
    /// another one. So a source may keep an answer for some time.
    ///
    /// The source runs on the runtime that called [`connect`](Self::connect), possibly for several logins at once, and must not block
    /// it. Its answer is not kept, and not shown.
    ///
    /// ```
    /// # use actix_pg::{Config, Database, testing::Postgres};
    /// # async fn token(host: &str, port: u16, user: &str) -> std::io::Result<String> { Ok(format!("{user}@{host}:{port}")) }
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let config = database.config();
    /// let db = Database::builder(config)
    ///     .password_source(|login| async move { Ok(token(&login.host, login.port, &login.user).await?) })
    ///     .connect()
    ///     .await?;
    /// # db.query("SELECT 1", &[]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn password_source<F, Fut>(mut self, source: F) -> Self
    where
        F: Fn(Login) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.hooks.password = Some(Arc::new(move |login| source(login).boxed()));
        self
    }

    /// Sets up every session after its login, and again after every reset, because a reset undoes what was set up.
    ///
    /// The session is not lent before the future has ended. If the future fails, panics or takes longer than `reset_timeout`, the
    /// session is ended. A login as a whole is bounded by `connect_timeout`, and a reset with its hook by `reset_timeout`.
    pub fn after_connect<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a Client) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> + Send + Sync + 'static,
    {
        self.hooks.after_connect = Some(Arc::new(hook));
        self
    }

    /// Asks before a session is lent. A session that is refused, or whose hook panics, is ended, and another one is taken.
    ///
    /// The function must not wait and sends no statement. With a function that refuses every session, no session is lent.
    pub fn before_acquire(mut self, hook: impl Fn(&Client) -> bool + Send + Sync + 'static) -> Self {
        self.hooks.before_acquire = Some(Arc::new(hook));
        self
    }

    /// Asks when a session comes back. A session that is refused, or whose hook panics, is ended.
    ///
    /// The function must not wait and sends no statement.
    pub fn after_release(mut self, hook: impl Fn(&Client) -> bool + Send + Sync + 'static) -> Self {
        self.hooks.after_release = Some(Arc::new(hook));
        self
    }

    /// Connects, as [`Database::connect`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Database::connect`]. A hook that fails is a failed login. A `password` beside a
    /// [password source](Self::password_source) is an [`Error::Config`](crate::Error::Config).
    pub async fn connect(self) -> Result<Database> {
        Database::start(self.config, self.hooks).await
    }
}
