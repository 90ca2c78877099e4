//! Lends sessions of standbys for reads, and those of the primary where no standby will do.
//!
//! ```text
//!   a session of a standby rests ──near enough of late──> lent
//!      │ none can be opened now        │ no answer of late
//!      v                               v
//!   the primary <──────too far─────── ask the standby ──near enough──> lent
//! ```
//!
//! For a client that has written, a standby will do that has what it has written. It is asked once for each position.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::acquire::Wait;
use super::{AcquireError, Checked, Pool, PooledSession};
use crate::session::{LagBound, Position, Session};
use crate::stats::EndReason;
use crate::tokio_postgres::Error;

/// The longest wait for the answer of a standby.
const CHECK: Duration = Duration::from_secs(1);

/// The longest wait for a first session on a standby. One that is there logs in within it, and one that is silent takes `connect_timeout`.
const FIRST: Duration = Duration::from_millis(250);

/// Two pools: one of sessions on standbys, and the writer's, which serves while no standby does. The handles of the writer and those
/// of the reader hold it.
#[derive(Debug)]
pub(crate) struct Reader {
    standbys: Arc<Pool>,
    primary: Arc<Pool>,
    measuring: Arc<Measuring>,
    /// What has been written, for a reader of one request that has to see it.
    written: Option<Position>,
}

/// Ends the task that asks the primary how far it is, when it is dropped. The task runs as long as sessions of standbys are lent.
#[derive(Debug)]
struct Measuring(CancellationToken);

impl Drop for Measuring {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Reader {
    pub(crate) fn new(standbys: Arc<Pool>, primary: Arc<Pool>, measuring: CancellationToken) -> Arc<Self> {
        Arc::new(Self { standbys, primary, measuring: Arc::new(Measuring(measuring)), written: None })
    }

    /// The reader for one who has to see what was written up to this position.
    pub(crate) fn after(&self, written: Position) -> Arc<Self> {
        let Self { standbys, primary, measuring, written: _ } = self;
        let (standbys, primary) = (Arc::clone(standbys), Arc::clone(primary));
        Arc::new(Self { standbys, primary, measuring: Arc::clone(measuring), written: Some(written) })
    }

    /// Closes the pool of the standbys, and ends the task with it.
    pub(crate) async fn close(&self) {
        self.measuring.0.cancel();
        self.standbys.close().await;
    }

    pub(crate) fn standbys(&self) -> &Arc<Pool> {
        &self.standbys
    }

    /// Lends a session without waiting, if that is possible.
    pub(crate) fn acquire_now(&self) -> Option<PooledSession> {
        match self.standbys.acquire_now_if(|session| self.will_do(session)) {
            Some(pooled) => Some(pooled),
            None if self.standbys.lacks_sessions() => self.primary.acquire_now(),
            None => None,
        }
    }

    /// Lends a session without a bound: see [`Pool::acquire_in_time`]. Waits in the queue of one of the pools.
    pub(crate) async fn acquire_in_time(&self) -> Result<PooledSession, AcquireError> {
        match self.of_standby().await {
            None => {}
            Some(Ok((pooled, wait))) => {
                let will_do = self.will_do(pooled.session());
                if let Some(pooled) = if will_do { Some(pooled) } else { self.checked(pooled).await } {
                    self.standbys.count_borrow(wait);
                    return Ok(pooled);
                }
            }
            Some(Err(AcquireError::Unavailable(_))) => {}
            Some(Err(err)) => return Err(err),
        }
        match self.primary.acquire_now() {
            Some(pooled) => Ok(pooled),
            None => self.primary.acquire_in_time().await,
        }
    }

    /// A session on a standby, if there is something to wait for.
    async fn of_standby(&self) -> Option<Result<(PooledSession, Wait), AcquireError>> {
        let standbys = &self.standbys;
        if standbys.lacks_sessions() {
            None
        } else if standbys.connector().alive() == 0 {
            timeout(FIRST, standbys.take_in_time()).await.ok()
        } else {
            Some(standbys.take_in_time().await)
        }
    }

    /// Whether a session can be lent without asking its server.
    fn will_do(&self, session: &Session) -> bool {
        (self.standbys.connector().hooks().lag.is_none() || session.is_near())
            && self.written.is_none_or(|written| session.is_known_to_have(written))
    }

    /// Asks a standby how far it is. Ends the session if it is too far behind. Happens at home, because the waiter may give up.
    async fn checked(&self, pooled: PooledSession) -> Option<PooledSession> {
        let (lag, written) = (self.standbys.connector().hooks().lag.clone(), self.written);
        let (ready, checked) = oneshot::channel();
        self.standbys.home().spawn(async move {
            let session = pooled.session();
            session.driver().go_home();
            match timeout(CHECK, ask(session, lag.as_deref(), written)).await {
                Ok(Ok(Verdict::WillDo)) => {
                    let _ = ready.send(Checked::new(pooled));
                }
                Ok(Ok(Verdict::LacksWritten)) => pooled.rest(),
                Ok(Ok(Verdict::TooFarBehind)) => pooled.end_in_background(EndReason::TooFarBehind),
                Ok(Err(_)) | Err(_) => pooled.discard_unknown(EndReason::CheckFailed),
            }
        });
        checked.await.ok().and_then(Checked::take)
    }
}

/// What a standby has answered.
enum Verdict {
    WillDo,
    /// It is near enough for others.
    LacksWritten,
    TooFarBehind,
}

async fn ask(session: &Session, lag: Option<&LagBound>, written: Option<Position>) -> Result<Verdict, Error> {
    if let Some(lag) = lag.filter(|_| !session.is_near()) {
        if !lag.allows(session.client()).await? {
            return Ok(Verdict::TooFarBehind);
        }
        session.near_for(lag.pause());
    }
    match written {
        Some(written) if !session.is_known_to_have(written) && !session.has(written).await? => {
            Ok(Verdict::LacksWritten)
        }
        _ => Ok(Verdict::WillDo),
    }
}
