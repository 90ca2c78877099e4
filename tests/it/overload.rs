//! P30: under overload those who cannot be served in time are told at once, and those who are served are served in time.

use std::time::{Duration, Instant};

use actix_pg::{AcquireError, Config, Database, Error};
use actix_web::http::header::RETRY_AFTER;
use actix_web::{ResponseError, rt};
use futures_util::future::join_all;
use test_support::{all_returned, connected, database, eventually, sized};

const TARGET: Duration = Duration::from_millis(50);
const INTERVAL: Duration = Duration::from_millis(200);

async fn shedding(size: u32) -> (actix_pg::testing::TestDatabase, Database) {
    let database = database().await;
    let config =
        Config { queue_target: Some(TARGET), queue_interval: INTERVAL, ..sized(database.config(), size) };
    (database, connected(config).await)
}

fn is_overloaded(err: &Error) -> bool {
    matches!(err, Error::Acquire(AcquireError::Overloaded { queue_target: TARGET, .. }))
}

#[actix_web::test]
async fn who_waits_while_no_session_comes_back_is_refused_after_an_interval() {
    let (_database, db) = shedding(1).await;
    let busy = db.connection();
    busy.query("SELECT 1", &[]).await.unwrap();
    let begun = Instant::now();
    let waiting = (0..3).map(|_| db.query("SELECT 1", &[]));
    for refused in join_all(waiting).await {
        let err = refused.unwrap_err();
        assert!(is_overloaded(&err), "{err:?}");
        let res = err.error_response();
        assert_eq!((res.status().as_u16(), res.headers().contains_key(RETRY_AFTER)), (503, true));
    }
    let waited = begun.elapsed();
    assert!(waited >= TARGET * 2 && waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(db.status().counters.refusals, 3);
    // Who is the first to wait after that is served when the session comes back in time.
    busy.release().unwrap();
    db.query("SELECT 1", &[]).await.unwrap();
    all_returned(&db).await;
}

#[actix_web::test]
async fn a_burst_is_not_refused() {
    let (_database, db) = shedding(2).await;
    // Some of these wait for more than twice the target, but the queue is empty before an interval has passed.
    let burst = (0..12).map(|_| db.query("SELECT pg_sleep(0.02)", &[]));
    let begun = Instant::now();
    let answers = join_all(burst).await;
    if begun.elapsed() < INTERVAL {
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    all_returned(&db).await;
    db.query("SELECT 1", &[]).await.unwrap();
}

#[actix_web::test]
async fn nobody_is_refused_where_the_option_is_off() {
    let database = database().await;
    let db = connected(sized(database.config(), 1)).await;
    let busy = db.connection();
    busy.query("SELECT 1", &[]).await.unwrap();
    let waiting = rt::spawn({
        let db = db.clone();
        async move { db.query("SELECT 1", &[]).await.map(|rows| rows.len()) }
    });
    eventually("it waits", async || db.status().pending_requests == 1).await;
    rt::time::sleep(Duration::from_millis(600)).await;
    busy.release().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
}

/// What the clients of a pool see under a load of twice its capacity.
#[derive(Debug)]
struct Seen {
    /// Served within a second of their arrival.
    good: usize,
    served: usize,
    refused: usize,
    longest_refusal: Duration,
    p99: Duration,
}

/// Two sessions, each good for 50 statements of 20 ms a second, and 200 clients a second, for 4 seconds.
async fn overloaded(queue_target: Option<Duration>) -> Seen {
    let database = database().await;
    let config = Config { queue_target, queue_interval: INTERVAL, ..sized(database.config(), 2) };
    let db = connected(config).await;
    db.resize(2, 2).unwrap();
    eventually("both are open", async || db.status().idle == 2).await;
    let begun = Instant::now();
    let clients = (0..800).map(|number: u32| {
        let db = db.clone();
        async move {
            let due = begun + Duration::from_millis(5) * number;
            rt::time::sleep_until(due.into()).await;
            let answer = db.query("SELECT pg_sleep(0.02)", &[]).await;
            (due.elapsed(), answer.map(drop))
        }
    });
    let answers = join_all(clients).await;
    let mut served: Vec<_> =
        answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(after, _)| *after).collect();
    served.sort_unstable();
    let refused: Vec<_> =
        answers.iter().filter_map(|(after, answer)| Some((*after, answer.as_ref().err()?))).collect();
    assert!(refused.iter().all(|(_, err)| is_overloaded(err)), "{refused:?}");
    all_returned(&db).await;
    Seen {
        good: served.iter().filter(|after| **after < Duration::from_secs(1)).count(),
        served: served.len(),
        refused: refused.len(),
        longest_refusal: refused.iter().map(|(after, _)| *after).max().unwrap_or_default(),
        p99: served[served.len() * 99 / 100],
    }
}

#[actix_web::test]
async fn under_twice_its_capacity_the_pool_serves_in_time_whom_it_serves() {
    let plain = overloaded(None).await;
    let shedding = overloaded(Some(TARGET)).await;
    println!("plain:    {plain:?}\nshedding: {shedding:?}");
    assert_eq!((plain.served, plain.refused), (800, 0));
    assert_eq!(shedding.served + shedding.refused, 800);
    assert!(shedding.refused > 100, "{shedding:?}");
    assert!(shedding.good > plain.good, "{shedding:?}, plain: {plain:?}");
    assert!(shedding.p99 < plain.p99 / 2, "{shedding:?}, plain: {plain:?}");
    assert!(shedding.longest_refusal < plain.p99, "{shedding:?}, plain: {plain:?}");
}
