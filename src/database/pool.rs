//! Who gets a session, and when: a fair gate, and behind it a bb8 pool that is only ever entered at home.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::acquire_error::AcquireError;
use super::activity::Answer;
use super::connect_error::ConnectError;
use super::connector::Connector;
use super::gate::{Entry, Gate, Pass, Permit};
use super::home::Home;
use super::lease::Lease;
use super::place::{Place, Slot};
use super::session::Session;
use super::sql::Traces;
use super::status::Status;
use super::stock::{REAPER_RATE, Stock};
use crate::config::{PoolSettings, SessionSettings, Settings};
use crate::telemetry;

/// How long a session that was used rests at the gate before bb8 gets it back: so often is looked for those that nobody
/// borrowed again.
const REST: Duration = REAPER_RATE;

/// How long a borrower that has a permit, but no session yet, waits before it has bb8 look and try again.
const RECONNECT: Duration = Duration::from_millis(250);

/// How long a session that has idled may take to answer.
const CHECK: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Pool {
    settings: PoolSettings,
    session_settings: SessionSettings,
    connector: Arc<Connector>,
    stock: Stock,
    gate: Arc<Gate<Slot>>,
    home: Home,
    closed: AtomicBool,
}

impl Pool {
    /// A pool at home on the current runtime, with these sessions in it, which are not fewer than its floor.
    pub(crate) async fn new(
        settings: &Settings,
        connector: Arc<Connector>,
        sessions: Vec<Box<Session>>,
    ) -> Result<Arc<Self>, ConnectError> {
        let gate = Gate::new(settings.pool.max_size);
        let pool = Arc::new(Self {
            settings: settings.pool.clone(),
            session_settings: settings.session.clone(),
            stock: Stock::new(&settings.pool, Arc::clone(&connector), sessions).await?,
            connector,
            home: Home::current(&gate),
            gate,
            closed: AtomicBool::new(false),
        });
        pool.home.spawn(put_to_bed(Arc::downgrade(&pool)));
        Ok(pool)
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    pub(crate) fn session_settings(&self) -> &SessionSettings {
        &self.session_settings
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lends a session without waiting, if one is idle that needs no check.
    pub(crate) fn acquire_now(self: &Arc<Self>) -> Option<Arc<Lease>> {
        loop {
            let Pass { session, permit } = self.gate.try_enter(here())?;
            let (slot, permit) = match session.or_else(|| self.stock.idle(&self.home)) {
                Some(slot) => (slot, permit),
                None => match permit.trade().ok()? {
                    Pass { session: Some(slot), permit } => (slot, permit),
                    Pass { session: None, .. } => return None,
                },
            };
            let lease = self.lend(slot, permit);
            match lease.session().unfit() {
                None if self.is_fresh(&lease) => return Some(lease),
                None => return None,
                Some(_) => drop(lease),
            }
        }
    }

    /// Lends a session, waiting for it in the order of arrival and for `acquire_timeout` at most.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Arc<Lease>, AcquireError> {
        let since = Instant::now();
        let deadline = since + self.settings.acquire_timeout;
        loop {
            let Pass { session, permit } = self.enter(since, deadline).await?;
            let (slot, permit) = match session.or_else(|| self.stock.idle(&self.home)) {
                Some(slot) => (slot, permit),
                None => match permit.trade() {
                    Ok(Pass { session: Some(slot), permit }) => (slot, permit),
                    Ok(_) => continue,
                    // Boxed, as is the check below: whoever waits at the gate has this future allocated.
                    Err(hungry) => (self.slot_until(deadline).boxed().await?, hungry.fed()),
                },
            };
            let lease = self.lend(slot, permit);
            if self.answers(&lease).await {
                return Ok(lease);
            }
        }
    }

    fn lend(self: &Arc<Self>, slot: Slot, permit: Permit<Slot>) -> Arc<Lease> {
        let place = Place::new(slot, permit, Arc::clone(self));
        place.session().driver().adopt();
        Lease::new(place)
    }

    async fn enter(&self, since: Instant, deadline: Instant) -> Result<Pass<Slot>, AcquireError> {
        let ticket = match self.gate.enter(here(), self.settings.max_waiting, since.into_std()) {
            Entry::Pass(pass) => return Ok(pass),
            Entry::Wait(ticket) => ticket,
            Entry::Full => {
                let max_waiting = self.settings.max_waiting.unwrap_or(u32::MAX);
                return Err(AcquireError::QueueFull { max_waiting });
            }
            Entry::Closed => return Err(self.stopped()),
        };
        match timeout_at(deadline, ticket).await {
            Ok(Some(pass)) => Ok(pass),
            Ok(None) => Err(self.stopped()),
            Err(_) => Err(self.timed_out(None)),
        }
    }
    /// A session for the holder of a permit: idle, or about to be opened.
    async fn slot_until(&self, deadline: Instant) -> Result<Slot, AcquireError> {
        let mut failures = self.connector.failures();
        let mut cause = None;
        let mut slot = pin!(self.stock.slot(&self.home));
        let mut retry = pin!(sleep(RECONNECT));
        loop {
            tokio::select! {
                biased;
                () = self.stops() => return Err(self.stopped()),
                slot = &mut slot => return slot.map_err(|_| self.timed_out(cause)),
                Ok(()) = failures.changed() => {
                    let Some(failure) = failures.borrow_and_update().clone() else { continue };
                    if self.connector.alive() == 0 {
                        return Err(AcquireError::Unavailable(failure));
                    }
                    cause = Some(failure);
                    retry.as_mut().reset(Instant::now() + RECONNECT);
                }
                // Without a failure as well: it may have come before we looked, and bb8 wakes one waiter for two sessions
                // that come back at once.
                () = &mut retry => {
                    slot.set(self.stock.slot(&self.home));
                    retry.as_mut().reset(Instant::now() + RECONNECT);
                }
                () = sleep_until(deadline) => return Err(self.timed_out(cause)),
            }
        }
    }

    /// Ready if nothing is lent any more, whoever wakes us. Has to be looked at before bb8 is: its timers panic when their
    /// runtime has stopped.
    fn stops(&self) -> impl Future<Output = ()> {
        poll_fn(|_| if self.gate.is_closed() { Poll::Ready(()) } else { Poll::Pending })
    }

    /// Whether a session that may have died while it idled is alive. One that has not idled for long is not asked.
    async fn answers(&self, lease: &Arc<Lease>) -> bool {
        if lease.session().unfit().is_some() {
            return false;
        }
        self.is_fresh(lease) || self.check(lease).boxed().await
    }

    async fn check(&self, lease: &Arc<Lease>) -> bool {
        let Ok(mut usage) = lease.enter() else {
            return false;
        };
        if usage.send(Traces::default(), Answer::Whole).await.is_err() {
            return false;
        }
        match timeout(CHECK, lease.session().client().check_connection()).await {
            Ok(Ok(())) => {
                return usage.answered(Ok(())).is_ok();
            }
            Ok(Err(err)) => telemetry::check_failed(&err),
            Err(late) => telemetry::check_failed(&late),
        }
        usage.give_up();
        false
    }

    fn is_fresh(&self, lease: &Lease) -> bool {
        lease.session().idle_for() < self.settings.test_after_idle
    }

    /// Bounds a wait that stands for one at the gate.
    #[cfg(feature = "testing")]
    pub(super) async fn within_acquire_timeout<T>(
        &self,
        wait: impl Future<Output = T>,
    ) -> Result<T, AcquireError> {
        timeout(self.settings.acquire_timeout, wait).await.map_err(|_| self.timed_out(None))
    }

    fn timed_out(&self, cause: Option<ConnectError>) -> AcquireError {
        AcquireError::TimedOut { acquire_timeout: self.settings.acquire_timeout, cause }
    }

    fn stopped(&self) -> AcquireError {
        if self.is_closed() { AcquireError::Closed } else { AcquireError::HomeStopped }
    }

    /// Stops lending, waits for what is lent, and ends every session; all within `close_timeout`.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.connector.close();
        let resting = self.gate.close();
        let deadline = Instant::now() + self.settings.close_timeout;
        let _ = timeout_at(deadline, self.gate.all_returned()).await;
        let idle = std::iter::from_fn(|| self.stock.idle(&self.home));
        for mut slot in resting.into_iter().chain(idle) {
            drop(slot.take());
        }
        let _ = timeout_at(deadline, self.connector.ended()).await;
        telemetry::database_closed(self.connector.alive());
    }

    pub(crate) fn status(&self) -> Status {
        let (open, idle) = self.stock.counts();
        let idle = idle + self.gate.resting();
        Status {
            max: self.settings.max_size,
            open,
            idle,
            used: open.saturating_sub(idle),
            pending_requests: self.gate.waiting(),
        }
    }
}

/// The runtime that a borrower runs on.
fn here() -> Option<Id> {
    Handle::try_current().ok().map(|here| here.id())
}

/// Has bb8 keep the sessions that have rested for a while: it ends those that nobody needs.
async fn put_to_bed(pool: Weak<Pool>) {
    loop {
        sleep(REST).await;
        let Some(pool) = pool.upgrade() else { return };
        drop(pool.gate.rested(|slot| slot.session().is_none_or(|session| session.idle_for() >= REST)));
    }
}
