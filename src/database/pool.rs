//! Who gets a session, and when: a fair gate in front of a bb8 pool that is only ever entered at home.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bb8_postgres::bb8;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::activity::Answer;
use super::connect_error::ConnectError;
use super::connector::Connector;
use super::gate::{Entry, Gate, Grant, Permit};
use super::home::{AtHome, Home};
use super::lease::Lease;
use super::place::{Manager, Place, Slot};
use super::session::Session;
use super::shelf::Shelf;
use super::sql::Traces;
use super::status::Status;
use crate::config::{PoolSettings, SessionSettings, Settings};
use crate::error::AcquireError;
use crate::telemetry;

/// How often bb8 looks for sessions that have idled too long and for a floor that is not met.
const REAPER_RATE: Duration = Duration::from_secs(1);

/// How long a borrower that has a place, but no session yet, waits before it has bb8 look and try again.
const RECONNECT: Duration = Duration::from_millis(250);

/// How long a session that has idled may take to answer.
const CHECK: Duration = Duration::from_secs(2);

/// bb8 always gets a bound; waiting is bounded here, at the gate and behind it.
const UNBOUNDED: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Pool {
    settings: PoolSettings,
    session_settings: SessionSettings,
    connector: Arc<Connector>,
    sessions: bb8::Pool<Manager>,
    gate: Arc<Gate<Arc<Lease>>>,
    home: Home,
    closed: AtomicBool,
    returned: Notify,
}

impl Pool {
    /// A pool at home on the current runtime, with these sessions in it, which are not fewer than its floor.
    pub(crate) async fn new(
        settings: &Settings,
        connector: Arc<Connector>,
        mut sessions: Vec<Box<Session>>,
    ) -> Result<Arc<Self>, ConnectError> {
        let PoolSettings { min_size, max_size, idle_timeout, max_lifetime, .. } = settings.pool;
        let shelf = Arc::<Shelf>::default();
        let spare = sessions.split_off(sessions.len().min(min_size as usize));
        let manager = Manager {
            connector: Arc::clone(&connector),
            shelf: Arc::clone(&shelf),
            opened: Mutex::new(sessions),
        };
        let idle = bb8::Pool::builder()
            .max_size(max_size)
            .min_idle(min_size)
            .test_on_check_out(false)
            .retry_connection(false)
            .connection_timeout(UNBOUNDED)
            .idle_timeout(idle_timeout)
            // Never `None` for both: the reaper is what keeps the floor.
            .max_lifetime(max_lifetime.unwrap_or(UNBOUNDED))
            .reaper_rate(REAPER_RATE)
            .queue_strategy(bb8::QueueStrategy::Lifo)
            // Asks for the floor at once, and is given what is open already.
            .build(manager)
            .await?;
        for session in spare {
            let _ = idle.add(shelf.stock(session));
        }
        let gate = Gate::new(max_size);
        Ok(Arc::new(Self {
            settings: settings.pool.clone(),
            session_settings: settings.session.clone(),
            connector,
            sessions: idle,
            home: Home::current(&gate),
            gate,
            closed: AtomicBool::new(false),
            returned: Notify::new(),
        }))
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
        while let Some(permit) = self.gate.try_enter() {
            let slot = self.slot().now_or_never()?.ok()?;
            let Some((session, place)) = self.place(slot, permit) else {
                continue;
            };
            let lease = Lease::new(session, place);
            match lease.session().unfit() {
                None if lease.session().idle_for() < self.settings.test_after_idle => {
                    return Some(lease);
                }
                None => return None,
                Some(_) => drop(lease),
            }
        }
        None
    }

    /// Lends a session, waiting for it in the order of arrival and for `acquire_timeout` at most.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Arc<Lease>, AcquireError> {
        let deadline = Instant::now() + self.settings.acquire_timeout;
        loop {
            let permit = match self.enter(deadline).await? {
                Grant::Permit(permit) => permit,
                Grant::Handed(lease) => {
                    lease.session().driver().adopt();
                    match self.answers(&lease).await {
                        true => return Ok(lease),
                        false => continue,
                    }
                }
            };
            let slot = self.slot_until(deadline).await?;
            let Some((session, place)) = self.place(slot, permit) else { continue };
            let lease = Lease::new(session, place);
            if self.answers(&lease).await {
                return Ok(lease);
            }
        }
    }

    async fn enter(&self, deadline: Instant) -> Result<Grant<Arc<Lease>>, AcquireError> {
        let here = Handle::try_current().ok().map(|here| here.id());
        let ticket = match self.gate.enter(here, self.settings.max_waiting) {
            Entry::Permit(permit) => return Ok(Grant::Permit(permit)),
            Entry::Wait(ticket) => ticket,
            Entry::Full => {
                let max_waiting = self.settings.max_waiting.unwrap_or(u32::MAX);
                return Err(AcquireError::QueueFull { max_waiting });
            }
            Entry::Closed => return Err(self.stopped()),
        };
        match timeout_at(deadline, ticket).await {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) => Err(self.stopped()),
            Err(_) => Err(self.timed_out(None)),
        }
    }

    /// Lends a session that has come back to one who waits, or makes it idle.
    pub(super) fn pass_on(&self, session: Box<Session>, place: Place) {
        if self.gate.waiting() == 0 {
            return place.put(session);
        }
        let runtime = session.runtime();
        if let Err(lease) = self.gate.hand_over(runtime, Lease::new(session, place)) {
            lease.put_back();
        }
    }

    /// A session for the holder of a permit: idle, or about to be opened.
    async fn slot_until(&self, deadline: Instant) -> Result<Slot, AcquireError> {
        let mut failures = self.connector.failures();
        let mut cause = None;
        let mut slot = pin!(self.slot());
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
                    slot.set(self.slot());
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

    fn slot(&self) -> AtHome<'_, impl Future<Output = Result<Slot, bb8::RunError<ConnectError>>> + use<>> {
        let sessions = self.sessions.clone();
        self.home.run(async move { sessions.get_owned().await })
    }

    fn place(self: &Arc<Self>, slot: Slot, permit: Permit<Arc<Lease>>) -> Option<(Box<Session>, Place)> {
        let mut place = Place::new(slot, permit, Arc::clone(self));
        let session = place.take()?;
        session.driver().adopt();
        Some((session, place))
    }

    /// Whether a session that may have died while it idled is alive. One that has not idled for long is not asked.
    async fn answers(&self, lease: &Arc<Lease>) -> bool {
        let session = lease.session();
        if session.unfit().is_some() {
            return false;
        }
        if session.idle_for() < self.settings.test_after_idle {
            return true;
        }
        let Ok(mut usage) = lease.enter() else {
            return false;
        };
        if usage.send(Traces::default(), Answer::Whole).await.is_err() {
            return false;
        }
        match timeout(CHECK, session.client().check_connection()).await {
            Ok(Ok(())) => {
                return usage.answered(Ok(())).is_ok();
            }
            Ok(Err(err)) => telemetry::check_failed(&err),
            Err(late) => telemetry::check_failed(&late),
        }
        usage.give_up();
        false
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
        self.gate.close();
        let deadline = Instant::now() + self.settings.close_timeout;
        let _ = timeout_at(deadline, self.all_returned()).await;
        while let Some(Ok(mut slot)) = (self.idle() > 0).then(|| self.slot().now_or_never()).flatten() {
            let _home = self.home().enter();
            drop(slot.spend());
            drop(slot);
        }
        let _ = timeout_at(deadline, self.connector.ended()).await;
        telemetry::database_closed(self.connector.alive());
    }

    async fn all_returned(&self) {
        loop {
            let returned = self.returned.notified();
            if self.lent() == 0 {
                return;
            }
            returned.await;
        }
    }

    /// A place has become free.
    pub(super) fn returned(&self) {
        if self.is_closed() {
            self.returned.notify_waiters();
        }
    }

    fn idle(&self) -> u32 {
        self.sessions.state().idle_connections
    }

    fn lent(&self) -> u32 {
        self.settings.max_size.saturating_sub(self.gate.free())
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.sessions.state();
        Status {
            max: self.settings.max_size,
            open: state.connections,
            idle: state.idle_connections,
            used: state.connections.saturating_sub(state.idle_connections),
            pending_requests: self.gate.waiting(),
        }
    }
}
