//! Notifications, as streams that share one session beside the pool.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_pg::{AcquireError, Config, Database, Error, Event, Events};
use futures_util::{FutureExt, Stream, StreamExt};
use test_support::{
    FakeServer, Observer, PATIENCE, Phase, Proxy, assert_whole, backend, borrow_all, connect, connected,
    database, dsn_as, elsewhere, eventually, log, pool, runtime, sized, soon, within,
};

/// The sessions that listen, as the server sees them.
async fn listening(observer: &Observer) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
               AND (query LIKE 'LISTEN%' OR query LIKE 'UNLISTEN%') ORDER BY 1";
    observer.connection().query_scalar(sql, &[]).await.expect("backends")
}

async fn notify(db: &Database, channel: &str, payload: &str) {
    db.execute("SELECT pg_notify($1, $2)", &[&channel, &payload]).await.expect("a notification");
}

async fn next(events: &mut Events) -> Event {
    soon("an event", events.next()).await.expect("an open stream")
}

/// The payload of the next event, which is a notification.
async fn payload(events: &mut Events) -> String {
    match next(events).await {
        Event::Notification(notification) => notification.payload().to_owned(),
        other => panic!("{other:?} instead of a notification"),
    }
}

async fn reconnected(events: &mut Events) {
    let event = next(events).await;
    assert!(matches!(event, Event::Reconnected), "{event:?}");
}

/// P10: one session, beside the pool, which it takes no place of.
#[actix_web::test]
async fn all_streams_share_one_session_beside_the_pool() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let held = borrow_all(&db).await;
    let mut jobs = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let mut news =
        soon("a stream", db.listen(vec![String::from("news"), "jobs".into()])).await.expect("a stream");
    assert_eq!(observer.backends().await, 2);
    let status = db.status();
    assert_eq!((status.open, status.used, status.counters.opened), (1, 1, 1), "{status:?}");
    assert_eq!(db.watch().sessions().len(), 1);
    drop(held);

    notify(&db, "news", "rain").await;
    notify(&db, "jobs", "resize").await;
    assert_eq!(payload(&mut jobs).await, "resize");
    let Event::Notification(first) = next(&mut news).await else { panic!("a notification") };
    assert_eq!((first.channel(), first.payload()), ("news", "rain"));
    assert_eq!(first.process_id(), backend(&db.connection()).await);
    assert_eq!(payload(&mut news).await, "resize");
    assert!(!format!("{first:?}").contains("rain"), "{first:?}");

    // It ends with the last, and comes back with the next.
    drop(jobs);
    assert_eq!(observer.backends().await, 2);
    drop(news);
    eventually("it ends", async || observer.backends().await == 1).await;
    let mut again = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    notify(&db, "jobs", "again").await;
    assert_eq!(payload(&mut again).await, "again");
    assert_eq!(observer.backends().await, 2);
}

/// P10: however streams come and go, there is never more than one that listens.
#[actix_web::test]
async fn streams_that_come_and_go_never_have_two_sessions() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let comings = async {
        for round in 0..60 {
            let names = [format!("a{}", round % 7), format!("b{}", round % 3)];
            let mut events = soon("a stream", db.listen(&names)).await.expect("a stream");
            let payloads = [format!("{round}"), format!("{round} too")];
            for (name, payload) in names.iter().zip(&payloads) {
                notify(&db, name, payload).await;
            }
            for expected in payloads {
                assert_eq!(payload(&mut events).await, expected);
            }
            if round % 2 == 0 {
                // One that is not waited for.
                let _ = db.listen(["never"]).now_or_never();
            }
            drop(events);
        }
    };
    let watching = async {
        loop {
            assert!(observer.backends().await <= 2, "the pool's, and one that listens");
        }
    };
    tokio::select! {
        () = comings => {}
        () = watching => {}
    }
    eventually("it ends", async || observer.backends().await == 1).await;
}

/// Whatever a channel is called, it is that channel, and no SQL.
#[actix_web::test]
async fn names_are_taken_as_they_are() {
    let (_database, db) = connect(1).await;
    let names = [
        "jobs",
        "Jobs",
        "two words",
        r#"a"b"#,
        r#"x"; DROP TABLE kept; --"#,
        r"back\slash",
        "überraschung",
        &"n".repeat(63),
    ];
    db.batch_execute("CREATE TABLE kept ()").await.expect("a table");
    let mut events = soon("a stream", db.listen(names)).await.expect("a stream");
    for name in names {
        notify(&db, name, name).await;
        assert_eq!(payload(&mut events).await, name);
    }
    db.batch_execute("NOTIFY Jobs, 'folded'").await.expect("a notification");
    let Event::Notification(folded) = next(&mut events).await else { panic!("a notification") };
    assert_eq!(folded.channel(), "jobs");
    db.execute("SELECT FROM kept", &[]).await.expect("the table");
    for name in ["", "a\0b", &"n".repeat(64)] {
        let refused = db.listen(["jobs", name]).await;
        assert!(matches!(&refused, Err(Error::ChannelName(refused)) if refused == name), "{refused:?}");
    }
}

/// After a loss there is another session, and the stream says so before it goes on.
#[actix_web::test]
async fn a_loss_is_told() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let sender = pool(&database, 1).await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let mut jobs = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let mut news = soon("a stream", db.listen(["news"])).await.expect("a stream");
    for round in 0..3 {
        let lost = listening(&observer).await;
        assert_eq!(lost.len(), 1);
        match round {
            0 => observer.terminate(lost[0]).await,
            1 => proxy.cut(),
            // An outage with attempts that fail.
            _ => {
                proxy.refuse();
                let before = proxy.refused();
                proxy.cut();
                eventually("several attempts", async || proxy.refused() >= before + 3).await;
                // Nobody waits for the end of it.
                let refused = soon("a refusal", db.listen(["others"])).await;
                assert!(matches!(refused, Err(Error::Connect(_))), "{refused:?}");
                proxy.heal();
            }
        }
        // What is sent in between may be lost; the stream says so.
        reconnected(&mut jobs).await;
        reconnected(&mut news).await;
        notify(&sender, "jobs", "after it").await;
        assert_eq!(payload(&mut jobs).await, "after it");
        notify(&sender, "news", "after it").await;
        assert_eq!(payload(&mut news).await, "after it");
    }
    assert_eq!(listening(&observer).await.len(), 1);
}

/// An outage is a few attempts, and two lines of the log.
#[actix_web::test]
async fn an_outage_is_not_tried_all_the_time() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let mut events = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    proxy.refuse();
    proxy.cut();
    eventually("an attempt", async || proxy.refused() > 0).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        // Streams that are refused make no attempts of their own.
        let refused = soon("a refusal", db.listen(["others"])).await;
        assert!(matches!(refused, Err(Error::Connect(_))), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // 100 ms, 200 ms, 400 ms, 800 ms, 1 s later, each up to a fifth earlier.
    assert!(proxy.refused() <= 6, "{} attempts", proxy.refused());
    proxy.heal();
    reconnected(&mut events).await;
    let server = format!("127.0.0.1:{}", proxy.port());
    assert_eq!(log::ours_with(&["WARN", "cannot listen", &server]).len(), 1);
}

/// A reader that does not read costs a bounded buffer, is told what it missed, and delays nobody.
#[actix_web::test]
async fn one_that_does_not_read_is_told_what_it_missed() {
    let (_database, db) = connect(1).await;
    let mut lazy = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let mut eager = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let reading = async {
        let mut read = 0;
        while read < 3_000 {
            assert_eq!(payload(&mut eager).await, format!("{}", read + 1));
            read += 1;
        }
    };
    let sending = async {
        for first in (1..3_000).step_by(500) {
            let sql = "SELECT pg_notify('jobs', n::text) FROM generate_series($1::int, $1 + 499) n";
            db.execute(sql, &[&first]).await.expect("notifications");
        }
    };
    tokio::join!(reading, sending);
    let Event::Missed(missed) = next(&mut lazy).await else { panic!("it has missed some") };
    assert_eq!(missed, 3_000 - 1_024);
    for number in 3_000 - 1_023..=3_000 {
        assert_eq!(payload(&mut lazy).await, number.to_string());
    }
    notify(&db, "jobs", "the next").await;
    assert_eq!(payload(&mut lazy).await, "the next");
}

/// P21: `close()` ends the streams behind what they have, the session, and whoever waits.
#[actix_web::test]
async fn a_close_ends_the_streams() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let mut events = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let mut barrier = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    notify(&db, "jobs", "the last").await;
    assert_eq!(payload(&mut barrier).await, "the last");
    soon("the close", db.close()).await;
    assert_eq!(observer.backends().await, 0);
    assert_eq!(payload(&mut events).await, "the last");
    assert!(soon("the end", events.next()).await.is_none());
    let refused = soon("a refusal", db.listen(["jobs"])).await;
    assert!(matches!(refused, Err(Error::Acquire(AcquireError::DatabaseClosed))), "{refused:?}");
}

/// P21: a close during a login, and during a `LISTEN`, waits for neither, and whoever waits for a stream is told.
#[actix_web::test]
async fn a_close_waits_for_no_answer() {
    for phase in [Phase::Connect, Phase::Simple] {
        let server = FakeServer::start().await;
        let db = connected(server.config(1)).await;
        server.hold(phase);
        let waiting = tokio::spawn({
            let db = db.clone();
            async move { db.listen(["jobs"]).await }
        });
        server.reached(phase).await;
        let closing = tokio::spawn({
            let db = db.clone();
            async move { db.close().await }
        });
        let refused = soon("a refusal", waiting).await.expect("joined");
        assert!(matches!(refused, Err(Error::Acquire(AcquireError::DatabaseClosed))), "{refused:?}");
        // A server that has not answered says goodbye late.
        server.open(phase);
        within(Duration::from_secs(8), "the close", closing).await.expect("joined");
        eventually("no backend is left", async || server.backends() == 0).await;
    }
}

/// What nobody listens to any more, the server is told to forget; a stream that comes meanwhile is heard all the same.
#[actix_web::test]
async fn channels_come_and_go_on_the_session() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    let told = || -> Vec<String> {
        let queries = server.simple_queries();
        queries.into_iter().filter(|sql| sql.contains("LISTEN") && !sql.contains("RESET")).collect()
    };
    let _kept = soon("a stream", db.listen(["a"])).await.expect("a stream");
    let b = soon("a stream", db.listen(["b", "a"])).await.expect("a stream");
    let _same = soon("a stream", db.listen(["a"])).await.expect("a stream");
    assert_eq!(told(), [r#"LISTEN "a""#, r#"LISTEN "b""#]);
    drop(b);
    eventually("it is told", async || told().len() == 3).await;
    assert_eq!(told()[2], r#"UNLISTEN "b""#);

    // Two that come while an answer is under way go together; one that gives up is forgotten.
    server.hold(Phase::Simple);
    let listen = |name: &'static str| {
        let db = db.clone();
        tokio::spawn(async move { db.listen([name]).await })
    };
    let c = listen("c");
    server.reached(Phase::Simple).await;
    let (d, e) = (listen("d"), listen("e"));
    tokio::task::yield_now().await;
    e.abort();
    let _ = e.await;
    server.open(Phase::Simple);
    let _c = soon("a stream", c).await.expect("joined").expect("a stream");
    let _d = soon("a stream", d).await.expect("joined").expect("a stream");
    assert!(told().contains(&r#"LISTEN "d""#.to_owned()), "{:?}", told());
}

/// P10: a stream that comes while the session of others ends waits for that, and then has its own.
#[actix_web::test]
async fn one_that_comes_at_the_end_of_a_session_waits_for_the_next() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    let first = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let ending = listening(&observer).await;
    proxy.delay_goodbyes(Duration::from_millis(300));
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut next = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let now = listening(&observer).await;
    assert!(now.len() == 1 && now != ending, "{now:?} after {ending:?}");
    notify(&db, "jobs", "heard").await;
    assert_eq!(payload(&mut next).await, "heard");
}

/// P10: a login that nobody waits for any more is that of the next stream.
#[actix_web::test]
async fn one_that_comes_during_the_login_of_others_has_no_login_of_its_own() {
    let server = FakeServer::start().await;
    let db = connected(server.config(1)).await;
    for next_comes in [true, false] {
        let logins = server.passed(Phase::Connect);
        server.hold(Phase::Connect);
        let mut first = Box::pin(db.listen(["jobs"]));
        assert!(futures_util::poll!(&mut first).is_pending());
        server.reached(Phase::Connect).await;
        drop(first);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut next = Box::pin(db.listen(["jobs"]));
        if next_comes {
            assert!(futures_util::poll!(&mut next).is_pending());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(server.before(Phase::Connect), 1, "two logins");
        server.open(Phase::Connect);
        if next_comes {
            let stream = soon("a stream", next).await.expect("a stream");
            assert_eq!(server.backends(), 2, "that of the pool, and one that listens");
            drop(stream);
        }
        eventually("one login", async || server.passed(Phase::Connect) == logins + 1).await;
        eventually("it ends", async || server.backends() == 1).await;
    }
}

/// What nobody has asked for is no outage: who listens much later has one of his own, or none.
#[actix_web::test]
async fn an_outage_does_not_outlive_its_streams() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let db = connected(sized(config, 1)).await;
    log::keep();
    let server = format!("127.0.0.1:{}", proxy.port());
    let begun = || log::ours_with(&["WARN", "cannot listen", &server]).len();
    proxy.refuse();
    for outages in [1, 2] {
        let refused = soon("a refusal", db.listen(["jobs"])).await;
        assert!(matches!(refused, Err(Error::Connect(_))), "{refused:?}");
        // Once more in the same outage.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let refused = soon("a refusal", db.listen(["jobs"])).await;
        assert!(matches!(refused, Err(Error::Connect(_))), "{refused:?}");
        assert_eq!(begun(), outages);
        // Longer than the longest pause.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    proxy.heal();
    drop(soon("a stream", db.listen(["jobs"])).await.expect("a stream"));
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    assert_eq!(log::ours_with(&["listening again", &here]), [""; 0]);
}

/// A login that fails is the error of the first stream, and leaves nothing behind.
#[actix_web::test]
async fn a_first_stream_that_cannot_be_had_is_an_error() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let role = format!("listener_{}", database.name());
    let sql = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'ears' CONNECTION LIMIT 1");
    observer.connection().batch_execute(&sql).await.expect("a role");
    let config = Config::from_dsn(&dsn_as(&database, &role, "ears")).expect("a configuration");
    let db = connected(sized(config, 1)).await;
    let conn = db.connection();
    let pid = backend(&conn).await;
    let refused = soon("a refusal", db.listen(["jobs"])).await;
    match &refused {
        Err(Error::Connect(err)) => assert_eq!(err.code().map(|code| code.code()), Some("53300"), "{err:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(observer.backends().await, 1);
    // Its place on the server becomes free.
    drop(conn);
    observer.terminate(pid).await;
    eventually("a stream", async || db.listen(["jobs"]).await.is_ok()).await;
}

/// P14: that a session listens does not count as one that a waiter could get.
#[actix_web::test]
async fn an_outage_of_the_pool_is_told_at_once_while_one_listens() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let role = format!("refused_{}", database.name());
    let sql = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'ears' CONNECTION LIMIT 2");
    observer.connection().batch_execute(&sql).await.expect("a role");
    let config = Config::from_dsn(&dsn_as(&database, &role, "ears")).expect("a configuration");
    let db = connected(sized(config, 1)).await;
    let _events = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let pid = backend(&db.connection()).await;
    let sql = format!("ALTER ROLE \"{role}\" NOLOGIN");
    observer.connection().batch_execute(&sql).await.expect("no login");
    observer.terminate(pid).await;
    eventually("a refusal", async || {
        let since = Instant::now();
        let refused = db.query("SELECT 1", &[]).await;
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
        matches!(refused, Err(Error::Acquire(AcquireError::Unavailable(_))))
    })
    .await;
}

/// P12: whoever reads, on whatever thread, delays and ends nobody else.
#[actix_web::test]
async fn readers_on_other_runtimes_harm_themselves_alone() {
    let (_database, db) = connect(2).await;
    let mut here = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    // Its runtime stops with it.
    let listener = db.clone();
    elsewhere(&db, async move |_| {
        let mut there = listener.listen(["jobs"]).await.expect("a stream");
        notify(&listener, "jobs", "one").await;
        assert_eq!(payload(&mut there).await, "one");
    })
    .await;
    assert_eq!(payload(&mut here).await, "one");
    // And one whose thread blocks while it is told.
    let blocked = db.clone();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime().block_on(async move {
            let mut there = blocked.listen(["jobs"]).await.expect("a stream");
            ready.send(()).expect("a reader");
            goes.recv_timeout(PATIENCE).expect("to go on");
            assert_eq!(payload(&mut there).await, "two");
        });
    });
    soon("the other", is_ready).await.expect("a stream");
    notify(&db, "jobs", "two").await;
    assert_eq!(payload(&mut here).await, "two");
    go.send(()).expect("a thread");
    tokio::task::spawn_blocking(move || thread.join()).await.expect("joined").expect("a reader");
    assert_whole(&db).await;
}

/// The home that has stopped ends the streams: nobody would ever wake them.
#[test]
fn a_home_that_stops_ends_the_streams() {
    let database = runtime().block_on(database());
    let home = runtime();
    let (db, mut events) = home.block_on(async {
        let db = pool(&database, 1).await;
        let events = db.listen(["jobs"]).await.expect("a stream");
        (db, events)
    });
    drop(home);
    runtime().block_on(async {
        assert!(soon("the end", events.next()).await.is_none());
        let refused = soon("a refusal", db.listen(["jobs"])).await;
        assert!(matches!(refused, Err(Error::Acquire(AcquireError::HomeStopped))), "{refused:?}");
    });
}

/// A waker that panics takes nothing with it.
#[actix_web::test]
async fn a_waker_that_panics_costs_nobody_anything() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("a waker that panics");
        }
    }
    let (_database, db) = connect(1).await;
    let mut bad = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let mut good = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let waker = Waker::from(std::sync::Arc::new(Panics));
    let polled = std::pin::Pin::new(&mut bad).poll_next(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Pending));
    for text in ["one", "two"] {
        notify(&db, "jobs", text).await;
        assert_eq!(payload(&mut good).await, text);
    }
    assert_eq!(payload(&mut bad).await, "one");
}

/// What a sandbox sends is never committed; its own streams end with it.
#[actix_web::test]
async fn a_sandbox_has_streams_of_its_own() {
    let (_database, db) = connect(2).await;
    let sandbox = db.sandbox().await.expect("a sandbox");
    let mut outside = soon("a stream", db.listen(["jobs"])).await.expect("a stream");
    let mut inside = soon("a stream", sandbox.listen(["jobs"])).await.expect("a stream");
    notify(&sandbox, "jobs", "never").await;
    notify(&db, "jobs", "committed").await;
    assert_eq!(payload(&mut inside).await, "committed");
    assert_eq!(payload(&mut outside).await, "committed");
    sandbox.close().await;
    assert!(soon("the end", inside.next()).await.is_none());
    notify(&db, "jobs", "later").await;
    assert_eq!(payload(&mut outside).await, "later");
}
