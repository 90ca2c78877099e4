//! The return of a session to the pool: clean, or not at all.
//!
//! ```text
//!                    known to be clean
//!   give_back ──────────────────────────────────────> rest
//!       │ only settings: the next borrower resets them ──> rest
//!       │ dirty                    answered, in step
//!       ├────────> ROLLBACK; RESET … ───────────────> rest
//!       │                          │ an error, late, or out of step
//!       │ broken                   v
//!       └──────────────────────> discard: cancelled, ended, and only then is the place free
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::health::Health;
use super::request_settings::RequestSettings;
use super::state::LeaseState;
use crate::config::Reset;
use crate::pool::{Pool, PooledSession};
use crate::session::{Abandoned, HookFailed, Session, answer, ask, cancel_until_quiet};
use crate::sql::SideEffects;
use crate::stats::{EndReason, Event};
use crate::telemetry::{self, Span};
use crate::{Error, tokio_postgres};

/// What makes the server vouch for a shared session: a statement that does more than read is answered with 25006.
pub(crate) const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// How long a waiter is left to a session that is being reset. After that another session is opened.
const GRACE: Duration = Duration::from_millis(10);

/// Returns a session to the pool: at once if it is known to be clean, else after a reset in the background. The session keeps
/// its place meanwhile.
pub(crate) fn give_back(mut pooled: PooledSession, state: &LeaseState, settings: &RequestSettings) {
    let pool = Arc::clone(pooled.pool());
    if state.used {
        pooled.used();
    }
    if !pool.connector().hooks().accepts_release(pooled.session().client()) {
        return pooled.discard(EndReason::Refused);
    }
    if state.unpinned
        && (state.side_effects != SideEffects::CLEAN || state.untracked || state.in_transaction())
    {
        // What a transaction leaves behind is cleared at its end. The pooler ends the backend of one that has not ended.
        return match state.refused_write {
            false => pooled.discard(EndReason::Unusable),
            true => pooled.discard_and_look(EndReason::Unusable),
        };
    }
    if state.has_unknown_effects() {
        // Whoever sends what nobody knows may also have had the server drop its prepared statements.
        pooled.session().settings_left().forget();
    }
    let leaves_settings = state.configured
        && may_leave_settings(&pool, pooled.session(), state)
        && state.is_in_force(settings.version())
        && settings.leave(pooled.session_mut());
    let cleaning = Cleaning::needed(pool.session_settings().reset, state, leaves_settings);
    let untracked = state.untracked;
    let refused_write = state.refused_write;
    match (state.health, pooled.retire_reason()) {
        (Health::Sound, None) if pool.is_closed() => pooled.end_in_background(EndReason::Closed),
        (Health::Sound, None) if cleaning.is_none() && !refused_write => pooled.rest(),
        (Health::Sound, None) => {
            let resetting = pooled.resetting();
            let home = Arc::clone(&pool);
            home.home().spawn(async move {
                let mut resetting = Some(resetting);
                let cleaned = {
                    let mut cleaning = pin!(async {
                        clean(&pool, pooled.session(), cleaning, untracked).await?;
                        let bound = pool.session_settings().reset_timeout;
                        match !refused_write || pooled.session().looks_again(bound).await {
                            true => Ok(()),
                            false => Err(EndReason::CheckFailed),
                        }
                    });
                    match timeout(GRACE, &mut cleaning).await {
                        Ok(cleaned) => cleaned,
                        Err(_) => {
                            resetting = None;
                            cleaning.await
                        }
                    }
                };
                match (cleaned, pooled.retire_reason()) {
                    (Ok(()), None) => {
                        if cleaning.is_some_and(|cleaning| cleaning.reset) {
                            pooled.session_mut().settings_left_mut().clear();
                        }
                        pooled.rest();
                    }
                    (Ok(()), Some(reason)) => pooled.end_in_background(reason),
                    (Err(reason), _) => pooled.discard(reason),
                }
                // Until now it stood for a session that would come back.
                drop(resetting);
            });
        }
        (health, retire_reason) => {
            let reason = retire_reason.unwrap_or(EndReason::Unusable);
            if refused_write && retire_reason.is_none() {
                pooled.discard_and_look(reason);
            } else if health != Health::Sound || untracked {
                pooled.discard(reason);
            } else {
                pooled.end_in_background(reason);
            }
        }
    }
}

/// Returns a session that was shared: after a reset, because nobody knows what views and policies have left behind.
pub(crate) fn give_back_shared(pooled: PooledSession) {
    let mut state = LeaseState::default();
    state.used = true;
    state.mark_untracked();
    give_back(pooled, &state, &RequestSettings::default());
}

/// Resets what requests have left on a session, for a borrower who applies no settings. Fails where the session is lost.
pub(super) async fn without_settings(mut pooled: PooledSession) -> Result<PooledSession, Error> {
    if pooled.session().settings_left().is_empty() {
        return Ok(pooled);
    }
    pooled.session().driver().adopt();
    let bound = pooled.pool().session_settings().reset_timeout;
    let all = everything(pooled.pool(), pooled.session());
    match timeout(bound, reset(pooled.session(), &all)).await {
        Ok(Ok(true)) => {
            pooled.session_mut().settings_left_mut().clear();
            Ok(pooled)
        }
        _ => Err(Error::SessionLost),
    }
}

/// Whether the settings of a request may stay on the session until its next borrower applies other ones. Not where more was done to it
/// than is known, nor where a hook could see them, or its own would be reset, nor on a server that may not know `RESET ALL`.
fn may_leave_settings(pool: &Pool, session: &Session, state: &LeaseState) -> bool {
    let hooks = pool.connector().hooks();
    let seen = hooks.after_connect.is_some() || hooks.before_acquire.is_some();
    pool.session_settings().reset != Reset::Always
        && session.dialect().is_whole()
        && !state.has_unknown_effects()
        && !seen
}

/// The statements that a session needs before it may be lent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cleaning {
    rollback: bool,
    reset: bool,
}

impl Cleaning {
    fn needed(reset: Reset, state: &LeaseState, leaves_settings: bool) -> Option<Self> {
        if state.unpinned {
            return None;
        }
        let rollback = state.side_effects.transaction || state.in_transaction();
        // A rollback may bring back what was in force before.
        let settings = state.configured && (rollback || !leaves_settings);
        let cleaning = Self {
            rollback,
            reset: match reset {
                Reset::Auto => state.side_effects.session || settings,
                Reset::Always => state.used,
                // A tenant is never handed to the next request, nor is the answer to a COPY.
                Reset::Never => settings || state.side_effects.copies,
            },
        };
        (cleaning.rollback || cleaning.reset).then_some(cleaning)
    }
}

/// Cleans a session, or says why it has to end.
async fn clean(
    pool: &Pool,
    session: &Session,
    cleaning: Option<Cleaning>,
    untracked: bool,
) -> Result<(), EndReason> {
    let Some(cleaning) = cleaning else {
        return Ok(());
    };
    session.driver().go_home();
    pool.stats().count(Event::Reset);
    let _span = Span::session("reset", Some(session.peer()));
    let bound = pool.session_settings().reset_timeout;
    let cleaned = timeout(bound, async {
        if untracked && !cancel_until_quiet(session, pool.connector(), Abandoned::Ending).await {
            return Ok::<_, tokio_postgres::Error>(false);
        }
        let sql = if cleaning.rollback { "ROLLBACK" } else { "" };
        let is_synchronized = match cleaning.reset {
            true => reset(session, &format!("{sql};{}", everything(pool, session))).await?,
            false => ask(session, sql).await?,
        };
        if !is_synchronized {
            telemetry::session_discarded(pool.stats().name(), &"its answers do not belong to its questions");
            return Ok(false);
        }
        Ok(!cleaning.reset || set_up(pool, session).await)
    });
    match cleaned.await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(EndReason::ResetFailed),
        Ok(Err(err)) => {
            telemetry::reset_failed(pool.stats().name(), &err);
            // A server that has ended the session says so to the next one who asks.
            Err(if err.is_closed() { EndReason::ConnectionLost } else { EndReason::ResetFailed })
        }
        Err(late) => {
            telemetry::reset_failed(pool.stats().name(), &late);
            Err(EndReason::ResetFailed)
        }
    }
}

/// The statements that reset everything on a session but what SQL has prepared, and set again what a pooler has not passed on.
pub(crate) fn everything(pool: &Pool, session: &Session) -> String {
    format!("{};{}", session.dialect().reset(), pool.session_settings().restore)
}

/// Runs a reset of [`everything`], possibly with other statements, and removes what SQL has prepared. `false` as for [`ask`].
pub(super) async fn reset(session: &Session, sql: &str) -> Result<bool, tokio_postgres::Error> {
    let mut sql = sql.to_owned();
    loop {
        let Some(row) = answer(session, &sql, session.dialect().deallocate()).await? else {
            return Ok(false);
        };
        match row.try_get(1)? {
            Some(deallocate) => deallocate.clone_into(&mut sql),
            None => return Ok(true),
        }
    }
}

/// Runs statements in one message, and says whether the session is in step and has no prepared statements of SQL.
pub(crate) async fn reset_at_once(session: &Session, sql: &str) -> bool {
    let answered = answer(session, sql, session.dialect().deallocate()).await;
    answered.is_ok_and(|row| row.is_some_and(|row| matches!(row.try_get(1), Ok(None))))
}

/// Sets the session up again, because the reset has undone what the application's hook did after the login.
pub(super) async fn set_up(pool: &Pool, session: &Session) -> bool {
    let bound = pool.session_settings().reset_timeout;
    match pool.connector().hooks().set_up(session.client(), bound).await {
        Ok(()) => true,
        Err(failed) => {
            match failed {
                HookFailed::Postgres(err) => telemetry::reset_failed(pool.stats().name(), &err),
                HookFailed::Interrupted => telemetry::hook_interrupted(pool.stats().name()),
            }
            false
        }
    }
}
