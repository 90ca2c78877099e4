//! What a primary and its standbys are started with.

use std::time::Duration;

use crate::{Builder, Cluster, Error, Postgres};

/// A primary with standbys that is configured unlike the others; made by [`Cluster::builder`].
///
/// ```no_run
/// # use std::time::Duration;
/// # use actix_pg_testing::{Cluster, Postgres};
/// let cluster = Cluster::builder()
///     .standbys(2)
///     .synchronous(1)
///     .apply_delay(Duration::from_secs(5))
///     .server(Postgres::builder().setting("max_connections", "20"))
///     .start()?;
/// # Ok::<(), actix_pg_testing::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is started before `start`"]
pub struct ClusterBuilder {
    server: Builder,
    standbys: usize,
    synchronous: usize,
    apply_delay: Duration,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self { server: Builder::default(), standbys: 1, synchronous: 0, apply_delay: Duration::ZERO }
    }
}

impl ClusterBuilder {
    /// Start this many standbys. Defaults to 1.
    pub fn standbys(mut self, count: usize) -> Self {
        self.standbys = count;
        self
    }

    /// Have each commit wait until as many standbys have received it. Defaults to 0: a standby that
    /// is promoted may lack what was written last.
    ///
    /// Only the primary asks for it. A standby that is promoted takes writes without one of its own.
    pub fn synchronous(mut self, standbys: usize) -> Self {
        self.synchronous = standbys;
        self
    }

    /// Have the standbys apply each commit this much later than the primary, in whole milliseconds
    /// (`recovery_min_apply_delay`). Defaults to none.
    pub fn apply_delay(mut self, delay: Duration) -> Self {
        self.apply_delay = delay;
        self
    }

    /// Configure all the servers so: the primary is started from this, and the standbys are copies
    /// of it.
    pub fn server(mut self, server: Builder) -> Self {
        self.server = server;
        self
    }

    /// Start the servers, and come back when all of them accept connections and the standbys follow. Blocks for half a
    /// second a server.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub fn start(self) -> Result<Cluster, Error> {
        let Self { mut server, standbys: count, synchronous, apply_delay } = self;
        if synchronous > 0 {
            server = server
                .setting("synchronous_commit", "on")
                .setting("synchronous_standby_names", format!("ANY {synchronous} (*)"));
        }
        // A standby that comes late finds the log that it needs.
        let server = server.default_setting("wal_keep_size", "256MB");
        let primary = server.clone().start()?;
        let delay = format!("{}ms", apply_delay.as_millis());
        // The copy has the other settings, and those of the caller come last there too.
        let standby = server
            .setting("primary_conninfo", follow(&primary)?)
            .setting("recovery_min_apply_delay", delay)
            .setting("synchronous_standby_names", "");
        let standbys: Vec<_> =
            (0..count).map(|_| standby.clone().start_standby(&primary)).collect::<Result<_, _>>()?;
        let follow = "FROM pg_stat_replication WHERE state = 'streaming'";
        super::wait_for(&primary, &format!("SELECT (count(*) = {count})::text {follow}"))?;
        let hosts: Vec<_> =
            [&primary].into_iter().chain(&standbys).map(|one| format!("127.0.0.1:{}", one.port())).collect();
        let dsn = format!("postgres://postgres@{}/postgres", hosts.join(","));
        Ok(Cluster { primary, standbys, dsn })
    }
}

/// The `primary_conninfo` of whoever follows `primary`: by the socket, where it always gets in.
pub(super) fn follow(primary: &Postgres) -> Result<String, Error> {
    let (sockets, port) = (primary.socket_dir()?, primary.port());
    Ok(format!("host={} port={port} user=postgres", sockets.display()))
}
