//! A database without the type that names it, so that what it does is compiled once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::sleep;

use super::pooler;
use super::reader::Reading;
use crate::config::{self, Config, ConfigError, OptionSource, OwnWrites};
use crate::lease::Lender;
use crate::listen::Listening;
use crate::pool::Pool;
use crate::session::{ConnectError, Connector, Hooks, Position, Session, Tls};
use crate::shared::SharedReads;
use crate::{Result, telemetry};

/// What a [`Database`](crate::Database) is, whatever its name.
#[derive(Clone)]
pub(crate) struct Untyped {
    lender: Lender,
    /// `None` if no session is shared.
    shared: Option<Arc<SharedReads>>,
    listening: Arc<Listening>,
    /// `None` if this one serves the reads.
    reader: Option<Arc<Reading>>,
    use_connection_for_request: bool,
}

impl Untyped {
    pub(super) async fn start(config: Config, hooks: Hooks) -> Result<Self> {
        let settings = config.settings()?;
        if hooks.password.is_some() && settings.server.driver.get_password().is_some() {
            let problem = "has no effect beside a password source; give one of them";
            return Err(ConfigError::conflict(OptionSource::option("password"), problem).into());
        }
        pooler::check_hooks(&settings.session, &hooks)?;
        let tls = Tls::new(settings.server.ssl.clone())?;
        let reader = match settings.reader.clone() {
            Some(reader) if hooks.password.is_some() && reader.server.driver.get_password().is_some() => {
                let problem = "has a password, which has no effect beside a password source";
                return Err(ConfigError::conflict(OptionSource::option("reader"), problem).into());
            }
            Some(reader) => Some((Tls::new(reader.server.ssl.clone())?, reader)),
            None => None,
        };
        let limit = settings.start.retry_limit;
        let mut attempt = 1;
        let (connector, mut sessions) = loop {
            let connector = Arc::new(Connector::new(settings.clone(), tls.clone(), hooks.clone()));
            let err = match open_first(&connector, settings.pool.min_size).await {
                Ok(sessions) => break (connector, sessions),
                Err(err) => err,
            };
            connector.close();
            connector.ended().await;
            if attempt >= limit || err.is_final() {
                telemetry::start_failed(&err, attempt);
                return Err(err.into());
            }
            telemetry::start_retried(&err, attempt, limit, settings.start.retry_interval);
            sleep(settings.start.retry_interval).await;
            attempt += 1;
        };
        pooler::warn_of_transactions(&connector, &settings.session, &mut sessions).await;
        telemetry::database_connected(connector.alive());
        let pool = Pool::new(&settings, connector, sessions);
        let reader = match reader {
            Some((tls, reader)) => Some(Arc::new(Reading::start(&settings, reader, tls, hooks, &pool).await)),
            None => None,
        };
        Ok(Self {
            shared: SharedReads::new(settings.shared_reads, &pool),
            listening: Listening::new(&pool),
            lender: Lender::Pool(pool),
            reader,
            use_connection_for_request: settings.use_connection_for_request,
        })
    }

    /// The database that reads are served by, if it is not this one.
    pub(crate) fn reader(&self) -> Option<Self> {
        let lender = self.reader.as_ref()?.lender();
        Some(Self { lender, shared: None, reader: None, ..self.clone() })
    }

    /// The same for one who has to see what was written up to this position.
    pub(crate) fn reader_after(&self, written: Position) -> Option<Self> {
        let lender = self.reader.as_ref()?.lender_after(written);
        Some(Self { lender, shared: None, reader: None, ..self.clone() })
    }

    /// How a client reads what it has written. `None` if its reads go nowhere else.
    pub(crate) fn own_writes(&self) -> Option<&OwnWrites> {
        self.reader.as_ref().map(|reader| reader.own_writes())
    }

    /// How far the reader may be behind, if that is bounded.
    pub(crate) fn reader_max_lag(&self) -> Option<Duration> {
        self.reader.as_ref()?.max_lag()
    }

    pub(super) fn resize(&self, min: u32, max: u32) -> Result<()> {
        config::sizes(min, max)?;
        self.lender.pool().resize(min, max);
        if let Some(shared) = &self.shared {
            shared.resize(max);
        }
        Ok(())
    }

    pub(super) fn renew(&self, within: Duration) {
        let pool = self.lender.pool();
        pool.renew(within);
        if let Some(shared) = &self.shared {
            pool.home().spawn(SharedReads::give_back_old(Arc::downgrade(shared), within));
        }
    }

    pub(super) async fn close(&self) {
        if let Some(shared) = &self.shared {
            shared.close();
        }
        self.listening.close();
        match &self.reader {
            None => self.lender.close().await,
            Some(reader) => _ = join(reader.close(), self.lender.close()).await,
        }
    }

    #[cfg(feature = "testing")]
    pub(super) async fn sandbox(&self) -> Result<Self> {
        let (lender, listening) = (self.lender.sandbox().await?, Listening::new(self.lender.pool()));
        Ok(Self { lender, shared: None, listening, reader: None, ..self.clone() })
    }

    pub(super) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The shared sessions, if `shared_reads` is on.
    pub(crate) fn shared(&self) -> Option<&Arc<SharedReads>> {
        self.shared.as_ref()
    }

    pub(crate) fn lender(&self) -> &Lender {
        &self.lender
    }

    pub(crate) fn uses_connection_for_request(&self) -> bool {
        self.use_connection_for_request
    }
}

impl std::fmt::Debug for Untyped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Untyped").finish_non_exhaustive()
    }
}

/// Opens one session to see whether that is possible, then the others together.
async fn open_first(connector: &Arc<Connector>, wanted: u32) -> Result<Vec<Box<Session>>, ConnectError> {
    let first = connector.open().await?;
    let others = join_all((1..wanted).map(|_| connector.open())).await;
    std::iter::once(Ok(first)).chain(others).collect()
}
