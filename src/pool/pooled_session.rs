//! A session of the pool while it is lent.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Pool;
use super::bb8_pool::Bb8Session;
use super::gate::{Grant, Permit, Resetting, Surplus};
use crate::session::{Abandoned, Session, cancel_until_quiet};
use crate::stats::{EndReason, Phase, line};
use crate::telemetry;

/// The longest wait for a session that is discarded to become quiet.
const LAST_CANCEL: Duration = Duration::from_secs(2);

/// A session of the pool while it is lent, with its place.
///
/// It fails closed. Only [`rest`](Self::rest) keeps the session in the pool. The drop discards it, so that a task that panics or is
/// cut off lets nothing through that is not known to be clean.
#[derive(Debug)]
pub(crate) struct PooledSession {
    /// `None` when it has been given back.
    held: Option<Held>,
    pool: Arc<Pool>,
    taken: Instant,
}

#[derive(Debug)]
struct Held {
    // Dropped in this order, because a place is free only when its session has ended.
    lent: Bb8Session,
    permit: Permit<Bb8Session>,
    told: Told,
}

/// Those who wait for the end of a session: it is over when they are dropped. In a box, because hardly any session has some and each
/// is moved with them.
pub(crate) type Told = Option<Box<SmallVec<[oneshot::Sender<()>; 1]>>>;

impl PooledSession {
    pub(crate) fn new(grant: Grant<Bb8Session>, pool: &Arc<Pool>) -> Self {
        let Grant { session, permit, .. } = grant;
        let held = Held { lent: session, permit, told: None };
        Self { held: Some(held), pool: Arc::clone(pool), taken: Instant::now() }
    }

    /// When it was taken at the gate.
    pub(crate) fn taken(&self) -> Instant {
        self.taken
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn session(&self) -> &Session {
        self.held.as_ref().expect("only its end takes the session").lent.session()
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        self.held.as_mut().expect("only its end takes the session").lent.session_mut()
    }

    /// Why the session must not stay in the pool, if so.
    ///
    /// Sessions that are too old end one at a time, and none during an outage: whether there will be others is known only when one
    /// has been opened.
    pub(crate) fn retire_reason(&self) -> Option<EndReason> {
        self.session().retire_reason().or_else(|| {
            let too_old = self.session().was_too_old()?;
            let may_go = self.pool.outage.cause().is_none() && self.pool.gate.is_settled();
            may_go.then_some(too_old)
        })
    }

    /// Counts the session as about to come back from a reset, until the guard is dropped.
    pub(crate) fn resetting(&self) -> Resetting<Bb8Session> {
        enter(self.session(), Phase::Resetting, self.session().idle_since());
        self.pool.gate.resetting()
    }

    /// Records that the session was used until now.
    pub(crate) fn used(&mut self) {
        if let Some(held) = &mut self.held {
            held.lent.session_mut().returned();
        }
    }

    /// Drops the senders when the session has ended.
    pub(crate) fn tell_of_end(&mut self, told: Told) {
        if let (Some(held), Some(told)) = (&mut self.held, told) {
            held.told.get_or_insert_default().extend(*told);
        }
    }

    /// Gives the session to the first in line, or lets it rest on the runtime that drives it. Ends it in the background if the
    /// pool was made smaller.
    pub(crate) fn rest(mut self) {
        if let Some(Held { lent, permit, told }) = self.held.take() {
            enter(lent.session(), Phase::Idle, lent.session().idle_since());
            if let Some(Surplus { session, permit }) = permit.deliver(Some(lent.session().runtime()), lent) {
                self.held = Some(Held { lent: session, permit, told });
                self.end_held(EndReason::Resized, None, false);
            }
        }
    }

    /// Ends the session, and frees the place when it has ended.
    pub(crate) async fn end(mut self, reason: EndReason) {
        if let Some(mut held) = self.held.take() {
            held.lent.count_ended(reason);
            enter(held.lent.session(), Phase::Ending, Instant::now());
            held.end().await;
        }
    }

    /// Ends a session on which nothing runs, in the background.
    pub(crate) fn end_in_background(mut self, reason: EndReason) {
        self.end_held(reason, None, false);
    }

    /// Ends the session in the background. Cancels first what may still run on it, because a backend notices that its client
    /// has gone only when its statement has ended.
    pub(crate) fn discard(mut self, reason: EndReason) {
        self.end_held(reason, Some(Abandoned::Cancelled), false);
    }

    /// Does the same for a session that was refused a write and cannot be asked why. Before the place is free, another connection asks
    /// its server.
    pub(crate) fn discard_and_look(mut self, reason: EndReason) {
        self.end_held(reason, Some(Abandoned::Cancelled), true);
    }

    /// Does the same for a session of which nobody knows whether something runs on it: nothing is cancelled where it answers.
    pub(crate) fn discard_unknown(mut self, reason: EndReason) {
        self.end_held(reason, Some(Abandoned::Ending), false);
    }

    /// Ends a session whose server may be gone. Frees the place after `bound` at the latest.
    pub(crate) async fn end_within(self, bound: Duration, reason: EndReason) {
        let _ = timeout(bound, self.end(reason)).await;
    }

    /// Logs at home, at the end: a drop that comes from a panic must not call a subscriber.
    fn end_held(&mut self, reason: EndReason, abandoned: Option<Abandoned>, looks: bool) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        held.permit.ending();
        enter(held.lent.session(), Phase::Ending, Instant::now());
        held.lent.count_ended(reason);
        let pool = Arc::clone(&self.pool);
        self.pool.home().spawn(async move {
            if let Some(abandoned) = abandoned.filter(|_| !held.lent.session().is_silent()) {
                let last = cancel_until_quiet(held.lent.session(), pool.connector(), abandoned);
                let _ = timeout(LAST_CANCEL, last).await;
            }
            let doubted = looks.then(|| held.lent.session().doubted());
            let look = async {
                if let Some(doubted) = doubted {
                    pool.connector().look_at(doubted).await;
                }
            };
            held.end_then(look).await;
            pool.refuse_if_unavailable();
            pool.refill().await;
            telemetry::session_discarded(pool.stats().name(), &reason);
        });
    }
}

/// Notes on the board what the session is used for from now on.
fn enter(session: &Session, phase: Phase, now: Instant) {
    let former = session.cell().enter(phase, now);
    if former.phase == Phase::Used {
        session.stats().record(|recorder| recorder.used(now.saturating_duration_since(former.since)));
    }
    if former.warned {
        let caller = former.holder.as_ref().and_then(|holder| holder.place.caller).map(line);
        let held = now.saturating_duration_since(former.since);
        telemetry::held_session_returned(session.stats().name(), held, caller.as_deref().unwrap_or_default());
    }
}

impl Drop for PooledSession {
    fn drop(&mut self) {
        self.end_held(EndReason::Dropped, Some(Abandoned::Cancelled), false);
    }
}

impl Held {
    async fn end(self) {
        self.end_then(ready(())).await;
    }

    /// Ends the session, and does something else in its place.
    async fn end_then(mut self, other: impl Future<Output = ()>) {
        self.permit.ending();
        let Self { lent, permit, told } = self;
        lent.end().await;
        other.await;
        drop(permit);
        drop(told);
    }
}
