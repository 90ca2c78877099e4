//! Faults of bb8, and of the manager in bb8-postgres.

use std::convert::Infallible;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use bb8::{ManageConnection, Pool};
use bb8_postgres::PostgresConnectionManager;
use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use super::assert_still_there;
use test_support::{database, eventually};

/// Opens sessions that are nothing at all.
#[derive(Debug, Clone, Default)]
struct Manager {
    hangs: Arc<AtomicBool>,
    breaks: Arc<AtomicBool>,
}

impl ManageConnection for Manager {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        if self.hangs.load(Ordering::Relaxed) { pending().await } else { Ok(()) }
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        self.breaks.load(Ordering::Relaxed)
    }
}

/// One session, which does not end because of its age.
fn one_that_lasts<M: ManageConnection>() -> bb8::Builder<M> {
    Pool::builder().max_size(1).idle_timeout(None).max_lifetime(None)
}

/// Lets every task run that can.
async fn all_have_run() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[tokio::test]
async fn the_floor_still_counts_idle_sessions_alone() {
    let pool = Pool::builder().max_size(4).min_idle(2).build(Manager::default()).await.expect("a pool");
    let _lent = (pool.get().await.expect("a session"), pool.get().await.expect("a session"));
    all_have_run().await;
    assert_still_there!(
        pool.state().connections == 4,
        "the floor is held in src/pool/upkeep.rs, with bb8's `min_idle` off"
    );
}

/// Twice: each that is ended is replaced at once.
#[tokio::test]
async fn idle_sessions_still_end_below_the_floor() {
    let pool = Pool::builder()
        .max_size(1)
        .min_idle(1)
        .idle_timeout(Duration::from_millis(1))
        .reaper_rate(Duration::from_millis(1))
        .build(Manager::default())
        .await
        .expect("a pool");
    let fault =
        "the work-around can be removed when this fails: src/pool/upkeep.rs, with bb8's `idle_timeout` off";
    eventually(fault, async || pool.state().statistics.connections_closed_idle_timeout >= 2).await;
}

#[tokio::test]
async fn a_newcomer_still_overtakes_one_who_waits() {
    let pool = Pool::builder().max_size(1).build(Manager::default()).await.expect("a pool");
    let lent = pool.get().await.expect("a session");
    let mut first = pin!(pool.get());
    assert!(poll_immediate(&mut first).await.is_none());
    drop(lent);
    let newcomer = pool.get().now_or_never();
    assert_still_there!(newcomer.is_some(), "the queue of the gate in front of bb8 (src/pool/gate.rs)");
}

/// bb8 opens a session on the runtime of whoever asks for one, and counts one that never got to its end.
#[test]
fn a_runtime_that_stops_during_a_login_still_costs_a_place() {
    let manager = Manager::default();
    manager.hangs.store(true, Ordering::Relaxed);
    let short = Duration::from_millis(200);
    let pool = one_that_lasts().connection_timeout(short).build_unchecked(manager.clone());
    let worker = runtime();
    worker.block_on(async {
        assert!(poll_immediate(pin!(pool.get())).await.is_none());
        all_have_run().await;
    });
    drop(worker);
    manager.hangs.store(false, Ordering::Relaxed);
    let lent = runtime().block_on(async { pool.get().await.is_ok() });
    assert_still_there!(!lent, "sessions are opened at home (src/session/home.rs, src/pool/opening.rs)");
}

/// What has to be opened in its place is spawned by whoever drops it.
#[test]
fn a_broken_session_still_cannot_be_dropped_outside_of_a_runtime() {
    let (manager, home) = (Manager::default(), runtime());
    let pool = Pool::builder().max_size(2).min_idle(2).build(manager.clone());
    let lent = home.block_on(async { pool.await.expect("a pool").get_owned().await.expect("a session") });
    manager.breaks.store(true, Ordering::Relaxed);
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(lent)));
    assert_still_there!(dropped.is_err(), "the drop of `Bb8Session` enters home (src/pool/bb8_pool.rs)");
}

/// A pool of bb8-postgres' with one session, which is lent as it is.
fn pool_of(database: &TestDatabase) -> Pool<PostgresConnectionManager<NoTls>> {
    let manager = PostgresConnectionManager::new(database.dsn().parse().expect("a DSN"), NoTls);
    one_that_lasts().test_on_check_out(false).build_unchecked(manager)
}

async fn answer(client: &Client, sql: &str) -> Option<String> {
    let messages = client.simple_query(sql).await.ok()?;
    messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

#[test]
fn a_session_still_dies_with_the_runtime_that_asked_for_it_first() {
    let (home, worker) = (runtime(), runtime());
    let database = home.block_on(database());
    let pool = pool_of(&database);
    let ask = async || answer(&pool.get().await.expect("a session"), "SELECT 'alive'").await;
    assert_eq!(worker.block_on(ask()).as_deref(), Some("alive"));
    drop(worker);
    let answered = home.block_on(ask());
    assert_still_there!(answered.is_none(), "a session's driver moves with its user (src/session/driver.rs)");
}

#[tokio::test]
async fn a_session_is_still_lent_as_it_was_left() {
    let database = database().await;
    let pool = pool_of(&database);
    let left = "BEGIN; CREATE TABLE uncommitted (id int); SET application_name = 'left'";
    pool.get().await.expect("a session").batch_execute(left).await.expect("an answer");
    let next = pool.get().await.expect("a session");
    let name = answer(&next, "SHOW application_name").await;
    let table = answer(&next, "SELECT to_regclass('uncommitted')").await;
    assert_still_there!(
        (name.as_deref(), table.as_deref()) == (Some("left"), Some("uncommitted")),
        "the reset of src/lease/reset.rs"
    );
}
