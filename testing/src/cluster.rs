//! A primary and its standbys.

mod builder;

use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Postgres, TestDatabase, dsn};

pub use builder::ClusterBuilder;

/// Waits for a minute.
const PROMOTE: &str = "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_promote() ELSE true END)::text";

const ASK: &str = "ask how far a standby is";

/// Bound on the wait for a standby to catch up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A primary with standbys that follow it by streaming replication; gone when it is dropped, as a
/// [`Postgres`] is.
///
/// Each of the servers can be stopped, crashed and started again. What each was at the start is its
/// name: [`primary`](Self::primary) still names the same server when a standby was promoted.
/// `TEST_DATABASE_URL` is not looked at.
///
/// ```
/// use actix_pg_testing::Cluster;
/// use tokio_postgres::NoTls;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let cluster = Cluster::start()?;
/// let database = cluster.primary().database_with("CREATE TABLE users (name text)").await?;
/// cluster.caught_up(0)?;
///
/// cluster.primary().crash()?;
/// cluster.promote(0)?;
/// // All hosts are in the DSN: the client finds the one that takes writes.
/// let dsn = format!("{}?target_session_attrs=read-write", cluster.dsn_of(&database));
/// let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await?;
/// tokio::spawn(connection);
/// assert_eq!(client.execute("INSERT INTO users VALUES ('Ada')", &[]).await?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    primary: Postgres,
    standbys: Vec<Postgres>,
    dsn: String,
}

impl Cluster {
    /// Start a primary and one standby. Blocks for about a second.
    ///
    /// # Errors
    ///
    /// [`Error::NoBinaries`] when the machine has no PostgreSQL, [`Error::Copy`] when
    /// `pg_basebackup` fails; the others as they say.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// A cluster that is configured in another way than [`start`](Self::start) does it.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// The server that was started as the primary.
    pub fn primary(&self) -> &Postgres {
        &self.primary
    }

    /// A server that was started as a standby; the first one is 0.
    ///
    /// # Panics
    ///
    /// When there are not as many.
    pub fn standby(&self, index: usize) -> &Postgres {
        &self.standbys[index]
    }

    /// How many servers were started as standbys.
    pub fn standbys(&self) -> usize {
        self.standbys.len()
    }

    /// The DSN of all hosts, the primary first, of the superuser `postgres` and the database
    /// `postgres`. What comes behind it begins with `?`.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The DSN of all hosts and this database of the primary. What comes behind it begins with `?`.
    pub fn dsn_of(&self, database: &TestDatabase) -> String {
        dsn::with_database(&self.dsn, database.name())
    }

    /// Have a standby become a primary, and come back when it takes writes. The other standbys
    /// follow it from then on.
    ///
    /// The primary that was is left as it is: running, and taking writes, unless it was stopped.
    /// Nothing happens when the server is no standby any more.
    ///
    /// # Panics
    ///
    /// When there are not as many.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when it cannot be asked to, [`Error::Behind`] when it is none after a minute.
    pub fn promote(&self, index: usize) -> Result<(), Error> {
        let promoted = self.standby(index);
        if promoted.keeper().ask("promote a standby", PROMOTE)? != "true" {
            return Err(Error::Behind { log: promoted.folder()?.log_since(0) });
        }
        let conninfo = builder::follow(promoted)?;
        for other in self.standbys.iter().filter(|standby| standby.port() != promoted.port()) {
            other.folder()?.configure([("primary_conninfo", conninfo.as_str())])?;
            other.reload()?;
        }
        Ok(())
    }

    /// Stop the primary in an orderly way, promote a standby, and start what was the primary as a
    /// standby of it: what is called a switchover.
    ///
    /// # Panics
    ///
    /// When there are not as many.
    ///
    /// # Errors
    ///
    /// As [`promote`](Self::promote) and [`Postgres::stop`].
    pub fn switch_over(&self, index: usize) -> Result<(), Error> {
        self.primary.stop()?;
        self.promote(index)?;
        let conninfo = builder::follow(self.standby(index))?;
        // It would wait at each commit for standbys of its own.
        let settings = [("primary_conninfo", conninfo.as_str()), ("synchronous_standby_names", "")];
        self.primary.folder()?.configure(settings)?;
        self.primary.write("standby.signal", "")?;
        self.primary.start_again()
    }

    /// Wait until a standby has replayed what the primary has written so far, for at most a minute.
    ///
    /// # Panics
    ///
    /// When there are not as many standbys.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when either cannot be asked, [`Error::Behind`] when the standby does not
    /// follow.
    pub fn caught_up(&self, index: usize) -> Result<(), Error> {
        let standby = self.standby(index);
        // What nobody waits for is written a little later: the switch of the file writes it now.
        let written = self.primary.keeper().ask(ASK, "SELECT pg_switch_wal()::text")?;
        wait_for(standby, &format!("SELECT (pg_last_wal_replay_lsn() >= '{written}')::text"))
    }
}

/// Asks until the answer is `true`.
fn wait_for(postgres: &Postgres, query: &str) -> Result<(), Error> {
    let start = Instant::now();
    while postgres.keeper().ask(ASK, query)? != "true" {
        if start.elapsed() > TIMEOUT {
            return Err(Error::Behind { log: postgres.folder()?.log_since(0) });
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
