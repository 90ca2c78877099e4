//! A coordinator of Citus and two workers. No distribution packages the extension, so these tests run where a server has it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database, Error, GenericClient, IsolationLevel, Reset, Transaction};
use futures_util::TryStreamExt;
use futures_util::future::{join, try_join};
use test_support::{backend, connected, copy_in, copy_out, eventually, log, sized};
use tokio::sync::Barrier;

use crate::common::sqlstate;

/// Accounts on both workers, notes of tenants, and a table that each worker has a copy of.
const SCHEMA: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL DEFAULT 0);
    SELECT create_distributed_table('accounts', 'id', shard_count := 8);
    INSERT INTO accounts SELECT generate_series(1, 40);
    CREATE TABLE notes (tenant int, note text);
    SELECT create_distributed_table('notes', 'tenant', shard_count := 8);
    CREATE TABLE kinds (id int PRIMARY KEY, name text);
    SELECT create_reference_table('kinds');
    CREATE ROLE app LOGIN;
    GRANT ALL ON notes TO app;
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON notes USING (tenant = nullif(current_setting('app.tenant', true), '')::int);";

/// The servers; the first is the coordinator.
struct Citus([Postgres; 3]);

impl Citus {
    /// `None` where the server has no such extension, which CI forgives.
    async fn start() -> Option<Self> {
        log::keep();
        let db = at(Postgres::shared().expect("a server")).await;
        let sql = "SELECT count(*) FROM pg_available_extensions WHERE name = 'citus'";
        if db.query_one_scalar::<i64>(sql, &[]).await.expect("a count") == 0 {
            // Past the capture of what tests print.
            let _ = writeln!(io::stderr(), "skipped: this PostgreSQL has no extension citus");
            return None;
        }
        let start = || {
            Postgres::builder()
                .setting("shared_preload_libraries", "citus")
                .setting("citus.enable_statistics_collection", "off")
                .setting("citus.node_conninfo", "sslmode=disable")
                .setting("citus.recover_2pc_interval", "1s")
                .setting("deadlock_timeout", "100ms")
                .start()
                .expect("a server")
        };
        let citus = Self([start(), start(), start()]);
        for server in 0..3 {
            citus.tell(server, "CREATE EXTENSION citus").await;
        }
        let port = citus.0[0].port();
        citus.tell(0, &format!("SELECT citus_set_coordinator_host('127.0.0.1', {port})")).await;
        for worker in &citus.0[1..] {
            citus.tell(0, &format!("SELECT citus_add_node('127.0.0.1', {})", worker.port())).await;
        }
        citus.tell(0, SCHEMA).await;
        Some(citus)
    }

    /// Runs statements at one of the servers, one by one.
    async fn tell(&self, server: usize, sql: &str) {
        let db = at(&self.0[server]).await;
        for sql in sql.split(';').filter(|sql| !sql.trim().is_empty()) {
            db.batch_execute(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
        }
        db.close().await;
    }

    /// An account on each of the workers.
    async fn accounts(&self) -> [i32; 2] {
        let sql = "SELECT min(id) FROM generate_series(1, 40) id JOIN citus_shards \
            ON shardid = get_shard_id_for_distribution_column('accounts', id) \
            GROUP BY nodeport ORDER BY nodeport <> $1";
        let db = at(&self.0[0]).await;
        let first = i32::from(self.0[1].port());
        db.query_scalar(sql, &[&first]).await.expect("accounts").try_into().expect("one on each")
    }
}

fn config(server: &Postgres, size: u32) -> Config {
    sized(Config::from_dsn(server.dsn()).expect("a DSN"), size)
}

/// A pool of one session.
async fn at(server: &Postgres) -> Database {
    connected(config(server, 1)).await
}

const SUM: &str = "SELECT sum(balance) FROM accounts";
const ADD: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = $1";

/// Everything works, and a session that is lent again has nothing on it.
#[actix_web::test]
async fn verbs_and_resets() {
    let Some(citus) = Citus::start().await else { return };
    for reset in [Reset::Auto, Reset::Always] {
        let db = connected(Config { reset, ..config(&citus.0[0], 1) }).await;
        let conn = db.connection();
        let pid = backend(&conn).await;
        conn.batch_execute("TRUNCATE notes; TRUNCATE kinds").await.expect("empty tables");
        let insert = "INSERT INTO notes VALUES ($1, 'some')";
        assert_eq!(conn.execute_many(insert, (0..10).map(|tenant| [tenant])).await.expect("rows"), 10);
        let kind = "INSERT INTO kinds VALUES ($1, 'a')";
        conn.batch(&[(insert, &[&1]), (kind, &[&1]), (ADD, &[&1])]).await.expect("rows on all servers");
        assert_eq!(copy_in(&conn, "COPY notes FROM STDIN", "20\tx\n21\ty\n").await.expect("a copy"), 2);
        let copied = copy_out(&conn, "COPY (SELECT note FROM notes WHERE tenant = 20) TO STDOUT").await;
        assert_eq!(copied.expect("a copy"), b"x\n");
        let rows = conn.query_raw("SELECT tenant FROM notes", &[]).await.expect("a stream");
        assert_eq!(rows.try_collect::<Vec<_>>().await.expect("rows").len(), 13);
        let tx = conn.transaction().await.expect("a transaction");
        let inner = tx.transaction().await.expect("a savepoint");
        assert_eq!(sqlstate(&inner.execute(kind, &[&1]).await.expect_err("a row twice")), "23505");
        drop(inner);
        tx.execute(insert, &[&22]).await.expect("a row");
        tx.commit().await.expect("a commit");
        let slow = "SELECT pg_sleep(20) FROM accounts WHERE id = 1";
        let late = conn.with_timeout(Duration::from_millis(200)).query(slow, &[]).await;
        assert!(matches!(late, Err(Error::TimedOut { sent: true, .. })), "{late:?}");
        drop(conn);
        for sql in DIRT {
            let conn = db.connection();
            conn.batch_execute(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
            drop(conn);
            let conn = db.connection();
            let left = conn.query_one_scalar::<String>(LEFT, &[]).await.expect("a look at the session");
            assert_eq!(left, "postgres 4MB none 0 0 0 0 0", "{reset:?} after {sql}");
            assert_eq!(backend(&conn).await, pid, "{reset:?} after {sql}");
        }
        db.close().await;
    }
}

const DIRT: [&str; 5] = [
    "SET work_mem = '8MB'; SET citus.propagate_set_commands = 'local'",
    "SET ROLE app",
    "SELECT pg_advisory_lock(1); LISTEN news; CREATE TEMP TABLE scratch (id int)",
    "PREPARE mine AS SELECT * FROM accounts; DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM accounts",
    "BEGIN; UPDATE accounts SET balance = 0",
];

const LEFT: &str = "SELECT concat_ws(' ', current_user, current_setting('work_mem'), \
    current_setting('citus.propagate_set_commands'), \
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND pid = pg_backend_pid()), \
    (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), \
    (SELECT count(*) FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()))";

async fn tenants(conn: &impl GenericClient) -> Vec<i32> {
    conn.query_scalar("SELECT DISTINCT tenant FROM notes", &[]).await.expect("tenants")
}

/// Policies are the workers', and workers learn of `SET LOCAL` and of the role. Of other settings they do not, and show no row.
#[actix_web::test]
async fn tenants_and_the_settings_that_workers_see() {
    let Some(citus) = Citus::start().await else { return };
    citus.tell(0, "INSERT INTO notes SELECT n % 10, 'some' FROM generate_series(1, 100) n").await;
    let mut options = config(&citus.0[0], 1);
    options.server_settings.insert("citus.propagate_set_commands".into(), "local".into());
    let db = connected(options).await;
    let conn = db.connection();
    conn.set_config("role", "app").expect("a setting");
    conn.set_config("app.tenant", "4").expect("a setting");
    assert_eq!(tenants(&conn).await, [0; 0]);
    let tx = conn.transaction().await.expect("a transaction");
    assert_eq!(tenants(&tx).await, [0; 0]);
    tx.batch_execute("SET LOCAL app.tenant = '4'").await.expect("a setting");
    assert_eq!(tenants(&tx).await, [4]);
    tx.execute("INSERT INTO notes VALUES (4, 'own')", &[]).await.expect("a row");
    let foreign = tx.execute("INSERT INTO notes VALUES (5, 'other')", &[]).await;
    assert_eq!(sqlstate(&foreign.expect_err("a refusal")), "42501");
    drop(tx);
    assert_eq!(tenants(&conn).await, [0; 0]);
    drop(conn);
    assert_eq!(tenants(&db).await.len(), 10, "a superuser again");
    db.close().await;
}

/// Of a commit that has lost a worker nobody knows whether it took place. Here it did.
#[actix_web::test]
async fn a_worker_lost_at_the_commit_is_an_unknown_outcome() {
    let Some(citus) = Citus::start().await else { return };
    let account = citus.accounts().await[0];
    // Its commits wait for a standby that there is not, when they are done.
    citus.tell(1, "ALTER SYSTEM SET synchronous_commit = on").await;
    citus.tell(1, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()").await;
    let db = connected(config(&citus.0[0], 1)).await;
    let runs = AtomicU32::new(0);
    let done = db.transact(async |tx: Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.execute(ADD, &[&account]).await
    });
    let (done, ()) = join(done, async {
        let worker = at(&citus.0[1]).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("a commit", async || worker.execute(end, &[]).await.is_ok_and(|ended| ended > 0)).await;
    })
    .await;
    let err = done.expect_err("a lost worker");
    assert!(matches!(err, Error::OutcomeUnknown(_)), "{err:?}");
    assert_eq!((sqlstate(&err), err.is_unavailable(), runs.into_inner()), ("XX000", false, 1));
    assert_eq!(db.query_one_scalar::<i64>(SUM, &[]).await.expect("a sum"), 1);
    db.close().await;
}

/// No worker sees the deadlock, the coordinator does. Its own conflict it sees too late: a worker has committed by then, and what is
/// run again would count twice.
#[actix_web::test]
async fn conflicts_across_servers() {
    let Some(citus) = Citus::start().await else { return };
    citus.tell(0, "CREATE TABLE here (id int, n int); INSERT INTO here VALUES (1, 0), (3, 0)").await;
    let [one, two] = citus.accounts().await;
    let db = connected(config(&citus.0[0], 2)).await;
    let sum = async || db.query_one_scalar::<i64>(SUM, &[]).await.expect("a sum");
    let (runs, both) = (AtomicU32::new(0), Barrier::new(2));
    let meet = async || {
        if runs.fetch_add(1, Ordering::Relaxed) < 2 {
            both.wait().await;
        }
        Ok(())
    };
    let deadlock = async |first: i32, second: i32| {
        let run = db.transact(async |tx: Transaction| {
            tx.execute(ADD, &[&first]).await?;
            meet().await?;
            tx.execute(ADD, &[&second]).await
        });
        run.await
    };
    try_join(deadlock(one, two), deadlock(two, one)).await.expect("both");
    assert_eq!((runs.swap(0, Ordering::Relaxed), sum().await), (3, 4));
    let change = "UPDATE here SET n = n + 1 WHERE id = $1 AND (SELECT sum(n) FROM here) = 0";
    let skew = async |id: i32| {
        let serializable = db.build_transaction().isolation_level(IsolationLevel::Serializable);
        let run = serializable.run(async |tx: Transaction| {
            tx.batch(&[(change, &[&id]), (ADD, &[&id])]).await?;
            meet().await
        });
        run.await
    };
    let (first, second) = join(skew(1), skew(3)).await;
    let lost = first.and(second).expect_err("one has lost");
    assert!(matches!(lost, Error::OutcomeUnknown(_)), "{lost:?}");
    assert_eq!((sqlstate(&lost), runs.into_inner(), sum().await), ("40001", 2, 6));
    db.close().await;
}
