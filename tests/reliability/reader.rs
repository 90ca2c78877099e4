//! Reads on standbys beside writes on the primary: who serves them, how old the answers may be, and what happens when a server goes.

use std::time::{Duration, Instant};

use actix_pg::{Config, Connection, ReadConnection, Result};
use actix_web::{App, test, web};
use test_support::{all_returned, connected, eventually, log};
use tokio::time::sleep;

use crate::standbys::{IS_STANDBY, LATEST, Setup, WRITE, read, write};

/// Which server answers, and on which session.
#[derive(serde::Deserialize, serde::Serialize)]
struct Seen {
    is_standby: bool,
    latest: i64,
    tenant: String,
    is_same_session: bool,
}

async fn seen(conn: &Connection, read: &ReadConnection) -> Result<web::Json<Seen>> {
    let sql = "SELECT pg_is_in_recovery(), max(id), coalesce(current_setting('app.tenant', true), ''), pg_backend_pid() FROM runs";
    let (is_standby, latest, tenant, pid): (bool, i64, String, i32) = read.query_one_as(sql, &[]).await?;
    let is_same_session = pid == conn.query_one_scalar::<i32>("SELECT pg_backend_pid()", &[]).await?;
    Ok(web::Json(Seen { is_standby, latest, tenant, is_same_session }))
}

async fn only_reads(conn: Connection, read: ReadConnection) -> Result<web::Json<Seen>> {
    conn.set_config("app.tenant", "seven")?;
    seen(&conn, &read).await
}

async fn writes_first(conn: Connection, read: ReadConnection) -> Result<web::Json<Seen>> {
    conn.execute(WRITE, &[]).await?;
    conn.release()?;
    seen(&conn, &read).await
}

/// P31: reads go to a standby, with the settings of the request, until the request has used its other connection.
#[actix_web::test]
async fn reads_are_served_by_a_standby_until_the_request_writes() {
    let Some(setup) = Setup::start(None).await else { return };
    let app = App::new()
        .wrap(setup.db.middleware())
        .route("/reads", web::get().to(only_reads))
        .route("/writes", web::get().to(writes_first));
    let app = test::init_service(app).await;
    for _ in 0..3 {
        let req = test::TestRequest::get().uri("/reads").to_request();
        let seen: Seen = test::call_and_read_body_json(&app, req).await;
        assert!(seen.is_standby && !seen.is_same_session);
        assert_eq!(seen.tenant, "seven");
    }
    for latest in 1..50 {
        let req = test::TestRequest::get().uri("/writes").to_request();
        let seen: Seen = test::call_and_read_body_json(&app, req).await;
        assert_eq!((seen.is_standby, seen.latest, seen.is_same_session), (false, latest, true));
    }
    all_returned(&setup.db).await;
    all_returned(&setup.db.reader()).await;
    let refused = setup.db.reader().execute("DELETE FROM runs", &[]).await.expect_err("a standby");
    assert_eq!(refused.code().map(|code| code.code()), Some("25006"));
}

/// P31: with the cookie, a client reads on the primary for a time after it has written.
#[actix_web::test]
async fn a_client_reads_what_it_wrote_in_an_earlier_request() {
    let Some(setup) = Setup::start(None).await else { return };
    let app = App::new()
        .wrap(setup.db.middleware().read_your_writes(Duration::from_millis(1500)))
        .route("/", web::post().to(write))
        .route("/", web::get().to(read));
    let app = test::init_service(app).await;
    let reads = async |cookie: Option<&str>| {
        let mut req = test::TestRequest::get().uri("/");
        if let Some(cookie) = cookie {
            req = req.insert_header(("cookie", cookie));
        }
        let res = test::call_service(&app, req.to_request()).await;
        assert!(res.headers().get("set-cookie").is_none(), "it has only read");
        String::from_utf8(test::read_body(res).await.to_vec()).expect("text")
    };
    setup.tell_standby("SELECT pg_wal_replay_pause()").await;
    let res = test::call_service(&app, test::TestRequest::post().uri("/").to_request()).await;
    let cookie = res.headers().get("set-cookie").expect("a cookie").to_str().expect("text").to_owned();
    assert_eq!(cookie, "actix_pg_wrote=1; Max-Age=2; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(test::read_body(res).await, "1");
    assert_eq!(reads(None).await, "true 0");
    assert_eq!(reads(Some("theme=dark; actix_pg_wrote=1")).await, "false 1");
    assert_eq!(reads(Some("xactix_pg_wrote=1; actix_pg_wrotex=1")).await, "true 0");
    setup.tell_standby("SELECT pg_wal_replay_resume()").await;
    eventually("the standby has it", async || reads(None).await == "true 1").await;
}

/// P31: a window that is shorter than `reader_max_lag` would end before standbys have to have what was written. Who has written by HTTPS
/// shows the cookie to nobody else.
#[actix_web::test]
async fn a_window_is_as_long_as_the_bound() {
    let Some(setup) = Setup::start(Some(Duration::from_secs(7))).await else { return };
    for (window, attributes) in [(3, "Max-Age=7"), (9, "Max-Age=9")] {
        let middleware = setup.db.middleware().read_your_writes(Duration::from_secs(window));
        let app = test::init_service(App::new().wrap(middleware).route("/", web::post().to(write))).await;
        for (scheme, more) in [("http", ""), ("https", "; Secure")] {
            let req = test::TestRequest::post().insert_header(("x-forwarded-proto", scheme));
            let res = test::call_service(&app, req.to_request()).await;
            let cookie = res.headers().get("set-cookie").expect("a cookie").to_str().expect("text");
            assert_eq!(
                cookie,
                format!("actix_pg_wrote=1; {attributes}; Path=/; HttpOnly; SameSite=Lax{more}")
            );
        }
    }
}

/// P31: the primary serves while there is no standby, and a standby serves again when it is back.
#[actix_web::test]
async fn a_standby_that_goes_is_replaced_by_the_primary() {
    let Some(setup) = Setup::start(None).await else { return };
    setup.until_standby_serves(true).await;
    setup.cluster.standby(0).stop().expect("stopped");
    setup.until_standby_serves(false).await;
    let slowest = async |times| {
        let mut slowest = Duration::ZERO;
        for _ in 0..times {
            let begun = Instant::now();
            setup.db.reader().query_one_scalar::<i64>(LATEST, &[]).await.expect("an answer");
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    };
    let slowest = slowest(200).await;
    assert!(slowest < Duration::from_secs(1), "nobody waits for a standby: {slowest:?}");
    assert_eq!(setup.db.reader().status().open, 0);
    setup.cluster.standby(0).start_again().expect("started");
    setup.until_standby_serves(true).await;
}

/// P31: nobody reads what is older than the bound, whatever becomes of the standby.
#[actix_web::test]
async fn no_answer_is_older_than_the_bound() {
    let bound = Duration::from_millis(400);
    let Some(setup) = Setup::start(Some(bound)).await else { return };
    setup.until_standby_serves(true).await;
    // What was written, and when that was known.
    let mut written = vec![(Instant::now(), 0_i64)];
    let mut by_standby = [0, 0, 0];
    for (phase, sql) in
        ["SELECT pg_wal_replay_resume()", "SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"]
            .into_iter()
            .enumerate()
    {
        setup.tell_standby(sql).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1600) {
            let id = setup.db.query_one_scalar::<i64>(WRITE, &[]).await.expect("written");
            written.push((Instant::now(), id));
            let asked = Instant::now();
            let sql = "SELECT pg_is_in_recovery(), max(id) FROM runs";
            let (is_standby, id): (bool, i64) = setup.db.reader().query_one_as(sql, &[]).await.expect("read");
            let known = written.iter().rev().find(|(at, _)| *at + bound <= asked).map_or(0, |(_, id)| *id);
            assert!(id >= known, "{id} was read where {known} had been written {bound:?} before");
            by_standby[phase] += i32::from(is_standby && begun.elapsed() > bound);
            sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(by_standby[0] > 0 && by_standby[1] == 0, "{by_standby:?}");
    // Nobody writes any more, and the standby has got everything.
    setup.until_standby_serves(true).await;
    assert!(setup.db.reader().status().counters.ended.too_far_behind > 0);
}

/// P31: a standby that applies everything late is not used while somebody writes, and is when all of it has been applied.
#[actix_web::test]
async fn a_standby_that_applies_everything_late_is_used_when_nobody_writes() {
    let Some(setup) = Setup::start(Some(Duration::from_millis(400))).await else { return };
    setup.tell_standby("ALTER SYSTEM SET recovery_min_apply_delay = '1500ms'").await;
    setup.cluster.standby(0).reload().expect("reloaded");
    let begun = Instant::now();
    let mut served = 0;
    while begun.elapsed() < Duration::from_millis(2500) {
        setup.db.execute(WRITE, &[]).await.expect("written");
        served += i32::from(setup.standby_serves().await && begun.elapsed() > Duration::from_millis(500));
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(served, 0);
    setup.until_standby_serves(true).await;
}

/// P31: the bound holds where only the handle of the reader is kept.
#[actix_web::test]
async fn the_bound_holds_without_the_handle_of_the_writer() {
    let Some(Setup { db, database, cluster }) = Setup::start(Some(Duration::from_millis(400))).await else {
        return;
    };
    let tell_standby = async |sql: &str| {
        let dsn = cluster.standby(0).dsn();
        let config = Config { pool_min_size: 0, ..Config::from_dsn(dsn).expect("a DSN") };
        connected(config).await.batch_execute(sql).await.expect("done");
    };
    let dsn = format!("{}?target_session_attrs=read-write", cluster.dsn_of(&database));
    let writer = connected(Config { pool_min_size: 0, ..Config::from_dsn(&dsn).expect("a DSN") }).await;
    let reader = db.reader();
    drop(db);
    let is_standby = async || reader.query_one_scalar::<bool>(IS_STANDBY, &[]).await.unwrap_or(false);
    eventually("the standby serves", is_standby).await;
    tell_standby("ALTER SYSTEM SET recovery_min_apply_delay = '1h'").await;
    cluster.standby(0).reload().expect("reloaded");
    eventually("the standby is too far behind", async || {
        writer.execute(WRITE, &[]).await.expect("written");
        !is_standby().await
    })
    .await;
    let id: i64 = writer.query_one_scalar(WRITE, &[]).await.expect("written");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(reader.query_one_scalar::<i64>(LATEST, &[]).await.expect("an answer"), id);
}

/// P31: a standby that has lost its primary has applied everything that it has got, and is behind all the same.
#[actix_web::test]
async fn a_standby_that_hears_nothing_of_its_primary_is_not_used() {
    let Some(setup) = Setup::start(Some(Duration::from_millis(400))).await else { return };
    setup.until_standby_serves(true).await;
    setup.tell_standby("ALTER SYSTEM SET primary_conninfo = ''").await;
    setup.cluster.standby(0).reload().expect("reloaded");
    eventually("the standby is alone", async || {
        setup.db.execute(WRITE, &[]).await.expect("written");
        !setup.standby_serves().await
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    assert!(!setup.standby_serves().await, "though nobody writes");
}

/// P31: reads outlive the primary, and the first write after its restart is read.
#[actix_web::test]
async fn a_standby_serves_while_the_primary_is_down() {
    let Some(setup) = Setup::start(Some(Duration::from_millis(400))).await else { return };
    setup.until_standby_serves(true).await;
    setup.cluster.primary().stop().expect("stopped");
    for _ in 0..50 {
        assert!(setup.db.reader().query_one_scalar::<bool>(IS_STANDBY, &[]).await.expect("an answer"));
        sleep(Duration::from_millis(20)).await;
    }
    assert!(setup.db.execute(WRITE, &[]).await.is_err());
    let port = setup.cluster.primary().port().to_string();
    let lines = log::ours_with(&["WARN", "cannot ask the primary", r#"database="reader""#, &port]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    setup.cluster.primary().start_again().expect("started");
    eventually("writes are back", async || setup.db.execute(WRITE, &[]).await.is_ok()).await;
    eventually("the standby has it", async || {
        let read: Result<(bool, i64)> =
            setup.db.reader().query_one_as("SELECT pg_is_in_recovery(), max(id) FROM runs", &[]).await;
        read.is_ok_and(|(is_standby, id)| is_standby && id > 0)
    })
    .await;
}

/// P21: both pools are closed, and the connection that asks the primary how far it is.
#[actix_web::test]
async fn a_close_ends_the_sessions_at_both_servers() {
    let Some(setup) = Setup::start(Some(Duration::from_millis(400))).await else { return };
    setup.until_standby_serves(true).await;
    let dsns = [setup.cluster.primary().dsn(), setup.cluster.standby(0).dsn()];
    // The writer's session, and the one that asks.
    assert_eq!(setup.sessions_at(dsns[0]).await, 2);
    assert!(setup.sessions_at(dsns[1]).await >= 1);
    let begun = Instant::now();
    setup.db.close().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    for dsn in dsns {
        assert_eq!(setup.sessions_at(dsn).await, 0);
    }
    assert!(setup.db.reader().query("SELECT 1", &[]).await.is_err());
}
