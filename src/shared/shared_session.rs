//! One session that requests share: what was sent on it, in its order.
//!
//! ```text
//!   asker ──send──> [ behind … behind ] ──> head ──answer──> asker
//!                                            │ unanswered for `shared_reads_slow`: overdue
//!                                            v
//!                       no new ones; those behind are told, and ask again elsewhere
//! ```
//!
//! A message is sent and put into the queue under one lock, so that the queue has the order of the answers. The
//! [`reader`](super::reader) takes the answers off the wire. It never waits for an asker.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::TryStreamExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::encoded::Encoded;
use super::places::Place;
use super::queue::{Answered, Asker, InFlight, Next, Queue, Rows, Told};
use crate::config::SharedReadSettings;
use crate::lease::{self, READ_ONLY, everything};
use crate::pool::{Pool, PooledSession};
use crate::session::{Prepared, Session};
use crate::stats::{EndReason, Phase, StatementInfo};
use crate::telemetry;
use crate::tokio_postgres::{Error, Statement};

/// The most messages that are unanswered at a time.
const DEPTH: usize = 256;

/// No more is sent while those that are unanswered take more than so many times the limit of a slow one together. So many that take a
/// little hold nobody up for long.
const LOAD: u32 = 4;

/// A session in use is reset when this has passed, before the next read.
const RESET_EVERY: Duration = Duration::from_secs(1);

/// A session rests here for at least this long, even where every session is checked before it is lent.
const SHORTEST_REST: Duration = Duration::from_secs(1);

/// A session of the pool that the requests of one worker share. Its worker, its reader and what is in flight hold it.
///
/// Its drop returns the session to the pool: after a reset, or not at all.
pub(super) struct SharedSession {
    /// `Some` until the drop.
    pooled: Option<PooledSession>,
    pub(super) limits: SharedReadSettings,
    queue: Mutex<Queue>,
    _place: Place,
}

impl SharedSession {
    /// Takes a session from the pool, as a request does, and has the current runtime drive it.
    pub(super) async fn open(
        pool: &Arc<Pool>,
        limits: SharedReadSettings,
        place: Place,
    ) -> Option<Arc<Self>> {
        let pooled = pool.within_acquire_timeout(pool.acquire_in_time()).await.ok()?.ok()?;
        pooled.session().driver().adopt();
        pooled.session().cell().enter(Phase::Used, pooled.taken());
        let bound = pool.session_settings().reset_timeout;
        let set_up = match pooled.session().settings_left().is_empty() {
            true => READ_ONLY.to_owned(),
            false => anew(pool, pooled.session()),
        };
        match timeout(bound, lease::reset_at_once(pooled.session(), &set_up)).await {
            Ok(true) => {
                let now = Instant::now();
                let queue = Queue { used: Some(now), reset: Some(now), ..Queue::default() };
                Some(Arc::new(Self { pooled: Some(pooled), limits, queue: Mutex::new(queue), _place: place }))
            }
            _ => {
                pooled.discard(EndReason::ResetFailed);
                None
            }
        }
    }

    pub(super) fn session(&self) -> &Session {
        self.pooled().session()
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        self.pooled().pool()
    }

    fn pooled(&self) -> &PooledSession {
        self.pooled.as_ref().expect("only the drop takes it")
    }

    /// Sends a read, if the session takes one. Keeps at most `most` of its rows.
    pub(super) fn send(
        self: &Arc<Self>,
        prepared: Prepared,
        params: Encoded,
        most: usize,
        now: Instant,
    ) -> Option<oneshot::Receiver<Told>> {
        let mut queue = self.queue();
        if !self.takes(&mut queue, now) || !self.reset_if_due(&mut queue, now) {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let Prepared { statement, info } = prepared;
        let session = Arc::clone(self);
        let answer = async move { Answered::Read(session.run(statement, params, most).await) }.boxed();
        let asker = Asker { info, tell, told_late: false };
        queue.used = Some(now);
        queue.send(InFlight::new(answer, now, Some(asker))).then_some(told)
    }

    async fn run(&self, statement: Statement, params: Encoded, most: usize) -> Result<Rows, Error> {
        let mut stream = pin!(self.session().client().query_raw(&statement, params).await?);
        let (mut rows, mut count) = (Vec::new(), 0);
        while let Some(row) = stream.try_next().await? {
            count += 1;
            if rows.len() < most {
                rows.push(row);
            }
        }
        Ok(Rows { rows, count })
    }

    /// Whether it may be sent on.
    pub(super) fn takes(&self, queue: &mut Queue, now: Instant) -> bool {
        if queue.retired {
            return false;
        }
        let idle = queue.oldest().is_none() && queue.idle(now) >= self.longest_rest();
        if idle || self.session().retire_reason().is_some() {
            queue.retire();
            return false;
        }
        !queue.late && queue.depth() < DEPTH && queue.load < self.limits.slow.saturating_mul(LOAD)
    }

    /// Sends a reset, if one is due. `false` if it goes back to the pool for that.
    fn reset_if_due(self: &Arc<Self>, queue: &mut Queue, now: Instant) -> bool {
        if queue.reset.is_some_and(|last| now.saturating_duration_since(last) < RESET_EVERY) {
            return true;
        }
        // A hook may take several round trips, in which others would meet a session that is not set up.
        if self.pooled().retire_reason().is_some() || self.is_too_old() || self.has_hook() {
            queue.retire();
            return false;
        }
        queue.reset = Some(now);
        let session = Arc::clone(self);
        let answer = async move {
            let sql = anew(session.pool(), session.session());
            Answered::Reset(lease::reset_at_once(session.session(), &sql).await)
        };
        queue.send(InFlight::new(answer.boxed(), now, None))
    }

    /// Whether it has to go back to the pool to be replaced.
    pub(super) fn is_too_old(&self) -> bool {
        self.session().too_old().is_some()
    }

    fn has_hook(&self) -> bool {
        self.pool().connector().hooks().after_connect.is_some()
    }

    /// The number of messages that are not answered.
    pub(super) fn depth(&self) -> usize {
        self.queue().depth()
    }

    /// Takes no new reads from now on, and goes back to the pool after the last answer.
    pub(super) fn retire(&self) {
        self.queue().retire();
    }

    /// Whether a cancel request was sent, which may have hit any read.
    pub(super) fn was_cancelled(&self) -> bool {
        self.queue().cancelled
    }

    /// Cancels what runs, and takes no new reads from now on. A read that is hit instead is repeated by its asker.
    pub(super) fn cancel(self: &Arc<Self>) {
        let mut queue = self.queue();
        queue.retire();
        if std::mem::replace(&mut queue.cancelled, true) {
            return;
        }
        drop(queue);
        // Held until the request has been carried out, so that it cannot hit the next borrower's statement.
        let session = Arc::clone(self);
        let pool = Arc::clone(self.pool());
        self.pool().home().spawn(async move {
            let token = session.session().client().cancel_token();
            let cancelled = pool.connector().cancel(&token, session.session().address());
            match timeout(pool.session_settings().reset_timeout, cancelled).await {
                Ok(Ok(())) => {}
                // It may still be on its way, and must not find the next borrower's statement.
                Ok(Err(err)) => {
                    session.fail();
                    telemetry::cancel_failed(pool.stats().name(), &err);
                }
                Err(late) => {
                    session.fail();
                    telemetry::cancel_failed(pool.stats().name(), &late);
                }
            }
        });
    }

    /// The next message to be read, for the reader.
    pub(super) fn next(&self, cx: &Context<'_>) -> Next {
        self.queue().next(cx)
    }

    /// Records that the head has been answered, and tells its asker.
    pub(super) fn answered(&self, head: InFlight, answered: Answered) {
        let now = Instant::now();
        let lasted = now.saturating_duration_since(head.since);
        let blameless = self.queue().answered(&head, now);
        match (answered, head.asker) {
            (Answered::Read(answer), Some(asker)) => {
                if !blameless {
                    self.note(&asker.info, &answer, lasted, head.blamed.is_some());
                }
                if answer.as_ref().is_err_and(is_lost) {
                    self.fail();
                }
                // The asker may have gone.
                let _ = asker.tell.send(Told::Answer(answer));
            }
            (Answered::Reset(true), _) | (Answered::Read(_), None) => {}
            (Answered::Reset(false), _) => self.fail(),
        }
    }

    fn note(&self, info: &StatementInfo, answer: &Result<Rows, Error>, lasted: Duration, overdue: bool) {
        match answer {
            Ok(rows) if rows.count >= self.limits.large => info.sharing().ran_too_long(self.limits.slow),
            _ if overdue => info.sharing().ran(lasted, self.limits.slow),
            // What it took longer, this thread was busy.
            _ => info.sharing().ran(lasted.min(self.limits.slow), self.limits.slow),
        }
    }

    /// Records that the head has been unanswered for too long, and tells those who wait behind it.
    pub(super) fn overdue(&self, head: &mut InFlight) {
        let late = self.queue().overdue(head);
        for (tell, later) in late {
            // The asker may have gone.
            let _ = tell.send(Told::Late(later));
        }
    }

    /// Gives up all answers. Their askers ask elsewhere.
    pub(super) fn fail(&self) {
        // Dropped without the lock.
        let behind = self.queue().fail();
        drop(behind);
    }

    /// A session that nobody has used for this long goes back to the pool, which would check it, or end it.
    pub(super) fn longest_rest(&self) -> Duration {
        let settings = &self.pool().settings;
        let idle_timeout = settings.idle_timeout.unwrap_or(settings.test_after_idle);
        settings.test_after_idle.min(idle_timeout).max(SHORTEST_REST)
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedSession {
    fn drop(&mut self) {
        let broken = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner).broken;
        if let Some(pooled) = self.pooled.take() {
            match pooled.session().retire_reason() {
                None if broken => pooled.discard(EndReason::Unusable),
                _ => lease::give_back_shared(pooled),
            }
        }
    }
}

impl fmt::Debug for SharedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSession").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

/// What resets a session, and makes it one that only reads.
fn anew(pool: &Pool, session: &Session) -> String {
    format!("{};{READ_ONLY}", everything(pool, session))
}

/// Whether an error says that the session is gone, or cannot be trusted.
pub(super) fn is_lost(err: &Error) -> bool {
    err.as_db_error().is_none_or(|said| {
        use crate::tokio_postgres::error::Severity;
        matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
    })
}
