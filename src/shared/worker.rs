//! The shared sessions of one worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::brake::Brake;
use super::encoded::{Encoded, encode};
use super::parse;
use super::places::Places;
use super::queue::Told;
use super::reader;
use super::shared_session::SharedSession;
use crate::config::SharedReadSettings;
use crate::lease::Params;
use crate::pool::Pool;
use crate::row::Plan;
use crate::stats::{Event, StatementInfo};
use crate::tokio_postgres::Statement;

/// The shortest pause between two attempts to have one more shared session.
const PAUSE: Duration = Duration::from_millis(100);

/// The same after one that has failed: the pool has no session to spare.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The shared sessions of one runtime. [`SharedReads`](super::SharedReads) holds it until the runtime stops.
#[derive(Debug)]
pub(super) struct Worker {
    pool: Arc<Pool>,
    limits: SharedReadSettings,
    places: Arc<Places>,
    state: Mutex<State>,
    /// Dropped, it ends the task that notices the end of the runtime.
    _alive: oneshot::Sender<()>,
}

#[derive(Debug)]
struct State {
    sessions: SmallVec<[Arc<SharedSession>; 1]>,
    /// One more session is being opened.
    opening: bool,
    next_try: Instant,
    closed: bool,
    brake: Brake,
}

/// A read that was sent.
pub(super) struct Sent {
    pub(super) session: Arc<SharedSession>,
    pub(super) info: Arc<StatementInfo>,
    pub(super) told: oneshot::Receiver<Told>,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) sql: &'a str,
    pub(super) params: Params<'a>,
    /// The most rows that are kept.
    pub(super) most: usize,
    /// What the columns have to fit. If they do not, it has to have a session of its own, where they are looked at anew.
    pub(super) wanted: Option<&'a Plan>,
}

impl Worker {
    pub(super) fn new(
        pool: &Arc<Pool>,
        limits: SharedReadSettings,
        places: &Arc<Places>,
        alive: oneshot::Sender<()>,
    ) -> Arc<Self> {
        let now = Instant::now();
        let brake = Brake::new(now.into_std());
        let state = State { sessions: SmallVec::new(), opening: false, next_try: now, closed: false, brake };
        Arc::new(Self {
            pool: Arc::clone(pool),
            limits,
            places: Arc::clone(places),
            state: Mutex::new(state),
            _alive: alive,
        })
    }

    /// Sends a read on one of the sessions. `None` if it has to have a session of its own.
    pub(super) fn ask(
        self: &Arc<Self>,
        question: Question<'_>,
        not: Option<&Arc<SharedSession>>,
    ) -> Option<Sent> {
        let now = Instant::now();
        let mut sessions = self.sessions(now);
        if sessions.len() > 1 {
            sessions.sort_by_cached_key(|session| session.depth());
        }
        let mut encoded: Option<(Statement, Encoded)> = None;
        for session in sessions {
            if not.is_some_and(|not| Arc::ptr_eq(not, &session)) {
                continue;
            }
            let Some(prepared) = session.session().cached(question.sql) else {
                let info = self.pool.stats().register.get(question.sql);
                if !self.shares(&info) {
                    return None;
                }
                parse::prepare(&session, info, now);
                continue;
            };
            let fits = question.wanted.is_none_or(|plan| plan.fits(prepared.statement.columns()));
            if !fits || !self.shares(&prepared.info) {
                return None;
            }
            let params = match &encoded {
                // The text may have been prepared there before a table has changed.
                Some((statement, params)) if statement.params() == prepared.statement.params() => {
                    params.clone()
                }
                // What does not fit is refused where it has a session of its own.
                _ => {
                    let params = encode(question.params, prepared.statement.params())?;
                    encoded = Some((prepared.statement.clone(), params.clone()));
                    params
                }
            };
            let info = Arc::clone(&prepared.info);
            if let Some(told) = session.send(prepared, params, question.most, now) {
                if not.is_none() {
                    self.state().brake.read(now.into_std());
                }
                self.pool.stats().count(Event::SharedRead);
                return Some(Sent { session, info, told });
            }
        }
        None
    }

    /// The sessions that there are. Has one more opened, if one is missed.
    fn sessions(self: &Arc<Self>, now: Instant) -> SmallVec<[Arc<SharedSession>; 1]> {
        let mut state = self.state();
        let missed = state.sessions.len() < self.limits.sessions as usize && !state.closed && !state.opening;
        let tries = missed && now >= state.next_try;
        if tries {
            state.opening = true;
            state.next_try = now + PAUSE;
        }
        let sessions = state.sessions.clone();
        drop(state);
        if tries {
            self.open();
        }
        sessions
    }

    fn open(self: &Arc<Self>) {
        let opening = Opening(Arc::clone(self));
        let Some(place) = self.places.take(self.pool.stats().name()) else { return };
        tokio::spawn(async move {
            let worker = &opening.0;
            match SharedSession::open(&worker.pool, worker.limits, place).await {
                Some(session) => worker.add(session),
                None => worker.state().next_try = Instant::now() + PAUSE_AFTER_FAILURE,
            }
        });
    }

    fn add(self: &Arc<Self>, session: Arc<SharedSession>) {
        let mut state = self.state();
        // The pool may have been made smaller while it was opened.
        if state.closed || self.places.has_too_many() {
            return;
        }
        state.sessions.push(Arc::clone(&session));
        drop(state);
        let worker = Arc::downgrade(self);
        reader::start(session, move |session| {
            if let Some(worker) = worker.upgrade() {
                worker.forget(session);
            }
        });
    }

    /// Whether a statement may be shared.
    fn shares(&self, info: &StatementInfo) -> bool {
        info.is_shareable() && info.sharing().allows(self.limits.slow)
    }

    /// How long a borrower waits.
    pub(super) fn patience(&self) -> Duration {
        self.pool.settings.acquire_timeout
    }

    /// Whether a read may be asked again elsewhere.
    pub(super) fn lets_ask_again(&self) -> bool {
        let lets = self.state().brake.lets_ask_again(std::time::Instant::now());
        if lets {
            self.pool.stats().count(Event::AskedAgain);
        }
        lets
    }

    /// Removes a session that goes back to the pool.
    pub(super) fn forget(&self, session: &Arc<SharedSession>) {
        let mut state = self.state();
        let (gone, left) = state.sessions.drain(..).partition(|one| Arc::ptr_eq(one, session));
        state.sessions = left;
        drop(state);
        // Dropped without the lock: that may return the session.
        let _: SmallVec<[_; 1]> = gone;
    }

    /// Shares nothing from now on. The sessions go back to the pool after their last answers.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.give_back();
    }

    /// The sessions go back to the pool after their last answers.
    pub(super) fn give_back(&self) {
        let sessions = std::mem::take(&mut self.state().sessions);
        for session in sessions {
            session.retire();
        }
    }

    /// The sessions that are too old go back to the pool after their last answers. Says whether there was one.
    pub(super) fn give_back_old(&self) -> bool {
        let mut sessions = self.state().sessions.clone();
        sessions.retain(|session| session.is_too_old());
        sessions.iter().for_each(|session| session.retire());
        !sessions.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more session is being opened, until the drop.
struct Opening(Arc<Worker>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.state().opening = false;
    }
}
