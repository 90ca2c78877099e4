//! The start: migrations as the owner of the tables, everything else as a role that may do little.

use std::error::Error;

use actix_pg::{Config, Database};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The advisory lock of the migrations: a number that nothing else in the database locks.
const MIGRATING: i64 = 4_712;

/// Runs what is missing, and says how much that was. Of several processes that start at once, one does and the others wait.
///
/// # Errors
///
/// Fails if the database cannot be reached or a migration fails, which is then rolled back. Those before it stay.
pub async fn migrate(config: &Config) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let one = Config { pool_min_size: 0, pool_max_size: 1, ..config.clone() };
    let owner = Database::connect(one).await?;
    let applied = run(&owner).await;
    owner.close().await;
    applied
}

async fn run(owner: &Database) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let mut session = owner.session().await?;
    session.execute("SELECT pg_advisory_lock($1)", &[&MIGRATING]).await?;
    let report = embedded::migrations::runner().run_async(&mut *session).await?;
    Ok(report.applied_migrations().len())
} // the session ends, and with it the lock

/// Connects the pool of the requests. Each of its sessions is the role `blog`, from the login on and again after each reset, so that a
/// route without a tenant sees no rows, and not all of them.
///
/// # Errors
///
/// As [`Database::connect`]; also if the role is not there, because nothing was migrated.
pub async fn connect(mut config: Config) -> actix_pg::Result<Database> {
    config.server_settings.insert("role".to_owned(), "blog".to_owned());
    Database::connect(config).await
}
