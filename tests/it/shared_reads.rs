//! Reads that share sessions.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use actix_pg::{Config, ConfigErrorKind, Database, Reset};
use actix_web::web::BytesMut;
use futures_util::FutureExt;
use futures_util::future::join_all;
use test_support::{Observer, assert_whole, connected, database, elsewhere, eventually, sized, soon, within};

mod faults;
mod policies;
mod who_is_to_blame;

/// A read whose answer nobody else gets.
const ECHO: &str = "SELECT $1::int AS echo";

/// The view and the function that a test makes slow from outside.
const NAPS: &str = "CREATE TABLE naps (seconds float8 NOT NULL);
    INSERT INTO naps VALUES (0);
    CREATE FUNCTION nap() RETURNS int STABLE LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep((SELECT seconds FROM naps)); RETURN 7; END $$;
    CREATE VIEW nappers AS SELECT nap() AS slept;
    CREATE TABLE things (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO things SELECT id, 'thing ' || id FROM generate_series(1, 5000) AS id";

const NAP: &str = "SELECT slept FROM nappers";

async fn sharing(size: u32, shared_reads: u32) -> (TestDatabase, Database) {
    let database = database().await;
    let db = connected(Config { shared_reads, ..sized(database.config(), size) }).await;
    db.connection().batch_execute(NAPS).await.expect("tables");
    (database, db)
}

/// A limit that a machine under load does not reach by itself.
async fn patiently_sharing(size: u32, shared_reads: u32) -> (TestDatabase, Database) {
    let database = database().await;
    let slow = Duration::from_millis(100);
    let config = Config { shared_reads, shared_reads_slow: slow, ..sized(database.config(), size) };
    let db = connected(config).await;
    db.connection().batch_execute(NAPS).await.expect("tables");
    (database, db)
}

fn shared(db: &Database) -> u64 {
    db.status().counters.shared_reads
}

/// Asks until the statement is sent on a shared session.
async fn until_shared(db: &Database, sql: &str, params: &[&(dyn ToSql + Sync)]) {
    let before = shared(db);
    eventually(sql, async || {
        db.connection().query(sql, params).await.expect("rows");
        shared(db) > before
    })
    .await;
}

async fn echoes(db: &Database, number: i32) {
    let echo: i32 = db.connection().query_one_scalar(ECHO, &[&number]).await.expect("an echo");
    assert_eq!(echo, number);
}

/// The backend of the session on which `sql` ran last.
async fn backend_of(observer: &Observer, sql: &str) -> Option<i32> {
    let found = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name <> 'observer' AND query = $1 ORDER BY query_start DESC LIMIT 1";
    observer.connection().query_opt_scalar(found, &[&sql]).await.expect("a backend")
}

/// P26: everybody gets the answer to his own question.
#[actix_web::test]
async fn many_reads_share_one_session() {
    let (_database, db) = patiently_sharing(4, 1).await;
    until_shared(&db, ECHO, &[&0]).await;
    let before = db.status().counters;
    join_all((0..200).map(|number| echoes(&db, number))).await;
    let after = db.status().counters;
    assert!(after.shared_reads - before.shared_reads > 100, "{after:?}");
    assert_whole_but(&db, 1).await;
}

/// What the shared sessions leave of the pool can be borrowed.
async fn assert_whole_but(db: &Database, shared: u32) {
    eventually("the others have come back", async || db.status().used <= shared).await;
    let mut guards = Vec::new();
    for _ in shared..db.status().max {
        guards.push(soon("a place in the pool", db.connection().client()).await.expect("a session"));
    }
}

/// P26: all verbs that collect rows share, and answer as ever.
#[actix_web::test]
async fn the_verbs_answer_as_ever() {
    let (_database, db) = patiently_sharing(4, 1).await;
    let all = "SELECT id, name FROM things WHERE id <= $1 ORDER BY id";
    until_shared(&db, all, &[&0]).await;
    let conn = db.connection();
    assert_eq!(conn.query(all, &[&3]).await.expect("rows").len(), 3);
    assert_eq!(conn.query_one(all, &[&1]).await.expect("a row").get::<_, &str>("name"), "thing 1");
    assert!(conn.query_opt(all, &[&0]).await.expect("no row").is_none());
    assert!(matches!(conn.query_opt(all, &[&2]).await, Err(actix_pg::Error::TooManyRows)));
    assert!(matches!(conn.query_one(all, &[&0]).await, Err(actix_pg::Error::NoRows)));
    assert_eq!(conn.query_scalar::<i32>(all, &[&2]).await.expect("numbers"), [1, 2]);
    assert_eq!(db.status().used, 1, "the shared session alone");
    // What does not fit is refused as ever.
    assert!(conn.query(all, &[&"one"]).await.is_err());
    assert!(conn.query(all, &[]).await.is_err());
    let divides = "SELECT 1 / $1::int";
    until_shared(&db, divides, &[&1]).await;
    let err = db.connection().query(divides, &[&0]).await.expect_err("no quotient");
    assert_eq!(err.code().map(|code| code.code()), Some("22012"));
    assert_eq!(err.postgres().and_then(|said| said.sql()), Some("SELECT ? / $1::int"));
    echoes(&db, 5).await;
}

/// P26: so do the verbs that read structs, the calls that have a time-out, and those of the `Database` itself.
#[actix_web::test]
async fn structs_time_outs_and_the_handle_share() {
    let (_database, db) = patiently_sharing(4, 1).await;
    let all = "SELECT id, name FROM things WHERE id <= $1 ORDER BY id";
    until_shared(&db, all, &[&0]).await;
    let before = shared(&db);
    let conn = db.connection();
    let things: Vec<(i32, String)> = conn.query_as(all, &[&2]).await.expect("things");
    assert_eq!(things, [(1, "thing 1".into()), (2, "thing 2".into())]);
    let (id, _): (i32, String) = conn.query_one_as(all, &[&1]).await.expect("a thing");
    assert_eq!(id, 1);
    assert_eq!(conn.query_opt_as::<(i32, String)>(all, &[&0]).await.expect("no thing"), None);
    let two = conn.query_opt_as::<(i32, String)>(all, &[&2]).await;
    assert!(matches!(two, Err(actix_pg::Error::TooManyRows)));
    assert_eq!(shared(&db) - before, 4);
    // What does not fit is refused as ever, also where there is no row.
    assert!(matches!(conn.query_as::<(i32,)>(all, &[&0]).await, Err(actix_pg::Error::Row(_))));
    assert_eq!(shared(&db) - before, 4);
    conn.release().expect("nothing runs");

    let bounded = conn.with_timeout(Duration::from_secs(10));
    assert_eq!(bounded.query_scalar::<i32>(all, &[&2]).await.expect("numbers"), [1, 2]);
    assert_eq!(db.query_scalar::<i32>(all, &[&1]).await.expect("numbers"), [1]);
    assert_eq!(shared(&db) - before, 6);
    let over = conn.with_timeout(Duration::ZERO).query(all, &[&2]).await;
    assert!(matches!(over, Err(actix_pg::Error::TimedOut { sent: false, .. })), "{over:?}");
    assert_eq!(shared(&db) - before, 6, "it was not sent");
    db.execute("UPDATE naps SET seconds = 60", &[]).await.expect("a nap");
    let late = conn.with_timeout(Duration::from_millis(50)).query(NAP, &[]).await;
    assert!(matches!(late, Err(actix_pg::Error::TimedOut { .. })), "{late:?}");
}

/// P10, P13, P26: a pool that is made smaller has half of its sessions for those who do not share.
#[actix_web::test]
async fn a_smaller_pool_shares_less() {
    let (_database, db) = patiently_sharing(8, 4).await;
    let all = "SELECT id, name FROM things WHERE id <= $1 ORDER BY id";
    eventually("four are shared", async || {
        db.connection().query(all, &[&0]).await.expect("rows");
        db.status().used == 4
    })
    .await;
    db.resize(0, 2).expect("sizes");
    let others = soon("a session", db.connection().client()).await.map(drop);
    others.expect("a session that is not shared");
    eventually("it is small", async || db.status().open <= 2).await;
    until_shared(&db, all, &[&1]).await;
    soon("a session", db.connection().client()).await.map(drop).expect("another session");
}

/// P26: a request with a session, a transaction or settings of its own uses those.
#[actix_web::test]
async fn a_request_with_state_of_its_own_does_not_share() {
    let (_database, db) = patiently_sharing(6, 1).await;
    let reads = "SELECT count(*) FROM things WHERE name = $1";
    until_shared(&db, reads, &[&"none"]).await;
    let count = |conn: actix_pg::Connection| async move {
        conn.query_one_scalar::<i64>(reads, &[&"mine"]).await.expect("a count")
    };

    let before = shared(&db);
    let conn = db.connection();
    let tx = conn.transaction().await.expect("a transaction");
    conn.execute("INSERT INTO things VALUES (-1, 'mine')", &[]).await.expect("a row");
    assert_eq!(count(conn.clone()).await, 1);
    tx.rollback().await.expect("no row");
    assert_eq!(count(conn.clone()).await, 0);
    conn.release().expect("nothing runs");

    let conn = db.connection();
    conn.set_config("app.tenant", "7").expect("a setting");
    assert_eq!(count(conn).await, 0);
    assert_eq!(shared(&db), before);

    let sandbox = db.sandbox().await.expect("a sandbox");
    sandbox.connection().execute("INSERT INTO things VALUES (-1, 'mine')", &[]).await.expect("a row");
    assert_eq!(count(sandbox.connection()).await, 1);
    assert_eq!(shared(&db), before);
}

/// P26: a shared read sees what was written before it, by anybody.
#[actix_web::test]
async fn a_read_sees_what_was_written_before() {
    let (_database, db) = patiently_sharing(6, 2).await;
    let reads = "SELECT name FROM things WHERE id = $1";
    until_shared(&db, reads, &[&1]).await;
    let before = shared(&db);
    let writers = (1..=8).map(async |id: i32| {
        let conn = db.connection();
        for round in 0..50 {
            let name = format!("{id} in round {round}");
            conn.execute("UPDATE things SET name = $2 WHERE id = $1", &[&id, &name]).await.expect("a change");
            conn.release().expect("nothing runs");
            assert_eq!(conn.query_one_scalar::<String>(reads, &[&id]).await.expect("a name"), name);
            conn.release().expect("nothing runs");
        }
    });
    join_all(writers).await;
    assert!(shared(&db) - before > 100);
}

/// P26: the server vouches for what the text does not say. What it refuses has done nothing, and runs once.
#[actix_web::test]
async fn what_a_view_writes_is_written_once_and_never_shared_again() {
    let (_database, db) = patiently_sharing(4, 1).await;
    let views = "CREATE SEQUENCE draws;
        CREATE TABLE notes (said text);
        CREATE FUNCTION notes_it() RETURNS int LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO notes VALUES ('read'); RETURN 1; END $$;
        CREATE VIEW drawn AS SELECT nextval('draws') AS number;
        CREATE VIEW noted AS SELECT notes_it() AS number;
        CREATE VIEW locked AS SELECT id FROM things WHERE id = 1 FOR UPDATE";
    db.connection().batch_execute(views).await.expect("views");
    until_shared(&db, ECHO, &[&1]).await;
    for number in 1..=20_i64 {
        let drawn: i64 =
            db.connection().query_one_scalar("SELECT number FROM drawn", &[]).await.expect("a number");
        assert_eq!(drawn, number);
        db.connection().query_one("SELECT number FROM noted", &[]).await.expect("a note");
        let notes: i64 =
            db.connection().query_one_scalar("SELECT count(*) FROM notes", &[]).await.expect("a count");
        assert_eq!(notes, number);
        db.connection().query_one("SELECT id FROM locked", &[]).await.expect("a row");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let before = shared(&db);
    for sql in ["SELECT number FROM drawn", "SELECT number FROM noted", "SELECT id FROM locked"] {
        db.connection().query_one(sql, &[]).await.expect("a row");
    }
    assert_eq!(shared(&db), before);
}

/// P26: what a view leaves on the session is gone within a second of its use.
#[actix_web::test]
async fn a_session_in_use_is_reset_every_second() {
    let (database, db) = patiently_sharing(4, 1).await;
    let observer = Observer::of(&database).await;
    let views = "CREATE VIEW marks AS SELECT set_config('app.mark', 'seen', false) AS mark,
            pg_try_advisory_lock_shared(7) AS lock;
        CREATE VIEW mark AS SELECT coalesce(current_setting('app.mark', true), '') AS mark";
    db.connection().batch_execute(views).await.expect("views");
    until_shared(&db, "SELECT mark FROM mark", &[]).await;
    until_shared(&db, "SELECT mark, lock FROM marks", &[]).await;
    let backend = backend_of(&observer, "SELECT mark, lock FROM marks").await.expect("the shared session");
    let locks = async || {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1";
        observer.connection().query_one_scalar::<i64>(sql, &[&backend]).await.expect("a count")
    };
    assert_eq!(locks().await, 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = shared(&db);
    let mark: String = db.connection().query_one_scalar("SELECT mark FROM mark", &[]).await.expect("a mark");
    assert_eq!((mark.as_str(), shared(&db)), ("", before + 1));
    assert_eq!(locks().await, 0);
    // The server vouches for the session as before.
    db.connection()
        .batch_execute("CREATE SEQUENCE draws; CREATE VIEW drawn AS SELECT nextval('draws') AS number")
        .await
        .expect("a view");
    eventually("what draws a number is not shared", async || {
        let before = shared(&db);
        db.connection().query("SELECT number FROM drawn", &[]).await.expect("a number");
        db.connection().query("SELECT number FROM drawn", &[]).await.expect("a number");
        before > 0 && shared(&db) == before
    })
    .await;
}

/// P26: an asker that goes, or does not look at its answer, holds nobody up.
#[actix_web::test]
async fn one_that_is_dropped_or_left_holds_nobody_up() {
    let (_database, db) = patiently_sharing(4, 1).await;
    let many = "SELECT id, name, repeat('x', 1000) AS pad FROM things WHERE id <= $1";
    until_shared(&db, many, &[&1]).await;
    until_shared(&db, ECHO, &[&1]).await;
    let before = shared(&db);

    let conn = db.connection();
    let mut left = pin!(conn.query(many, &[&900]));
    poll_fn(|cx| Poll::Ready(left.as_mut().poll(cx).is_pending())).await;
    assert_eq!(shared(&db), before + 1, "it was sent");
    let dropped = conn.query(many, &[&900]).now_or_never();
    assert!(dropped.is_none());
    assert_eq!(shared(&db), before + 2);
    within(Duration::from_secs(5), "answers behind it", join_all((0..20).map(|number| echoes(&db, number))))
        .await;
    assert_eq!(left.await.expect("rows").len(), 900);
}

/// P26: reads that a lost session hit are repeated once.
#[actix_web::test]
async fn reads_that_lose_their_session_are_repeated() {
    let (database, db) = patiently_sharing(6, 1).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, ECHO, &[&1]).await;
    for round in 0..5 {
        until_shared(&db, ECHO, &[&1]).await;
        let backend = backend_of(&observer, ECHO).await.expect("the shared session");
        let reads = join_all((0..50).map(|number| echoes(&db, number)));
        let ends = observer.terminate(backend);
        let (..) = soon("answers", futures_util::future::join(reads, ends)).await;
        echoes(&db, round).await;
    }
    assert_whole_but(&db, 1).await;
}

/// P26: a stranger's slow statement delays nobody for long.
#[actix_web::test]
async fn those_behind_a_view_that_suddenly_sleeps_are_answered() {
    let (database, db) = patiently_sharing(10, 1).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, ECHO, &[&1]).await;
    until_shared(&db, NAP, &[]).await;
    observer.connection().execute("UPDATE naps SET seconds = 10", &[]).await.expect("a change");
    let before = db.status().counters;
    {
        let conn = db.connection();
        let mut nap = pin!(conn.query(NAP, &[]));
        poll_fn(|cx| Poll::Ready(nap.as_mut().poll(cx).is_pending())).await;
        assert_eq!(shared(&db), before.shared_reads + 1, "it was sent");
        let since = Instant::now();
        let others = join_all((0..50).map(|number| echoes(&db, number)));
        let waited = Duration::from_secs(3);
        tokio::select! {
            _ = others => {}
            slept = nap.as_mut() => panic!("{slept:?}"),
            () = tokio::time::sleep(waited) => panic!("not within {waited:?}"),
        }
        let after = db.status().counters;
        assert!(after.asked_again - before.asked_again >= 40, "{after:?} {:?}", since.elapsed());
        // The text is not shared while it is overdue.
        let again = db.connection().query(NAP, &[]).now_or_never();
        assert!(again.is_none());
        assert!(observer.running("nappers").await >= 1);
    }
    // Nobody waits for it any more, so it is cancelled.
    eventually("the sleepers are cancelled", async || observer.running("nappers").await == 0).await;
    eventually("reads are shared again", async || {
        let before = shared(&db);
        echoes(&db, 3).await;
        shared(&db) > before
    })
    .await;
    assert_whole_but(&db, 1).await;
}

/// P26: a read that is past `command_timeout` is cancelled, once it holds others up.
#[actix_web::test]
async fn a_read_that_takes_longer_than_the_command_timeout_is_cancelled() {
    let database = database().await;
    let config = Config {
        shared_reads: 1,
        shared_reads_slow: Duration::from_millis(100),
        command_timeout: Some(Duration::from_millis(500)),
        ..sized(database.config(), 4)
    };
    let db = connected(config).await;
    let observer = Observer::of(&database).await;
    db.connection().batch_execute(NAPS).await.expect("tables");
    until_shared(&db, NAP, &[]).await;
    observer.connection().execute("UPDATE naps SET seconds = 60", &[]).await.expect("a change");
    let before = shared(&db);
    let slept = soon("an end", db.connection().query(NAP, &[])).await;
    assert!(matches!(slept, Err(actix_pg::Error::CommandTimeout(_))), "{slept:?}");
    assert_eq!(shared(&db), before + 1);
    eventually("the sleeper is cancelled", async || observer.running("nappers").await == 0).await;
    assert_whole_but(&db, 1).await;
}

/// P26: what a hook has set up is there for every read, after each reset too.
#[actix_web::test]
async fn a_session_that_a_hook_sets_up_is_shared_set_up() {
    let database = database().await;
    let config = Config {
        shared_reads: 1,
        shared_reads_slow: Duration::from_millis(100),
        ..sized(database.config(), 4)
    };
    let db = Database::builder(config)
        .after_connect(|client| Box::pin(client.batch_execute("SET app.mark = 'hooked'")))
        .connect()
        .await
        .expect("a connected database");
    let view = "CREATE VIEW mark AS SELECT current_setting('app.mark') AS mark";
    db.connection().batch_execute(view).await.expect("a view");
    let sql = "SELECT mark FROM mark";
    until_shared(&db, sql, &[]).await;
    let (before, until) = (shared(&db), Instant::now() + Duration::from_millis(2500));
    while Instant::now() < until {
        assert_eq!(db.connection().query_one_scalar::<String>(sql, &[]).await.expect("a mark"), "hooked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(shared(&db) - before > 50);
}

/// P26: two shared sessions, of which one has a slow head, go on sharing.
#[actix_web::test]
async fn another_shared_session_takes_over() {
    let (database, db) = patiently_sharing(10, 2).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, NAP, &[]).await;
    eventually("both are open and know the statement", async || {
        let before = db.status().counters;
        join_all((0..40).map(|number| echoes(&db, number))).await;
        let after = db.status().counters;
        after.shared_reads - before.shared_reads == 40 && db.status().used == 2
    })
    .await;
    observer.connection().execute("UPDATE naps SET seconds = 10", &[]).await.expect("a change");
    let conn = db.connection();
    let mut nap = pin!(conn.query(NAP, &[]));
    poll_fn(|cx| Poll::Ready(nap.as_mut().poll(cx).is_pending())).await;
    tokio::select! {
        _ = join_all((0..40).map(|number| echoes(&db, number))) => {}
        slept = nap.as_mut() => panic!("{slept:?}"),
    }
    let before = shared(&db);
    join_all((0..20).map(|number| echoes(&db, number))).await;
    assert_eq!(shared(&db) - before, 20, "{:?}", db.status());
}

/// P26: a Parse that waits for a lock is an overdue head like any other.
#[actix_web::test]
async fn those_behind_a_parse_that_ddl_blocks_are_answered() {
    let (database, db) = sharing(6, 1).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, ECHO, &[&1]).await;
    let conn = observer.connection();
    let tx = conn.transaction().await.expect("a transaction");
    tx.batch_execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    let blocked = db.connection();
    let mut blocked = pin!(blocked.query("SELECT name FROM things WHERE id = 1", &[]));
    let others = async {
        for round in 0..30 {
            within(
                Duration::from_secs(3),
                "answers",
                join_all((0..10).map(|number| echoes(&db, round + number))),
            )
            .await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = others => {}
        unblocked = blocked.as_mut() => panic!("{unblocked:?}"),
    }
    tx.rollback().await.expect("no lock");
    drop(conn);
    assert_eq!(soon("the row", blocked).await.expect("a row").len(), 1);
    eventually("reads are shared again", async || {
        let before = shared(&db);
        echoes(&db, 3).await;
        shared(&db) > before
    })
    .await;
}

/// P26: slow and large texts have sessions of their own.
#[actix_web::test]
async fn what_is_slow_or_large_is_not_shared() {
    let (_database, db) = patiently_sharing(4, 1).await;
    let large = "SELECT id FROM things WHERE id <= $1";
    until_shared(&db, large, &[&999]).await;
    until_shared(&db, large, &[&5000]).await;
    let before = shared(&db);
    assert_eq!(db.connection().query(large, &[&5000]).await.expect("rows").len(), 5000);
    assert_eq!(shared(&db), before, "it was large");
    eventually("it has been small for a while", async || {
        db.connection().query(large, &[&1]).await.expect("rows");
        shared(&db) > before
    })
    .await;
    db.connection().execute("UPDATE naps SET seconds = 0.15", &[]).await.expect("a change");
    for _ in 0..3 {
        db.connection().query(NAP, &[]).await.expect("rows");
    }
    let before = shared(&db);
    db.connection().query(NAP, &[]).await.expect("rows");
    assert_eq!(shared(&db), before, "it was slow from the start");
}

/// P26: those that are quick one by one hold nobody up together.
#[actix_web::test]
async fn many_that_take_a_little_have_sessions_of_their_own() {
    let (_database, db) = patiently_sharing(8, 1).await;
    db.connection().execute("UPDATE naps SET seconds = 0.08", &[]).await.expect("a change");
    until_shared(&db, NAP, &[]).await;
    let before = shared(&db);
    let naps = (0..30).map(|_| {
        let conn = db.connection();
        actix_web::rt::spawn(async move { conn.query(NAP, &[]).await.map(|rows| rows.len()) })
    });
    let naps: Vec<_> = naps.collect();
    eventually("they use the pool", async || db.status().used >= 7).await;
    for nap in naps {
        assert_eq!(soon("an answer", nap).await.expect("no panic").expect("a row"), 1);
    }
    let shared = shared(&db) - before;
    assert!((1..=15).contains(&shared), "{shared} of 30");
}

/// P26: a stale plan is made anew.
#[actix_web::test]
async fn a_plan_that_ddl_made_stale_is_made_anew() {
    let (_database, db) = patiently_sharing(4, 1).await;
    let star = "SELECT * FROM things WHERE id = 1";
    until_shared(&db, star, &[]).await;
    assert_eq!(db.connection().query_one(star, &[]).await.expect("a row").len(), 2);
    db.connection().batch_execute("ALTER TABLE things ADD COLUMN more text").await.expect("a column");
    assert_eq!(db.connection().query_one(star, &[]).await.expect("a row").len(), 3);
    until_shared(&db, star, &[]).await;
    assert_eq!(db.connection().query_one(star, &[]).await.expect("a row").len(), 3);
}

/// A value that cannot be sent.
#[derive(Debug)]
struct Panics;

impl ToSql for Panics {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(b"half");
        panic!("a value that cannot be sent");
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// P26: a parameter that panics harms nobody else.
#[actix_web::test]
async fn a_parameter_that_panics_harms_nobody() {
    let (_database, db) = patiently_sharing(4, 1).await;
    until_shared(&db, ECHO, &[&1]).await;
    let conn = db.connection();
    let panicked = std::panic::AssertUnwindSafe(conn.query(ECHO, &[&Panics])).catch_unwind().await;
    assert!(panicked.is_err());
    let before = shared(&db);
    join_all((0..20).map(|number| echoes(&db, number))).await;
    assert_eq!(shared(&db) - before, 20);
}

/// P26: shared sessions go back to the pool when nobody uses them, and can be written on then.
#[actix_web::test]
async fn a_session_that_nobody_uses_goes_back() {
    let database = database().await;
    let config = Config {
        shared_reads: 1,
        shared_reads_slow: Duration::from_millis(100),
        test_after_idle: Duration::ZERO,
        ..sized(database.config(), 2)
    };
    let db = connected(config).await;
    until_shared(&db, ECHO, &[&1]).await;
    assert_eq!(db.status().used, 1);
    assert_whole(&db).await;
    let conn = db.connection();
    let client = db.connection();
    let _other = client.client().await.expect("the other session");
    conn.batch_execute("CREATE TABLE written (id int)").await.expect("a table");
    assert_eq!(db.status().open, 2);
}

/// P16: shared sessions do not live for ever either.
#[actix_web::test]
async fn shared_sessions_do_not_live_for_ever() {
    let database = database().await;
    let config = Config {
        shared_reads: 1,
        shared_reads_slow: Duration::from_millis(100),
        max_lifetime: Some(Duration::from_millis(500)),
        ..sized(database.config(), 4)
    };
    let db = connected(config).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, ECHO, &[&1]).await;
    let first = backend_of(&observer, ECHO).await;
    eventually("another one has taken over", async || {
        echoes(&db, 1).await;
        first.is_some() && backend_of(&observer, ECHO).await.is_some_and(|pid| Some(pid) != first)
    })
    .await;
}

/// P21: shared sessions end with the database, closed or dropped.
#[actix_web::test]
async fn shared_sessions_end_with_the_database() {
    let (database, db) = patiently_sharing(4, 1).await;
    let observer = Observer::of(&database).await;
    until_shared(&db, ECHO, &[&1]).await;
    within(Duration::from_secs(5), "closed", db.close()).await;
    assert_eq!(observer.backends().await, 0);
    assert!(db.connection().query(ECHO, &[&1]).await.is_err());

    let db = connected(Config { shared_reads: 1, ..sized(database.config(), 4) }).await;
    until_shared(&db, ECHO, &[&1]).await;
    drop(db);
    eventually("all sessions have ended", async || observer.backends().await == 0).await;
}

/// P12: a worker that stops takes nothing with it.
#[actix_web::test]
async fn a_worker_that_stops_returns_its_shared_sessions() {
    let (_database, db) = patiently_sharing(4, 1).await;
    for _ in 0..3 {
        let there = db.clone();
        elsewhere(&db, async move |conn| {
            until_shared(&there, ECHO, &[&1]).await;
            assert!(conn.query(ECHO, &[&1]).now_or_never().is_none());
        })
        .await;
        eventually("its session has come back", async || db.status().used == 0).await;
    }
    assert_whole(&db).await;
}

/// P23: the option is refused where it cannot be applied, and shares nothing where there is no room.
#[actix_web::test]
async fn where_it_cannot_be_applied_it_is_refused() {
    let base = Config { shared_reads: 1, ..Config::default() };
    for (config, part) in [
        (Config { reset: Reset::Always, ..base.clone() }, "reset"),
        (Config { statement_cache_size: 0, ..base.clone() }, "statement_cache_size"),
    ] {
        let Err(actix_pg::Error::Config(err)) = Database::connect(config).await else { panic!("{part}") };
        assert_eq!((err.kind(), err.option().name()), (ConfigErrorKind::Conflict, "shared_reads"));
        assert!(err.to_string().contains(part), "{err}");
    }
    let (_database, db) = sharing(1, 1).await;
    for number in 0..20 {
        echoes(&db, number).await;
    }
    assert_eq!(shared(&db), 0);
    assert_whole(&db).await;
    let lines = test_support::log::ours_with(&["has no room for another shared session"]);
    assert!(!lines.is_empty());
}

/// P26: off by default.
#[actix_web::test]
async fn nothing_is_shared_by_default() {
    let database = database().await;
    let db = connected(sized(database.config(), 2)).await;
    for number in 0..20 {
        echoes(&db, number).await;
    }
    assert_eq!(shared(&db), 0);
}
