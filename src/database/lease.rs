//! One borrow of one session: who uses it, and what they may leave behind. Dropping it returns the session.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::place::Place;
use super::pool::Pool;
use super::reset;
use super::session::Session;
use super::sql::Traces;
use crate::config::Echo;
use crate::{Error, Result, telemetry};

/// A session on loan. Everyone who uses it holds a [`Usage`]; the last to let go returns it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `Some` until the drop.
    loan: Option<(Box<Session>, Place)>,
    activity: Mutex<Activity>,
    repaired: Notify,
}

/// What is going on on a lent session.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Statements, row streams, transactions and client guards that are alive.
    users: u32,
    /// Those of them whose statement may be on its way; a client guard always counts.
    in_flight: u32,
    /// A row stream is open: the answers of later statements would be stuck behind it.
    streaming: bool,
    /// A statement was left before its answer was read, and nobody has made sure that it ended.
    abandoned: bool,
    pub(super) health: Health,
    pub(super) traces: Traces,
    /// The session has been used at all.
    pub(super) used: bool,
    /// Statements may have been sent, and left, that were never seen here.
    pub(super) unseen: bool,
}

impl Activity {
    fn settle(&mut self, sent: bool, streaming: bool) {
        self.in_flight -= u32::from(sent);
        self.streaming &= !streaming;
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Sound,
    /// Abandoned statements are being cancelled; no other may start.
    InRepair,
    /// They did not end in time, or a panic came between.
    Broken,
}

impl Lease {
    pub(super) fn new(session: Box<Session>, place: Place) -> Arc<Self> {
        let loan = Some((session, place));
        Arc::new(Self { loan, activity: Mutex::default(), repaired: Notify::new() })
    }

    /// Makes the session of a lease that nobody had idle again.
    pub(super) fn put_back(self: Arc<Self>) {
        if let Some(mut lease) = Arc::into_inner(self)
            && let Some((session, place)) = lease.loan.take()
        {
            place.put(session);
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.loan().0
    }

    fn pool(&self) -> &Arc<Pool> {
        self.loan().1.pool()
    }

    fn loan(&self) -> &(Box<Session>, Place) {
        self.loan.as_ref().expect("only the drop takes the loan")
    }

    /// Becomes a user of the session. Refused while a row stream is open.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Usage> {
        let mut activity = self.activity();
        if activity.streaming {
            return Err(Error::Busy);
        }
        activity.users += 1;
        Ok(Usage { lease: Arc::clone(self), sent: false, streaming: false })
    }

    /// Whether a statement, row stream, transaction or client guard is alive.
    pub(crate) fn in_use(&self) -> bool {
        self.activity().users > 0
    }

    pub(super) fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((session, place)) = self.loan.take() else {
            return;
        };
        let activity = mem::take(self.activity.get_mut().unwrap_or_else(PoisonError::into_inner));
        reset::give_back(session, place, &activity);
    }
}

/// The repair of a lent session. Dropped unfinished, because its runtime stops, it has failed.
struct Repair {
    lease: Arc<Lease>,
    outcome: Health,
}

impl Repair {
    fn new(lease: &Arc<Lease>) -> Self {
        Self { lease: Arc::clone(lease), outcome: Health::Broken }
    }

    /// Cancels what was abandoned and waits until the session is quiet, within `reset_timeout`.
    async fn run(mut self) {
        let pool = self.lease.pool();
        let bound = pool.session_settings().reset_timeout;
        match timeout(bound, reset::quieten(self.lease.session(), pool.connector())).await {
            Ok(true) => self.outcome = Health::Sound,
            Ok(false) | Err(_) => telemetry::repair_failed(bound),
        }
    }
}

impl Drop for Repair {
    fn drop(&mut self) {
        let mut activity = self.lease.activity();
        activity.abandoned = false;
        activity.health = self.outcome;
        drop(activity);
        self.lease.repaired.notify_waiters();
    }
}

/// One user of a lent session: from before its first message to after its last answer.
///
/// Cancellation safety: dropped between [`send`](Self::send) and [`done`](Self::done), its statement is abandoned.
/// When no other is in flight, what was abandoned is cancelled on the server (P18).
#[derive(Debug)]
pub(crate) struct Usage {
    lease: Arc<Lease>,
    sent: bool,
    streaming: bool,
}

impl Usage {
    pub(crate) fn session(&self) -> &Session {
        self.lease.session()
    }

    pub(crate) fn command_timeout(&self) -> Option<Duration> {
        self.lease.pool().session_settings().command_timeout
    }

    pub(crate) fn echo(&self) -> Echo {
        self.lease.pool().session_settings().echo
    }

    /// Waits until abandoned statements are out of the way; fails if the session did not survive that.
    ///
    /// Counts as in flight from here on, so that no repair can begin before the statement is sent and hit it.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let lease = Arc::clone(&self.lease);
        loop {
            let repaired = lease.repaired.notified();
            {
                let mut activity = lease.activity();
                match activity.health {
                    Health::Sound => {
                        activity.in_flight += u32::from(!mem::replace(&mut self.sent, true));
                        return Ok(());
                    }
                    Health::Broken => return Err(Error::SessionLost),
                    Health::InRepair => {}
                }
            }
            repaired.await;
        }
    }

    /// Records that a statement with these traces is about to be sent.
    pub(crate) fn send(&mut self, traces: Traces) -> Result<()> {
        let mut activity = self.lease.activity();
        if activity.streaming && !self.streaming {
            return Err(Error::Busy);
        }
        activity.in_flight += u32::from(!mem::replace(&mut self.sent, true));
        activity.used = true;
        activity.traces = activity.traces.union(traces);
        drop(activity);
        if traces.statements {
            self.session().retire();
        }
        Ok(())
    }

    /// Like [`send`](Self::send), for a statement whose rows are read one by one: none may follow until they are.
    pub(crate) fn send_stream(&mut self, traces: Traces) -> Result<()> {
        self.send(traces)?;
        self.lease.activity().streaming = true;
        self.streaming = true;
        Ok(())
    }

    /// Records that the last answer has been read.
    pub(crate) fn done(&mut self) {
        let mut activity = self.lease.activity();
        activity.settle(mem::take(&mut self.sent), mem::take(&mut self.streaming));
        self.repair_if_due(activity);
    }

    /// Records that no answer is to be expected any more: the session is discarded at its return.
    pub(super) fn give_up(&mut self) {
        let mut activity = self.lease.activity();
        activity.settle(mem::take(&mut self.sent), mem::take(&mut self.streaming));
        activity.health = Health::Broken;
    }

    /// Lends the client itself, of whose statements nothing is known.
    pub(crate) fn lend_client(&self) {
        let mut activity = self.lease.activity();
        activity.used = true;
        activity.unseen = true;
        activity.traces = activity.traces.union(Traces::UNKNOWN);
    }

    fn repair_if_due(&self, mut activity: MutexGuard<'_, Activity>) {
        if activity.abandoned && activity.in_flight == 0 && activity.health == Health::Sound {
            activity.health = Health::InRepair;
            drop(activity);
            self.lease.pool().home().spawn(Repair::new(&self.lease).run());
        }
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let mut activity = self.lease.activity();
        activity.users -= 1;
        if self.sent && thread::panicking() {
            // A parameter that panicked has left half a message in the driver's buffer.
            activity.health = Health::Broken;
        }
        activity.abandoned |= self.sent;
        activity.settle(mem::take(&mut self.sent), mem::take(&mut self.streaming));
        self.repair_if_due(activity);
    }
}
