//! The one place where sessions go back: clean, or not at all.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::activity::{Abandoned, Activity, Health};
use super::connector::Connector;
use super::place::Place;
use super::pool::Pool;
use super::session::Session;
use crate::config::Reset;
use crate::telemetry;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Error, SimpleQueryMessage, SimpleQueryRow};

/// What [`DISCARD ALL`](https://www.postgresql.org/docs/current/sql-discard.html) does, but for prepared statements: the
/// cache needs those of the protocol, and [`reset`] removes those made with SQL's `PREPARE`.
///
/// `RESET ROLE` comes on top: a role given as a start-up setting is in force again afterwards.
pub(super) const RESET: &str = "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// What removes the prepared statements of SQL, in a second column. A `DO` block would need the right to use a language.
const DEALLOCATE: &str = ", pg_catalog.string_agg(pg_catalog.concat('DEALLOCATE ', pg_catalog.quote_ident(name)), ';') \
    FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/// How long a session of which nothing is known may take to answer before what runs on it is cancelled, and how long after
/// that before it is cancelled again.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long one who waits is left to a session that is being reset, before another one is opened for him.
const GRACE: Duration = Duration::from_millis(10);

/// Puts a session whose last user has gone back into the pool: at once if it is known to be clean, else after a reset in
/// the background, during which it keeps its place.
pub(super) fn give_back(mut place: Place, activity: &Activity) {
    let pool = Arc::clone(place.pool());
    if activity.used {
        place.used();
    }
    let cleaning = Cleaning::needed(pool.session_settings().reset, activity);
    let unseen = activity.unseen;
    match (activity.health, unfit(&place)) {
        (Health::Sound, None) if pool.is_closed() => place.end_in_background("the database has been closed"),
        (Health::Sound, None) if cleaning.is_none() => place.rest(),
        (Health::Sound, None) => {
            let resetting = pool.gate.resetting();
            let home = Arc::clone(&pool);
            home.home().spawn(async move {
                let mut resetting = Some(resetting);
                let cleaned = {
                    let mut cleaning = pin!(clean(&pool, place.session(), cleaning, unseen));
                    match timeout(GRACE, &mut cleaning).await {
                        Ok(cleaned) => cleaned,
                        Err(_) => {
                            resetting = None;
                            cleaning.await
                        }
                    }
                };
                match unfit(&place) {
                    None if cleaned => place.rest(),
                    Some(reason) if cleaned => place.end_in_background(reason),
                    _ => place.discard("it could not be reset"),
                }
                // Until now it has counted for one of those who wait.
                drop(resetting);
            });
        }
        (health, unfit) => {
            let reason = unfit.unwrap_or("a statement did not end");
            if health != Health::Sound || unseen {
                place.discard(reason);
            } else {
                place.end_in_background(reason);
            }
        }
    }
}

/// Why the session must not stay in the pool, if so. One that is too old does while no other can be opened.
fn unfit(place: &Place) -> Option<&'static str> {
    place.session().unfit().or_else(|| {
        let too_old = place.session().was_too_old() && place.pool().outage.cause().is_none();
        too_old.then_some("it has reached its max_lifetime")
    })
}

/// What has to be sent before a session may be lent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cleaning {
    rollback: bool,
    reset: bool,
}

impl Cleaning {
    fn needed(reset: Reset, activity: &Activity) -> Option<Self> {
        let cleaning = Self {
            rollback: activity.traces.transaction || activity.in_transaction(),
            reset: match reset {
                Reset::Auto => activity.traces.session,
                Reset::Always => activity.used,
                // A tenant is never handed to the next request, nor is the answer to a COPY.
                Reset::Never => activity.configured || activity.traces.copies,
            },
        };
        (cleaning.rollback || cleaning.reset).then_some(cleaning)
    }
}

async fn clean(pool: &Pool, session: &Session, cleaning: Option<Cleaning>, unseen: bool) -> bool {
    let Some(cleaning) = cleaning else {
        return true;
    };
    session.driver().go_home();
    let bound = pool.session_settings().reset_timeout;
    let cleaned = timeout(bound, async {
        if unseen && !quieten(session, pool.connector(), Abandoned::Ending).await {
            return Ok::<_, Error>(false);
        }
        let sql = if cleaning.rollback { "ROLLBACK" } else { "" };
        let in_step = match cleaning.reset {
            true => reset(session, &format!("{sql};{RESET}")).await?,
            false => ask(session, sql).await?,
        };
        if !in_step {
            telemetry::session_discarded("its answers do not belong to its questions");
        }
        Ok(in_step)
    });
    match cleaned.await {
        Ok(Ok(cleaned)) => cleaned,
        Ok(Err(err)) => {
            telemetry::reset_failed(&err);
            false
        }
        Err(late) => {
            telemetry::reset_failed(&late);
            false
        }
    }
}

/// Runs a [`RESET`], with other statements or not, and removes what SQL has prepared. `false`: as [`ask`].
pub(super) async fn reset(session: &Session, sql: &str) -> Result<bool, Error> {
    let mut sql = sql.to_owned();
    loop {
        let Some(row) = answer(session, &sql, DEALLOCATE).await? else {
            return Ok(false);
        };
        match row.try_get(1)? {
            Some(deallocate) => deallocate.clone_into(&mut sql),
            None => return Ok(true),
        }
    }
}

/// Runs statements, and says whether the session's answers belong to its questions.
///
/// A `COPY … FROM STDIN` that is refused once it has been sent leaves tokio-postgres 0.7 one answer behind: it sends a second
/// Sync, and takes the end of that for the answer to whatever comes next.
pub(super) async fn ask(session: &Session, sql: &str) -> Result<bool, Error> {
    Ok(answer(session, sql, "").await?.is_some())
}

/// The last row that statements are answered with, if it has the number that was asked for.
async fn answer(session: &Session, sql: &str, more: &str) -> Result<Option<SimpleQueryRow>, Error> {
    let question = rand::random::<u64>().to_string();
    let answers = session.client().simple_query(&format!("{sql};SELECT '{question}'{more}")).await?;
    let last = answers.into_iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(last.filter(|row| row.try_get(0).is_ok_and(|answer| answer == Some(&question))))
}

/// Cancels what runs on a session until it is quiet; `false` if it cannot be known to be.
///
/// A request that overtakes its statement is lost: a backend that is reading its next message ignores it. So it is repeated.
///
/// No later statement can be hit: each request is known to have been carried out before the session is probed, and the
/// probe that counts was sent after the last of them and is answered by a backend that has seen it. Where that is not known
/// the session must not be used again.
pub(super) async fn quieten(session: &Session, connector: &Connector, abandoned: Abandoned) -> bool {
    session.driver().go_home();
    if abandoned == Abandoned::Ending
        && let Ok(quiet) = timeout(PATIENCE, probe(session, abandoned)).await
    {
        return quiet;
    }
    let (mut patience, mut asked) = (PATIENCE, abandoned);
    loop {
        let token = session.client().cancel_token();
        if let Err(err) = connector.cancel(&token, session.address()).await {
            telemetry::cancel_failed(&err);
            return false;
        }
        match timeout(patience, probe(session, asked)).await {
            Ok(quiet) => return quiet,
            // In the middle of a COPY that nobody feeds a Sync is ignored, and a cancel too; a query ends the connection.
            Err(_) => (patience, asked) = (patience * 2, Abandoned::Ending),
        }
    }
}

/// Whether everything that was sent before is answered, and the session can be used.
async fn probe(session: &Session, abandoned: Abandoned) -> bool {
    let in_step = async || match abandoned {
        Abandoned::Cancelled => session.client().check_connection().await.map(|()| true),
        Abandoned::Ending => match ask(session, "").await {
            // A transaction that has failed answers nothing else. What may be left over of a COPY is no error.
            Err(err) if err.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => Ok(true),
            asked => asked,
        },
    };
    match in_step().await {
        // The statement had ended by itself, and the cancel hit the probe.
        Err(err) if err.code() == Some(&SqlState::QUERY_CANCELED) => in_step().await.unwrap_or(false),
        asked => asked.unwrap_or(false),
    }
}
