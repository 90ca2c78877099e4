//! The reader of a database: what is started and ended with it.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Database;
use crate::config::{OwnWrites, ReaderSettings, Settings};
use crate::lease::Lender;
use crate::pool::{Backoff, Pool, Reader};
use crate::session::{ConnectError, Connector, Hooks, LagBound, LoggedIn, Position, Tls};
use crate::telemetry;

/// The name of the pool in the log and in the metrics.
const NAME: &str = "reader";

impl<D> Database<D> {
    /// Returns the database that reads are served by: sessions of standbys, while there are some, else those of the primary.
    ///
    /// It has a pool of its own, of the same size, and all that a `Database` has: verbs, [`status`](Self::status),
    /// [`resize`](Self::resize), [`watch`](Self::watch), [`middleware`](Self::middleware). Its name in the log is `reader`. Without the option
    /// [`reader`](crate::Config::reader), and in a sandbox, it is this database itself. [`close`](Self::close) of this one closes
    /// both.
    ///
    /// What it reads may be older than what was just written: the page [`reader`](crate::guide::reader) says by how much. A
    /// statement that writes fails on a standby with SQLSTATE 25006. [`listen`](Self::listen) listens to the primary, and no reads are
    /// [shared](crate::guide::shared_reads).
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Config, Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// let config = Config { reader: Some("prefer-standby".into()), ..database.config() };
    /// let db = Database::connect(config).await?;
    /// // There is no standby, so the primary answers.
    /// let is_standby: bool = db.reader().query_one_scalar("SELECT pg_is_in_recovery()", &[]).await?;
    /// assert!(!is_standby);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reader(&self) -> Self {
        Self::new(self.untyped().reader().unwrap_or_else(|| self.untyped().clone()))
    }
}

/// What lends the sessions of a reader. The writer holds it.
#[derive(Debug)]
pub(super) struct Reading {
    reader: Arc<Reader>,
    own_writes: OwnWrites,
    max_lag: Option<Duration>,
}

impl Reading {
    /// Starts a pool without a session, so that no standby has to be there, and the task that asks the primary how far it is.
    pub(super) async fn start(
        settings: &Settings,
        reader: ReaderSettings,
        tls: Tls,
        hooks: Hooks,
        primary: &Arc<Pool>,
    ) -> Self {
        let ReaderSettings { server, max_lag, own_writes } = reader;
        let settings = Settings { server, reader: None, name: Some(NAME), ..settings.clone() };
        let lag = max_lag.map(|most| Arc::new(LagBound::new(most)));
        let connector = Arc::new(Connector::new(settings.clone(), tls, Hooks { lag: lag.clone(), ..hooks }));
        connector.set_name(NAME);
        let measuring = CancellationToken::new();
        if let Some(lag) = lag {
            // Before the first login at a standby, which is not near enough to a primary of which nothing is known.
            let session = asked(&lag, primary.connector(), None).await.ok();
            primary.home().spawn(measure(lag, Arc::downgrade(primary), session, measuring.clone()));
        }
        let standbys = Pool::new(&settings, connector, Vec::new());
        standbys.hold_floor();
        Self { reader: Reader::new(standbys, Arc::clone(primary), measuring), own_writes, max_lag }
    }

    pub(super) fn lender(&self) -> Lender {
        Lender::Reader(Arc::clone(&self.reader))
    }

    /// What lends the sessions of those who have to see what was written up to this position.
    pub(super) fn lender_after(&self, written: Position) -> Lender {
        Lender::Reader(self.reader.after(written))
    }

    /// How a client reads what it has written.
    pub(super) fn own_writes(&self) -> &OwnWrites {
        &self.own_writes
    }

    pub(super) fn max_lag(&self) -> Option<Duration> {
        self.max_lag
    }

    /// Closes the reader's pool.
    pub(super) async fn close(&self) {
        self.lender().close().await;
    }
}

/// Asks the primary again and again how far it is, on a connection of its own: one of a pool that is busy would have to be waited for.
async fn measure(
    lag: Arc<LagBound>,
    primary: Weak<Pool>,
    mut session: Option<LoggedIn>,
    stopped: CancellationToken,
) {
    let mut backoff = Backoff::default();
    let mut silent_since = None;
    loop {
        let pause = async {
            match session {
                Some(_) => lag.paused().await,
                None => sleep(lag.pause().max(backoff.pause())).await,
            }
        };
        if let Either::Right(_) = select(pin!(pause), pin!(stopped.cancelled())).await {
            return;
        }
        let Some(connector) = primary.upgrade().map(|pool| Arc::clone(pool.connector())) else { return };
        // That of a host that takes no writes any more would answer for a primary that is one no longer.
        let answer = asked(&lag, &connector, session.take().filter(|session| !session.is_given_up()));
        session = match select(pin!(answer), pin!(stopped.cancelled())).await {
            Either::Left((Ok(session), _)) => {
                backoff = Backoff::default();
                if let Some(since) = silent_since.take() {
                    telemetry::primary_answers(Some(NAME), Instant::elapsed(&since));
                }
                Some(session)
            }
            Either::Left((Err(cause), _)) => {
                if stopped.is_cancelled() {
                    return;
                }
                backoff = backoff.after(&cause);
                if cause.is_refusal() {
                    lag.note_refusal();
                } else {
                    lag.note_silence();
                }
                silent_since.get_or_insert_with(|| {
                    telemetry::primary_silent(Some(NAME), &cause);
                    Instant::now()
                });
                None
            }
            Either::Right(_) => return,
        };
    }
}

/// Asks once. A connection that fails or is late is not used again.
async fn asked(
    lag: &LagBound,
    connector: &Connector,
    session: Option<LoggedIn>,
) -> Result<LoggedIn, ConnectError> {
    let session = match session {
        Some(session) => session,
        None => connector.open_to_listen(Arc::new(|_| ())).await?,
    };
    match timeout(connector.connect_timeout(), lag.ask_primary(session.client())).await {
        Ok(Ok(())) => Ok(session),
        Ok(Err(err)) => Err(session.refused(err)),
        Err(_) => Err(session.silent(connector.connect_timeout())),
    }
}
