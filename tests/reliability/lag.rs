//! How far a standby is behind, where another server becomes the primary, or the primary does not say how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_pg::{Config, Database};
use test_support::{connected, eventually, log};
use tokio::time::sleep;

use crate::standbys::{Setup, WRITE};

const BOUND: Duration = Duration::from_secs(1);

/// A superuser is told the timeline of a standby at once. Others are not.
const ROLES: [&str; 2] = ["postgres", "plain"];

const SEEN: &str = "SELECT pg_is_in_recovery(), max(id) FROM runs";

/// Two standbys, and a database for each of the roles that reads on the second one.
async fn start() -> Option<(Setup, Vec<Database>)> {
    let setup = Setup::with(2, |config| config).await?;
    setup.db.batch_execute("CREATE ROLE plain LOGIN; GRANT SELECT ON runs TO plain").await.expect("a role");
    setup.cluster.caught_up(1).expect("the second standby");
    let mut dbs = Vec::new();
    for role in ROLES {
        let reader = format!("host=127.0.0.1 port={} user={role}", setup.cluster.standby(1).port());
        let config = Config { reader: Some(reader), reader_max_lag: Some(BOUND), ..setup.config() };
        dbs.push(connected(config).await);
    }
    for db in &dbs {
        eventually("the standby serves", async || is_standby(db).await).await;
    }
    Some((setup, dbs))
}

async fn is_standby(db: &Database) -> bool {
    db.reader().query_one_as::<(bool, i64)>(SEEN, &[]).await.is_ok_and(|(is_standby, _)| is_standby)
}

/// P31: a standby that was further than the one that is promoted does not follow it. It shows what was lost, and lacks what is written
/// from then on.
#[actix_web::test]
async fn a_standby_that_was_further_than_the_promoted_one_serves_nobody() {
    let Some((setup, dbs)) = start().await else { return };
    // The first standby hears no more of the primary. The second one hears more.
    setup.tell_standby("ALTER SYSTEM SET primary_conninfo = ''").await;
    setup.cluster.standby(0).reload().expect("reloaded");
    eventually("it is alone", async || {
        setup.db.execute(WRITE, &[]).await.expect("written");
        setup.latest_at(setup.cluster.standby(0)).await < setup.latest_at(setup.cluster.primary()).await
    })
    .await;
    let filled = "CREATE TABLE filled AS SELECT n, repeat('x', 100) FROM generate_series(1, 30000) AS n";
    setup.db.batch_execute(filled).await.expect("written");
    let lost: i64 =
        setup.db.query_one_scalar("INSERT INTO runs VALUES (1000) RETURNING id", &[]).await.expect("written");
    setup.cluster.caught_up(1).expect("the second standby");
    setup.cluster.primary().crash().expect("crashed");
    setup.cluster.promote(0).expect("promoted");
    eventually("writes are back", async || setup.db.execute(WRITE, &[]).await.is_ok()).await;
    let begun = Instant::now();
    let ahead = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::bigint";
    let stranded = setup.replayed_at(setup.cluster.standby(1)).await;
    let mut lent = [0, 0];
    loop {
        setup.db.execute(WRITE, &[]).await.expect("written");
        // The new primary comes to where the standby is, and goes on.
        if begun.elapsed() > 3 * BOUND {
            let more = "SELECT pg_logical_emit_message(false, 'more', repeat('x', 50000))";
            setup.db.execute(more, &[]).await.expect("written");
        }
        for (db, lent) in dbs.iter().zip(&mut lent) {
            if begun.elapsed() > BOUND {
                let (is_standby, id): (bool, i64) =
                    db.reader().query_one_as(SEEN, &[]).await.expect("an answer");
                assert!(is_standby == (id == lost), "{id}");
                *lent += i32::from(is_standby);
            }
        }
        let ahead: i64 = setup.db.query_one_scalar(ahead, &[&stranded]).await.expect("a position");
        if ahead > 1_000_000 {
            break;
        }
        sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(lent, [0, 0], "answers with rows that were lost, by role");
    for db in dbs {
        db.close().await;
    }
}

/// P31: a standby that follows the former primary, which goes on, is not taken for one of the new primary's.
#[actix_web::test]
async fn a_standby_that_stays_with_the_former_primary_is_not_used() {
    let Some((setup, dbs)) = start().await else { return };
    let (former, new, standby) =
        (setup.cluster.primary(), setup.cluster.standby(0), setup.cluster.standby(1));
    for db in dbs {
        db.close().await;
    }
    // It is written there last, so it counts when the cluster tells the standby whom to follow.
    let sockets = former.socket_dir().expect("a directory");
    let follow = format!("host={} port={} user=postgres", sockets.display(), former.port());
    setup.tell(standby.dsn(), &format!("ALTER SYSTEM SET primary_conninfo = '{follow}'")).await;
    setup.cluster.promote(0).expect("promoted");
    let ours = format!("{}/{}", new.dsn().rsplit_once('/').expect("a database").0, setup.database.name());
    let of_former =
        format!("{}/{}", former.dsn().rsplit_once('/').expect("a database").0, setup.database.name());
    let writes = connected(Config::from_dsn(&of_former).expect("a DSN")).await;
    writes.batch_execute("INSERT INTO runs SELECT generate_series(1000, 20000)").await.expect("written");
    setup.cluster.caught_up(1).expect("it follows");
    for role in ROLES {
        let reader = Some(format!("host=127.0.0.1 port={} user={role}", standby.port()));
        let config =
            Config { reader, reader_max_lag: Some(BOUND), ..Config::from_dsn(&ours).expect("a DSN") };
        let db = connected(config).await;
        let begun = Instant::now();
        while begun.elapsed() < 2 * BOUND {
            let id: i64 = db.query_one_scalar(WRITE, &[]).await.expect("written");
            writes.execute(WRITE, &[]).await.expect("written");
            let seen: (bool, i64) = db.reader().query_one_as(SEEN, &[]).await.expect("an answer");
            assert_eq!(seen, (false, id), "as {role}");
            sleep(Duration::from_millis(10)).await;
        }
        db.close().await;
    }
    writes.close().await;
}

/// P31: a standby that follows a promotion serves again, while the new primary is written to.
#[actix_web::test]
async fn a_standby_that_follows_a_promotion_serves_again() {
    let Some((setup, dbs)) = start().await else { return };
    setup.cluster.primary().crash().expect("crashed");
    setup.cluster.promote(0).expect("promoted");
    let begun = Instant::now();
    // The first row of the new primary, and when a standby has shown it to each of the roles.
    let mut first = None;
    let mut again = [None, None];
    let (mut all, mut served) = (0, [0, 0]);
    // Its sessions are opened anew when the new primary is known.
    let mut settled = None;
    while all < 200 {
        if let Ok(id) = setup.db.query_one_scalar::<i64>(WRITE, &[]).await {
            first.get_or_insert(id);
        }
        if settled.is_none() && again.iter().all(Option::is_some) {
            settled = Some(Instant::now() + BOUND);
        }
        let counts = settled.is_some_and(|settled| Instant::now() > settled);
        all += i32::from(counts);
        for ((db, again), served) in dbs.iter().zip(&mut again).zip(&mut served) {
            let seen = db.reader().query_one_as::<(bool, i64)>(SEEN, &[]).await;
            if seen.is_ok_and(|(is_standby, id)| is_standby && first.is_some_and(|first| id >= first)) {
                again.get_or_insert_with(|| begun.elapsed());
                *served += i32::from(counts);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{again:?}");
        sleep(Duration::from_millis(10)).await;
    }
    eprintln!("it serves again after {again:?}; of {all} answers, {served:?} were its own, by role");
    assert!(served.iter().all(|served| *served >= all * 9 / 10), "{served:?} of {all}");
    for db in dbs {
        db.close().await;
    }
}

/// P31: where the primary refuses to say how far it is, but is written to, no standby qualifies.
#[actix_web::test]
async fn a_primary_that_refuses_the_question_lifts_no_bound() {
    let Some(setup) = Setup::start(Some(BOUND)).await else { return };
    setup.until_standby_serves(true).await;
    setup.db.execute(WRITE, &[]).await.expect("written");
    setup.until_standby_serves(true).await;
    let primary = setup.cluster.primary();
    // Whoever is connected stays connected.
    primary.hba(&["host all all 127.0.0.1/32 reject"]).expect("reloaded");
    let ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
        AND query LIKE '%pg_current_wal_insert_lsn%' AND pid <> pg_backend_pid()";
    assert_eq!(setup.db.query_one_scalar::<i64>(ends, &[]).await.expect("ended"), 1);
    setup.tell_standby("SELECT pg_wal_replay_pause()").await;
    let id: i64 = setup.db.query_one_scalar(WRITE, &[]).await.expect("written");
    let written = Instant::now();
    while written.elapsed() < 4 * BOUND {
        let asked = Instant::now();
        let seen: (bool, i64) = setup.db.reader().query_one_as(SEEN, &[]).await.expect("an answer");
        assert!(asked < written + BOUND || seen == (false, id), "{seen:?} after {:?}", written.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    let port = primary.port().to_string();
    let lines = log::ours_with(&["WARN", "cannot ask the primary", r#"database="reader""#, &port]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    setup.tell_standby("SELECT pg_wal_replay_resume()").await;
    primary.hba(&["host all all 127.0.0.1/32 trust"]).expect("reloaded");
    setup.until_standby_serves(true).await;
}

/// P31: a session that has to be asked first is lent once, and the hook before that runs once.
#[actix_web::test]
async fn a_standby_that_is_asked_first_is_lent_once() {
    let Some(setup) = Setup::start(None).await else { return };
    let hooks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&hooks);
    let config = Config { reader_max_lag: Some(BOUND), ..setup.config() };
    let db = Database::builder(config).before_acquire(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    let db = db.connect().await.expect("a database");
    eventually("the standby serves", async || is_standby(&db).await).await;
    for _ in 0..5 {
        // Longer than a session need not be asked again.
        sleep(BOUND / 3).await;
        let borrows = || db.status().counters.borrows + db.reader().status().counters.borrows;
        let before = (borrows(), hooks.load(Ordering::Relaxed));
        assert!(is_standby(&db).await);
        assert_eq!((borrows(), hooks.load(Ordering::Relaxed)), (before.0 + 1, before.1 + 1));
    }
    db.close().await;
}
