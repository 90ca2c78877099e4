//! Reads that share sessions, while sessions are ended and cancelled from outside, statements sleep, tables change and askers leave.

use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::{Config, Connection, Database, Error};
use futures_util::future::join_all;
use rand::RngExt;
use rand::rngs::StdRng;
use test_support::{Observer, connected, database, pool, sized};
use tokio::time::{Instant, sleep};

use crate::common::{abandon, at_rest, full, lends_all, rng, seed, soon, sqlstate};

const CLIENTS: u64 = 48;

const SCHEMA: &str = "CREATE TABLE things (id int PRIMARY KEY, name text NOT NULL, pad text NOT NULL);
    INSERT INTO things SELECT id, 'thing ' || id, repeat('x', id) FROM generate_series(1, 2000) AS id;
    CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL);
    INSERT INTO counters SELECT id, 0 FROM generate_series(0, 100) AS id;
    CREATE VIEW sleepers AS SELECT id, name,
        pg_sleep(CASE WHEN random() < 0.02 THEN 0.05 ELSE 0 END)::text AS slept FROM things;
    CREATE SEQUENCE draws;
    CREATE VIEW drawers AS SELECT id, nextval('draws') AS drawn FROM things";

/// One client. What it reads is what it has asked for.
struct Client {
    db: Database,
    number: i32,
    rng: StdRng,
    written: i32,
    answers: usize,
}

impl Client {
    async fn visit(&mut self) -> Result<(), Error> {
        let conn = self.db.connection();
        let id = self.rng.random_range(1..2000);
        match self.rng.random_range(0..16) {
            0..6 => {
                let echo: i32 = conn.query_one_scalar("SELECT $1::int AS echo", &[&id]).await?;
                assert_eq!(echo, id);
            }
            6..8 => {
                let sql = "SELECT id, name, pad FROM things WHERE id <= $1 ORDER BY id DESC LIMIT 20";
                let rows = conn.query(sql, &[&id]).await?;
                assert_eq!(rows[0].get::<_, i32>("id"), id);
                assert_eq!(rows[0].get::<_, &str>("pad").len(), id as usize);
            }
            8 => drop(
                abandon(conn.query("SELECT pad FROM things WHERE id <= $1", &[&id]), &mut self.rng).await,
            ),
            9 => {
                let sql = "SELECT id, slept FROM sleepers WHERE id = $1";
                if let Some(rows) = abandon(conn.query(sql, &[&id]), &mut self.rng).await {
                    assert_eq!(rows?[0].get::<_, i32>("id"), id);
                }
            }
            10 => {
                let row = conn.query_one("SELECT id, slept FROM sleepers WHERE id = $1", &[&id]).await?;
                assert_eq!(row.get::<_, i32>("id"), id);
            }
            11 => {
                let divided = conn.query("SELECT 7 / ($1::int - $1)", &[&id]).await;
                let err = divided.expect_err("no quotient");
                if sqlstate(&err) != "22012" {
                    return Err(err);
                }
            }
            12 => {
                let row = conn.query_one("SELECT id, drawn FROM drawers WHERE id = $1", &[&id]).await?;
                assert_eq!(row.get::<_, i32>("id"), id);
            }
            13 => {
                let row = conn.query_one("SELECT * FROM things WHERE id = $1", &[&id]).await?;
                assert_eq!(row.get::<_, i32>("id"), id);
            }
            _ => self.writes_and_reads(&conn).await?,
        }
        self.answers += 1;
        Ok(())
    }

    async fn writes_and_reads(&mut self, conn: &Connection) -> Result<(), Error> {
        let next = self.written + 1;
        conn.execute("UPDATE counters SET value = $2 WHERE id = $1", &[&self.number, &next]).await?;
        self.written = next;
        if conn.release().is_err() {
            return Ok(());
        }
        let read: i32 =
            conn.query_one_scalar("SELECT value FROM counters WHERE id = $1", &[&self.number]).await?;
        assert!(read >= next, "{read} was written before {next}");
        Ok(())
    }
}

/// Ends and cancels sessions, and changes a table.
async fn disturb(database: &TestDatabase, mut rng: StdRng, until: Instant) {
    let observer = Observer::of(database).await;
    let others = "FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'observer' \
                  AND backend_type = 'client backend' ORDER BY random() LIMIT 1";
    while Instant::now() < until {
        sleep(Duration::from_millis(rng.random_range(20..200))).await;
        let conn = observer.connection();
        let disturbed = match rng.random_range(0..4) {
            0 => conn.batch_execute(&format!("SELECT pg_terminate_backend(pid) {others}")).await,
            1 => conn.batch_execute(&format!("SELECT pg_cancel_backend(pid) {others}")).await,
            2 => conn.batch_execute("ALTER TABLE things ADD COLUMN IF NOT EXISTS more int").await,
            _ => conn.batch_execute("ALTER TABLE things DROP COLUMN IF EXISTS more").await,
        };
        // Two changes of the table, or a change and a read, may lock each other out.
        drop(disturbed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn everybody_gets_the_answer_to_his_own_question() {
    let name = "everybody_gets_the_answer_to_his_own_question";
    let seed = seed(name);
    let database = database().await;
    pool(&database, 1).await.connection().batch_execute(SCHEMA).await.expect("a schema");
    let config = Config {
        shared_reads: 3,
        test_after_idle: Duration::ZERO,
        acquire_timeout: Duration::from_secs(60),
        ..sized(database.config(), 12)
    };
    let db = connected(config).await;
    let until = Instant::now() + Duration::from_secs(if full() { 600 } else { 15 });
    let clients = (0..CLIENTS).map(|number| {
        let mut client =
            Client { db: db.clone(), number: number as i32, rng: rng(seed, number), written: 0, answers: 0 };
        tokio::spawn(async move {
            let (mut failed, mut changed) = (0, 0);
            while Instant::now() < until {
                match soon("a visit", client.visit()).await {
                    Ok(()) => {}
                    // What runs on a session of its own is hit by an end or a cancel from outside as ever; a cancel from outside
                    // is told to whom it hits.
                    Err(err) if err.is_unavailable() || sqlstate(&err) == "57014" => failed += 1,
                    // The table has changed twice, between two attempts to prepare and run the statement.
                    Err(err) if sqlstate(&err) == "0A000" => changed += 1,
                    Err(err) => panic!("{err:?}"),
                }
            }
            assert!(changed < 5, "{changed}");
            (client.answers, failed)
        })
    });
    let disturbing = disturb(&database, rng(seed, CLIENTS), until);
    let (visits, ()) = futures_util::future::join(join_all(clients), disturbing).await;
    let (answers, failed) = visits
        .into_iter()
        .map(|visits| visits.expect("only right answers"))
        .fold((0, 0), |(answers, failed), (more, fewer)| (answers + more, failed + fewer));
    let counters = db.status().counters;
    eprintln!("{name}: {answers} answers, {failed} failures, {counters:?}");
    assert!(counters.shared_reads > 100, "{counters:?}");
    assert!(failed < answers / 4, "{failed} of {answers}");
    at_rest(&db, &Observer::of(&database).await).await;
    lends_all(&db).await.expect("a place was lost");
}
