//! 64 clients that do whatever can be done to a session, each of which must have been given a pristine one.

use std::time::Duration;

use actix_pg::{Config, Connection, Database, Error};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use rand::rngs::StdRng;
use test_support::{Observer, connected, database, pool, sized};
use tokio::time::Instant;

use crate::common::{
    STATE, abandon, assert_as_before, at_rest, full, lends_all, rng, seed, soon, state, times,
};

const CLIENTS: u64 = 64;

const WRITES: &[&str] = &[
    "SET search_path = pg_temp",
    "SET app.tenant = '42'",
    "SET work_mem = '1MB'; SET lock_timeout = '1h'",
    "SET default_transaction_read_only = on",
    "SET ROLE visitor",
    "SET SESSION AUTHORIZATION visitor",
    "BEGIN; SET LOCAL ROLE visitor; SET LOCAL app.tenant = '7'",
    "SELECT pg_advisory_lock_shared(1)",
    "SELECT set_config('app.tenant', '42', false)",
    "LISTEN news",
    "CREATE TEMP TABLE scratch (id int)",
    "CREATE TEMP VIEW scratch AS SELECT 1",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "PREPARE mine AS SELECT 1",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
    "BEGIN",
    "BEGIN; INSERT INTO public.written VALUES (gen_random_uuid()::text)",
    "BEGIN; DECLARE lost CURSOR FOR SELECT 1; SAVEPOINT here",
    "BEGIN; SELECT 1 / 0",
    "BEGIN; CREATE TEMP TABLE scratch (id int) ON COMMIT DROP",
    "DISCARD TEMP",
    "DISCARD ALL",
    "SELECT pg_sleep(0)",
    "SELECT 1",
];

/// Does something to the session, and may leave in the middle of it.
async fn visit(conn: &Connection, rng: &mut StdRng) -> Result<(), Error> {
    for _ in 0..rng.random_range(1..4) {
        let sql = WRITES[rng.random_range(0..WRITES.len())];
        match rng.random_range(0..15) {
            0..4 => drop(conn.batch_execute(sql).await),
            4 => drop(abandon(conn.batch_execute(sql), rng).await),
            5 => drop(abandon(conn.query("SELECT pg_sleep(0.001)", &[]), rng).await),
            6 => drop(conn.query("SELECT 1 / (random() * 0)::int", &[]).await),
            7 => drop(conn.query("SELECT set_config('app.tenant', '8', false)", &[]).await),
            8 => {
                if let Some(Ok(mut rows)) =
                    abandon(conn.query_raw("SELECT generate_series(1, 2000)", &[]), rng).await
                {
                    drop(abandon(rows.next(), rng).await);
                }
            }
            9 => {
                let client = conn.client().await?;
                drop(abandon(client.batch_execute(sql), rng).await);
            }
            10 => {
                let client = conn.client().await?;
                if let Ok(sink) = client.copy_in::<_, &'static [u8]>("COPY public.written FROM STDIN").await {
                    let mut sink = Box::pin(sink);
                    let _ = sink.send(b"never\n").await;
                }
            }
            11 => {
                // Committed never: nothing of it may be found, whichever way it ends.
                let Ok(tx) = conn.transaction().await else { continue };
                let _ = tx.execute("INSERT INTO public.written VALUES ($1)", &[&"never"]).await;
                drop(abandon(tx.batch_execute(sql), rng).await);
                if rng.random_bool(0.5)
                    && let Ok(inner) = tx.transaction().await
                {
                    drop(abandon(inner.query("SELECT pg_sleep(0.001)", &[]), rng).await);
                }
                if rng.random_bool(0.5) {
                    drop(abandon(tx.rollback(), rng).await);
                }
            }
            12 => {
                conn.set_config("app.tenant", "of this visit").expect("a setting");
                drop(conn.query("SELECT current_setting('app.tenant')", &[]).await);
            }
            13 => {
                if let Some(Ok(mut copy)) = abandon(conn.copy_in("COPY public.written FROM STDIN"), rng).await
                {
                    drop(abandon(copy.send("never\n".into()), rng).await);
                }
            }
            _ => drop(conn.query("SELECT $1::text", &[&"clean"]).await),
        }
    }
    Ok(())
}

/// What a shared session has been told, and keeps.
const VOUCHED_FOR: &str = "settings default_transaction_read_only=on ";

async fn client(
    db: Database,
    sharing: bool,
    pristine: String,
    mut rng: StdRng,
    borrows: usize,
    deadline: Instant,
) -> usize {
    for done in 0..borrows {
        if Instant::now() > deadline {
            return done;
        }
        let conn = db.connection();
        let shares = sharing && rng.random_bool(0.5);
        if sharing && !shares {
            // From here on it has a session of its own.
            soon("a session", conn.execute("SELECT 1", &[])).await.expect("a usable session");
        }
        let mut found: String = soon("a look at a session", state(&conn)).await.expect("a usable session");
        if shares {
            found = found.replace(VOUCHED_FOR, "settings ");
        }
        assert_as_before(&found, &pristine, "somebody left this");
        match soon("a visit", visit(&conn, &mut rng)).await {
            // A setting cannot be applied in a transaction that its own visitor has failed.
            Ok(()) | Err(Error::SessionLost | Error::Postgres(_) | Error::Setting(_)) => {}
            Err(err) => panic!("{err:?}"),
        }
        // Given back in one of the ways there are; the rest is left to the drop.
        match rng.random_range(0..3) {
            0 => conn.release().expect("nothing is alive"),
            1 => conn.close().expect("nothing is alive"),
            _ => {}
        }
    }
    borrows
}

async fn check(name: &str, sessions: u32, borrows: usize, shared_reads: u32) {
    let seed = seed(name);
    let database = database().await;
    let mut config = Config {
        acquire_timeout: Duration::from_secs(300),
        shared_reads,
        ..sized(database.config(), sessions)
    };
    if shared_reads > 0 {
        // So they are back at the end.
        config.test_after_idle = Duration::ZERO;
    }
    let db = connected(config).await;
    let setup = pool(&database, 1).await.connection();
    let (role, schema) = STATE.split_once(';').expect("a role");
    let _ = setup.batch_execute(role).await;
    setup.release().expect("nothing runs");
    setup.batch_execute(schema).await.expect("a schema");
    drop(setup);
    let pristine = state(&db.connection()).await.expect("a session that nobody has used");
    // A slow machine does less; what was done is printed.
    let deadline = Instant::now() + Duration::from_secs(if full() { 3_600 } else { 40 });
    let start = Instant::now();
    let clients = (0..CLIENTS).map(|number| {
        let client = client(
            db.clone(),
            shared_reads > 0,
            pristine.clone(),
            rng(seed, number),
            borrows / CLIENTS as usize,
            deadline,
        );
        tokio::spawn(client)
    });
    let done: usize = join_all(clients).await.into_iter().map(|done| done.expect("no leak")).sum();
    let shared = db.status().counters.shared_reads;
    eprintln!("{name}: {done} borrows in {:.1?}, {shared} shared reads", start.elapsed());
    assert_eq!(shared > done as u64 / 10, shared_reads > 0);
    let conn = db.connection();
    let rows: i64 = conn.query_one_scalar("SELECT count(*) FROM public.written", &[]).await.expect("a count");
    assert_eq!(rows, 0, "a transaction was committed that nobody committed");
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("a place was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_meets_what_another_left() {
    check("nobody_meets_what_another_left", 8, times(3_000, 200_000), 0).await;
}

/// P26
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_meets_what_another_left_with_shared_reads() {
    check("nobody_meets_what_another_left_with_shared_reads", 8, times(3_000, 200_000), 2).await;
}
