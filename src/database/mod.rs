//! What lives as long as the application.

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::config::Config;
use crate::{Result, telemetry};

mod lender;
mod pool;
mod acquire_error;
mod gate;
mod place;
mod opening;
mod upkeep;
mod stock;
mod home;
mod lease;
mod usage;
mod activity;
mod levels;
mod recorded;
mod reset;
mod statement;
mod transaction;
#[cfg(feature = "testing")]
mod sandbox;
mod session;
mod driver;
mod notices;
mod sql;
mod connector;
mod cancel;
mod connect_error;
mod stream;
mod tls;
mod status;

use pool::Pool;

pub use acquire_error::AcquireError;
pub use connect_error::ConnectError;
pub use status::Status;

pub(crate) use connector::Connector;
pub(crate) use lease::Lease;
pub(crate) use lender::Lender;
pub(crate) use recorded::Recorded;
pub(crate) use sql::without_literals;
pub(crate) use statement::{Params, batch_execute, copy_in, copy_out, execute, query, query_opt, query_raw};
pub(crate) use stream::Address;
pub(crate) use tls::Tls;
pub(crate) use transaction::Guard;
pub(crate) use usage::Usage;

/// The application's database: a pool of sessions, and what makes connections of them.
///
/// A cheap handle; clone it into every worker. The runtime on which [`connect`](Self::connect) is called is the home of all
/// sessions and has to outlive the workers: call it in `main`, before `HttpServer::run`.
#[derive(Clone)]
pub struct Database {
    lender: Lender,
    use_connection_for_request: bool,
}

impl Database {
    /// Checks the configuration, proves the database reachable and opens `pool_min_size` sessions.
    ///
    /// Tries `retry_limit` times in all, `retry_interval` apart. What cannot succeed is
    /// [not retried](ConnectError::is_final). A failed start leaves no server connection behind.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) before anything is connected, else [`Error::Connect`](crate::Error::Connect).
    ///
    /// # Panics
    ///
    /// Outside of a Tokio (or Actix) runtime.
    pub async fn connect(config: Config) -> Result<Self> {
        let settings = config.settings()?;
        let limit = settings.start.retry_limit;
        let mut attempt = 1;
        let (connector, sessions) = loop {
            let connector = Arc::new(Connector::new(settings.clone()));
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
        telemetry::database_connected(connector.alive());
        let pool = Pool::new(&settings, connector, sessions);
        Ok(Self {
            lender: Lender::new(pool),
            use_connection_for_request: settings.use_connection_for_request,
        })
    }

    /// The pool at this moment.
    pub fn status(&self) -> Status {
        self.lender.pool().status()
    }

    /// Borrows a session and has the server answer on it.
    ///
    /// # Errors
    ///
    /// What a statement could fail with: [`Error::Acquire`](crate::Error::Acquire),
    /// [`Error::Postgres`](crate::Error::Postgres), [`Error::CommandTimeout`](crate::Error::CommandTimeout).
    pub async fn ping(&self) -> Result<()> {
        let lease = self.lender.acquire(&Arc::default()).await?;
        batch_execute(lease.enter()?, "").await
    }

    /// Stops lending, waits for what is lent, says goodbye to the server.
    ///
    /// Call it when the server has stopped. Waits for `close_timeout` at most; may be called again. Whoever asks for a
    /// session from now on gets [`AcquireError::Closed`](crate::AcquireError::Closed).
    pub async fn close(&self) {
        self.lender.close().await;
    }

    #[cfg(feature = "testing")]
    fn within(&self, sandbox: Arc<sandbox::Sandbox>) -> Self {
        Self { lender: self.lender.within(sandbox), ..self.clone() }
    }

    pub(crate) fn lender(&self) -> &Lender {
        &self.lender
    }

    pub(crate) fn uses_connection_for_request(&self) -> bool {
        self.use_connection_for_request
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.status()).finish()
    }
}

/// Opens one session to see whether that is possible, then the others together.
async fn open_first(
    connector: &Arc<Connector>,
    wanted: u32,
) -> Result<Vec<Box<session::Session>>, ConnectError> {
    let first = connector.open().await?;
    let others = join_all((1..wanted).map(|_| connector.open())).await;
    std::iter::once(Ok(first)).chain(others).collect()
}
