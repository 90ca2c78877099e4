//! Every session is replaced by a new one while the pool is in use.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_pg::{Config, Database};
use futures_util::future::join_all;
use test_support::{
    Observer, assert_whole, backend, borrow_all, connected, database, eventually, sized, soon,
};
use tokio::time::sleep;

/// The server processes of the pool.
async fn backends(observer: &Observer) -> HashSet<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'observer' \
               AND backend_type = 'client backend'";
    let pids: Vec<i32> = observer.connection().query_scalar(sql, &[]).await.expect("backends");
    pids.into_iter().collect()
}

/// Looks at the backends until none of the old ones is left, and says how many there were at most and at least.
async fn watched_until_renewed(observer: &Observer, old: &HashSet<i32>) -> (usize, usize) {
    soon("no old one is left", async {
        let (mut most, mut least) = (old.len(), old.len());
        loop {
            let now = backends(observer).await;
            (most, least) = (most.max(now.len()), least.min(now.len()));
            if now.is_disjoint(old) {
                return (most, least);
            }
        }
    })
    .await
}

async fn in_use(db: &Database, size: usize) {
    drop(borrow_all(db).await);
    eventually("all are open", async || db.status().open as usize == size).await;
}

/// P10, P16: sessions that idle are replaced one by one, and those that are new stay.
#[actix_web::test]
async fn idle_sessions_are_replaced_and_the_floor_and_the_maximum_hold() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    for (min, max) in [(4, 8), (4, 4), (0, 4)] {
        let db = connected(Config { pool_min_size: min, pool_max_size: max, ..database.config() }).await;
        in_use(&db, max as usize).await;
        let old = backends(&observer).await;
        assert_eq!(old.len(), max as usize);
        db.renew(Duration::ZERO);
        let (most, least) = watched_until_renewed(&observer, &old).await;
        assert!(most <= max as usize, "{most} backends of {max}");
        assert!(least + 1 >= min as usize, "{least} backends with a floor of {min}");
        assert_eq!(db.status().counters.ended.renewed, u64::from(max));
        eventually("the floor is back", async || db.status().open >= min).await;

        // Two rounds of those who look after sessions.
        in_use(&db, max as usize).await;
        let new = backends(&observer).await;
        sleep(Duration::from_millis(2500)).await;
        assert_eq!(backends(&observer).await, new);
        assert_eq!(db.status().counters.ended.renewed, u64::from(max));
        db.close().await;
    }
}

/// Not all at once: the server has logins of others too.
#[actix_web::test]
async fn they_are_spread_over_the_time_that_is_given() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(Config { pool_min_size: 6, pool_max_size: 6, ..database.config() }).await;
    let old = backends(&observer).await;
    let since = Instant::now();
    db.renew(Duration::from_secs(4));
    assert!(since.elapsed() < Duration::from_millis(100), "it waits for nothing");
    sleep(Duration::from_secs(2)).await;
    let left = backends(&observer).await.intersection(&old).count();
    assert!((2..=5).contains(&left), "{left} of 6 are left after half of the time");
    watched_until_renewed(&observer, &old).await;
    // A session that idles is looked at once a second.
    assert!(since.elapsed() < Duration::from_millis(6500), "{:?}", since.elapsed());
    assert_eq!(db.status().counters.ended.renewed, 6);

    db.renew(Duration::MAX);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(db.status().counters.ended.renewed, 6, "for ever is no time at all");
    assert_whole(&db).await;
}

/// Who has one finishes what he does. It is replaced when it comes back.
#[actix_web::test]
async fn a_lent_session_finishes_its_work() {
    let database = database().await;
    let db = connected(sized(database.config(), 1)).await;
    let conn = db.connection();
    let tx = conn.transaction().await.expect("a transaction");
    let pid: i32 = tx.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("a backend");
    db.renew(Duration::ZERO);
    db.renew(Duration::from_secs(600));
    sleep(Duration::from_millis(1500)).await;
    tx.execute("CREATE TABLE t (id int)", &[]).await.expect("a table");
    tx.commit().await.expect("a commit");
    assert_eq!(backend(&conn).await, pid);
    conn.release().expect("nothing runs");
    assert_ne!(backend(&conn).await, pid);
    assert_eq!(db.status().counters.ended.renewed, 1);
    drop(conn);
    assert_whole(&db).await;
}

/// P10: nobody notices.
#[actix_web::test]
async fn under_load_no_request_fails() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let db = connected(Config { pool_min_size: 2, pool_max_size: 4, ..database.config() }).await;
    let done = AtomicBool::new(false);
    let requests = join_all((0..12).map(async |number: i32| {
        let mut longest = Duration::ZERO;
        while !done.load(Ordering::Relaxed) {
            let since = Instant::now();
            let echo: i32 = db.query_one_scalar("SELECT $1::int", &[&number]).await.expect("an answer");
            longest = longest.max(since.elapsed());
            assert_eq!(echo, number);
        }
        longest
    }));
    let renewals = async {
        for within in [0, 500, 0] {
            eventually("all are open", async || backends(&observer).await.len() == 4).await;
            let old = backends(&observer).await;
            db.renew(Duration::from_millis(within));
            let (most, _) = watched_until_renewed(&observer, &old).await;
            assert!(most <= 4, "{most} backends");
        }
        done.store(true, Ordering::Relaxed);
    };
    let (longest, ()) = tokio::join!(requests, renewals);
    let longest = longest.into_iter().max().expect("some");
    assert!(longest < Duration::from_secs(1), "somebody waited for {longest:?}");
    assert!(db.status().counters.ended.renewed >= 12);
    assert_whole(&db).await;
}

/// P26: a session that requests share is replaced too, whether it is busy or nobody asks it.
#[actix_web::test]
async fn shared_sessions_are_replaced() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    for busy in [true, false] {
        let slow = Duration::from_millis(100);
        let db =
            connected(Config { shared_reads: 1, shared_reads_slow: slow, ..sized(database.config(), 4) })
                .await;
        let read = async || {
            let conn = db.connection();
            let one: i32 = conn.query_one_scalar("SELECT $1::int", &[&1]).await.expect("an answer");
            assert_eq!(one, 1);
        };
        eventually("a shared read", async || {
            read().await;
            db.status().counters.shared_reads > 0
        })
        .await;
        let old = backends(&observer).await;
        db.renew(Duration::from_millis(200));
        soon("no old one is left", async {
            while !backends(&observer).await.is_disjoint(&old) {
                if busy {
                    read().await;
                } else {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        })
        .await;
        read().await;
        db.close().await;
    }
}
