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
use crate::tokio_postgres::{Error, SimpleQueryMessage};

/// What [`DISCARD ALL`](https://www.postgresql.org/docs/current/sql-discard.html) does, but for the prepared
/// statements of the protocol, which the cache needs; those made with SQL's `PREPARE` are removed.
///
/// `RESET ROLE` comes on top: a role given as a start-up setting is in force again afterwards.
pub(super) const RESET: &str = "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
    DO $$ DECLARE prepared pg_catalog.name; BEGIN \
    FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP \
    EXECUTE 'DEALLOCATE ' || pg_catalog.quote_ident(prepared); END LOOP; END $$";

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
    match (activity.health, place.session().unfit()) {
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
                match place.session().unfit() {
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
                // A tenant is never handed to the next request.
                Reset::Never => activity.configured,
            },
        };
        (cleaning.rollback || cleaning.reset).then_some(cleaning)
    }

    fn sql(self) -> String {
        let statements: [&str; 2] =
            [if self.rollback { "ROLLBACK" } else { "" }, if self.reset { RESET } else { "" }];
        statements.join(";")
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
            return Ok(false);
        }
        session.client().batch_execute(&cleaning.sql()).await?;
        if unseen { in_step(session).await } else { Ok(true) }
    });
    match cleaned.await {
        Ok(Ok(quiet)) => quiet,
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

/// Whether a session's answers belong to its questions.
///
/// A `COPY … FROM STDIN` that is refused once it has been sent leaves tokio-postgres 0.7 one answer behind: it sends a second
/// Sync, and takes the end of that for the answer to whatever comes next.
async fn in_step(session: &Session) -> Result<bool, Error> {
    let question = rand::random::<u64>().to_string();
    let answer = session.client().simple_query(&format!("SELECT {question}")).await?;
    let in_step = answer.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0) == Some(&question),
        _ => false,
    });
    if !in_step {
        telemetry::session_discarded("its answers do not belong to its questions");
    }
    Ok(in_step)
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
        && let Ok(quiet) = timeout(PATIENCE, probe(session)).await
    {
        return quiet;
    }
    let mut patience = PATIENCE;
    loop {
        let token = session.client().cancel_token();
        if let Err(err) = connector.cancel(&token, session.address()).await {
            telemetry::cancel_failed(&err);
            return false;
        }
        match timeout(patience, probe(session)).await {
            Ok(quiet) => return quiet,
            Err(_) => patience *= 2,
        }
    }
}

async fn probe(session: &Session) -> bool {
    match session.client().check_connection().await {
        // The statement had ended by itself, and the cancel hit the probe.
        Err(err) if err.code() == Some(&SqlState::QUERY_CANCELED) => {
            session.client().check_connection().await.is_ok()
        }
        other => other.is_ok(),
    }
}
