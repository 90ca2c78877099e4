//! How long, how random, and what a session looks like that nobody has used.

use std::env;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use actix_pg::{Connection, Database, Error};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use test_support::{Observer, all_returned, eventually, within};
use tokio::time::{Instant, timeout};

/// A test that gets here hangs. The machine may be busy, so it is far from what is expected.
pub const HANG: Duration = Duration::from_secs(60);

/// Whether everything runs at full length.
pub fn full() -> bool {
    env::var("RELIABILITY_FULL").is_ok_and(|value| !matches!(value.as_str(), "" | "0"))
}

/// How often, in a normal run and at full length.
pub fn times(normal: usize, at_full_length: usize) -> usize {
    if full() { at_full_length } else { normal }
}

/// Random numbers that `RELIABILITY_SEED` repeats.
pub fn seed(test: &str) -> u64 {
    let given = env::var("RELIABILITY_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("{test}: RELIABILITY_SEED={seed}");
    seed
}

pub fn rng(seed: u64, stream: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Bounds a wait that would otherwise be a hang.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    within(HANG, what, future).await
}

/// Polls a future until it is ready or random steps have been made: some in the scheduler's time, some in the server's.
/// `None` is a future that was left alone, and is dropped by that.
pub async fn abandon<F: Future>(future: F, rng: &mut StdRng) -> Option<F::Output> {
    let steps = rng.random_range(0..60);
    let pause = Duration::from_micros(if rng.random_bool(0.5) { 0 } else { rng.random_range(0..2_500) });
    let mut future = Box::pin(future);
    if pause > Duration::ZERO
        && let Ok(output) = timeout(pause, &mut future).await
    {
        return Some(output);
    }
    for _ in 0..steps {
        if let Poll::Ready(output) = futures_util::poll!(&mut future) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub fn sqlstate(err: &Error) -> &str {
    err.code().map_or("none", |code| code.code())
}

/// At rest, pool and server agree: nothing lent, nobody waits, and as many backends as open sessions.
pub async fn at_rest(db: &Database, observer: &Observer) {
    all_returned(db).await;
    eventually("as many backends as sessions", || async {
        observer.backends().await == i64::from(db.status().open)
    })
    .await;
}

/// The pool can lend all it ever could, at once and each to another backend.
pub async fn lends_all(db: &Database) -> Result<(), String> {
    let all: Vec<Connection> = (0..db.status().max).map(|_| db.connection()).collect();
    let backends =
        join_all(all.iter().map(|conn| conn.query_one_scalar::<i32>("SELECT pg_backend_pid()", &[])));
    let backends: Result<Vec<i32>, Error> = backends.await.into_iter().collect();
    let mut backends = backends.map_err(|err| format!("{err:?}"))?;
    backends.sort_unstable();
    backends.dedup();
    if backends.len() == all.len() { Ok(()) } else { Err(format!("{backends:?}")) }
}

/// Waits until the pool is back to full size, and says how long that took.
pub async fn healed(db: &Database) -> Duration {
    let start = Instant::now();
    soon("the pool is back to full size", async {
        while let Err(why) = lends_all(db).await {
            assert!(start.elapsed() < HANG, "not healed: {why}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    start.elapsed()
}

/// A view with all that a user of a session could have changed. It calls what is not clean where the reader of SQL does not
/// see it, so that looking does not make the next reset clean up what the look was for.
pub const STATE: &str = "
    CREATE ROLE visitor;
    CREATE VIEW public.session_state AS SELECT concat_ws(' ',
        current_user, session_user, current_setting('role'), current_setting('search_path'),
        'settings', (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings
            WHERE source = 'session'),
        'custom', coalesce(quote_literal(current_setting('app.tenant', true)), 'NULL'),
        'locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        'channels', (SELECT count(*) FROM pg_listening_channels()),
        'cursors', (SELECT count(*) FROM pg_cursors WHERE is_holdable),
        'prepared', (SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE from_sql),
        'temporary', (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
            + (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema())
            + (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema())) AS state;
    GRANT SELECT ON public.session_state TO PUBLIC;
    CREATE TABLE public.written (id text PRIMARY KEY);
    GRANT ALL ON public.written TO PUBLIC;";

/// Compares two looks at a session. A reset is allowed one difference: `''` for a custom setting that was NULL before.
#[track_caller]
pub fn assert_as_before(after: &str, before: &str, what: &str) {
    assert!(
        after == before || after == before.replace("custom NULL", "custom ''"),
        "{what}: {after}, was {before}"
    );
}

/// What the session looks like, by itself and by the time: two statements of one transaction have the same.
pub async fn state(conn: &Connection) -> Result<String, Error> {
    let state: String = conn.query_one_scalar("SELECT state FROM public.session_state", &[]).await?;
    let begun: String = conn.query_one_scalar("SELECT now()::text", &[]).await?;
    let again: String = conn.query_one_scalar("SELECT now()::text", &[]).await?;
    Ok(format!("{state} transaction {}", begun == again))
}
