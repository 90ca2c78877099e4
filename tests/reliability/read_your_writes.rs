//! A client reads what it has written in an earlier request, on a standby that has it or on the primary.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use actix_pg::{Config, Connection, Database, ReadConnection, ReadYourWrites, RequestTransaction, Result};
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::{App, Error, HttpResponse, test, web};
use test_support::{Proxy, all_returned, connected, database, eventually};
use tokio::time::sleep;

use crate::standbys::{Setup, WRITE, read, write};

const PAUSE: &str = "SELECT pg_wal_replay_pause()";
const RESUME: &str = "SELECT pg_wal_replay_resume()";

async fn start(standbys: usize) -> Option<Setup> {
    Setup::with(standbys, by_position).await
}

fn by_position(config: Config) -> Config {
    Config {
        read_your_writes: ReadYourWrites::Position,
        read_your_writes_key: "a key of thirty-two characters, or more".into(),
        ..config
    }
}

/// What a client gets: the answer, and the cookie if one is set.
#[derive(Debug)]
struct Answer {
    body: String,
    cookie: Option<String>,
}

impl Answer {
    fn cookie(self) -> String {
        self.cookie.expect("a cookie")
    }
}

/// Asks an application as a client that sends this cookie.
async fn ask<B: MessageBody>(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    path: &str,
    cookie: Option<&str>,
) -> Answer {
    let mut req = test::TestRequest::with_uri(path);
    if let Some(cookie) = cookie {
        req = req.insert_header(("cookie", cookie));
    }
    let res = test::call_service(app, req.to_request()).await;
    assert!(res.status().is_success(), "{path}: {}", res.status());
    let set = res.headers().get("set-cookie").map(|cookie| cookie.to_str().expect("text").to_owned());
    let cookie = set.map(|cookie| {
        let (own, attributes) = cookie.split_once(';').expect("attributes");
        assert_eq!(attributes, " Max-Age=600; Path=/; HttpOnly; SameSite=Lax");
        own.to_owned()
    });
    Answer { body: String::from_utf8(test::read_body(res).await.to_vec()).expect("text"), cookie }
}

async fn write_in_a_transaction(tx: RequestTransaction) -> Result<String> {
    Ok(tx.query_one_scalar::<i64>(WRITE, &[]).await?.to_string())
}

async fn write_and_release(conn: Connection) -> Result<String> {
    let id = write(conn.clone()).await?;
    conn.release()?;
    Ok(id)
}

/// As somebody who may do nothing but this, and finds nothing without its schema.
async fn write_as_nobody(conn: Connection) -> Result<String> {
    conn.set_config("role", "nobody")?;
    conn.set_config("search_path", "")?;
    let sql = "INSERT INTO public.runs SELECT max(id) + 1 FROM public.runs RETURNING id";
    Ok(conn.query_one_scalar::<i64>(sql, &[]).await?.to_string())
}

async fn write_and_keep_all_sessions(conn: Connection, db: web::Data<Database>) -> Result<HttpResponse> {
    let id = write_and_release(conn).await?;
    let sessions = (db.session().await?, db.session().await?);
    // They go back after the response has been made.
    let body = futures_util::stream::once(async move {
        drop(sessions);
        Ok::<_, Error>(web::Bytes::from(id))
    });
    Ok(HttpResponse::Ok().streaming(body))
}

async fn write_and_lose_the_session(conn: Connection) -> Result<String> {
    let id = write(conn.clone()).await?;
    let _ = conn.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await;
    Ok(id)
}

/// A task that outlives the response goes on with the transaction, and commits it.
async fn write_later(conn: Connection, done: web::Data<Committed>) -> Result<&'static str> {
    let tx = conn.transaction().await?;
    let done = done.clone();
    actix_web::rt::spawn(async move {
        let written = async {
            tx.execute("INSERT INTO runs SELECT 1000 FROM pg_sleep(1.3)", &[]).await?;
            tx.commit().await
        };
        let ended = written.await;
        *done.0.lock().expect("no panic") = Some(ended);
    });
    Ok("")
}

#[derive(Default)]
struct Committed(Mutex<Option<Result<()>>>);

async fn nothing(_conn: Connection, _read: ReadConnection) -> &'static str {
    ""
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/read", web::get().to(read))
        .route("/write", web::get().to(write))
        .route("/transaction", web::get().to(write_in_a_transaction))
        .route("/release", web::get().to(write_and_release))
        .route("/nobody", web::get().to(write_as_nobody))
        .route("/all", web::get().to(write_and_keep_all_sessions))
        .route("/lose", web::get().to(write_and_lose_the_session))
        .route("/later", web::get().to(write_later))
        .route("/nothing", web::get().to(nothing));
}

/// P31: by position, a client reads on a standby that has what it has written, and on the primary until one has.
#[actix_web::test]
async fn a_client_reads_what_it_wrote_on_whichever_server_has_it() {
    let Some(setup) = start(1).await else { return };
    let nobody = "CREATE ROLE nobody; GRANT SELECT, INSERT ON runs TO nobody";
    setup.db.batch_execute(nobody).await.expect("a role");
    setup.cluster.caught_up(0).expect("a standby");
    let app = test::init_service(App::new().wrap(setup.db.middleware()).configure(routes)).await;
    let mut id = 0;
    for path in ["/write", "/transaction", "/release", "/nobody"] {
        setup.tell_standby(PAUSE).await;
        let written = ask(&app, path, None).await;
        assert_eq!(written.body, (id + 1).to_string());
        let cookie = written.cookie();
        let others = format!("name=José; {cookie}; actix_pg_wrote=1");
        for cookie in [&cookie, &others] {
            for _ in 0..3 {
                let seen = ask(&app, "/read", Some(cookie)).await;
                assert_eq!((&*seen.body, seen.cookie), (&*format!("false {}", id + 1), None), "{path}");
            }
        }
        // Others are not held up by it.
        assert_eq!(ask(&app, "/read", None).await.body, format!("true {id}"), "{path}");
        setup.tell_standby(RESUME).await;
        id += 1;
        let seen = format!("true {id}");
        let reads = async || ask(&app, "/read", Some(&cookie)).await.body == seen;
        eventually("the standby serves the client again", reads).await;
    }
    for path in ["/nothing", "/read"] {
        assert!(ask(&app, path, None).await.cookie.is_none(), "{path}");
    }
}

/// P31: where the position cannot be asked for, the client reads on the primary.
#[actix_web::test]
async fn a_client_of_whom_nobody_knows_how_far_it_wrote_reads_on_the_primary() {
    let Some(setup) = start(1).await else { return };
    let app = App::new().app_data(web::Data::new(setup.db.clone())).wrap(setup.db.middleware());
    let app = test::init_service(app.configure(routes)).await;
    for (path, id) in [("/all", 1), ("/lose", 2)] {
        let written = ask(&app, path, None).await;
        assert_eq!(written.body, id.to_string());
        setup.cluster.caught_up(0).expect("a standby");
        let cookie = written.cookie();
        assert_eq!(ask(&app, "/read", Some(&cookie)).await.body, format!("false {id}"), "{path}");
        assert_eq!(ask(&app, "/read", None).await.body, format!("true {id}"), "{path}");
    }
}

/// P31: what a client sends that the application has not signed changes nothing.
#[actix_web::test]
async fn a_position_that_was_not_signed_does_not_count() {
    let Some(setup) = start(1).await else { return };
    let app = test::init_service(App::new().wrap(setup.db.middleware()).configure(routes)).await;
    setup.tell_standby(PAUSE).await;
    let cookie = ask(&app, "/write", None).await.cookie();
    let (name, signed) = cookie.split_once('=').expect("a value");
    let last = if signed.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &signed[..signed.len() - 1]);
    let huge = "f".repeat(60_000);
    let many = format!("{name}=1; ").repeat(1_000);
    let mut all: Vec<String> = ["", "1", "%00", &forged, &signed[1..], &huge]
        .iter()
        .map(|value| format!("{name}={value}"))
        .collect();
    all.extend([name.to_owned(), format!("x{cookie}"), many.clone()]);
    for forged in all {
        assert_eq!(ask(&app, "/read", Some(&forged)).await.body, "true 0", "{:.100}", forged);
    }
    // Those of somebody else do not hide it, however many.
    for others in [format!("{name}={forged}; "), many, format!("{name}={forged}; ").repeat(100)] {
        assert_eq!(ask(&app, "/read", Some(&format!("{others}{cookie}"))).await.body, "false 1");
    }
    // Another application's key.
    let others = Config { read_your_writes_key: "k".repeat(32), ..by_position(setup.config()) };
    let others = connected(others).await;
    let app = test::init_service(App::new().wrap(others.middleware()).configure(routes)).await;
    assert_eq!(ask(&app, "/read", Some(&cookie)).await.body, "true 0");
    others.close().await;
}

/// P31: no client misses what it wrote, though the standby applies everything late.
#[actix_web::test]
async fn no_client_misses_what_it_wrote_on_a_standby_that_is_late() {
    let Some(setup) = start(1).await else { return };
    setup.tell_standby("ALTER SYSTEM SET recovery_min_apply_delay = '300ms'").await;
    setup.cluster.standby(0).reload().expect("reloaded");
    let app = test::init_service(App::new().wrap(setup.db.middleware()).configure(routes)).await;
    let (mut by_primary, mut by_standby) = (0, 0);
    // What is late is the commit alone: all before it is applied at once.
    for path in ["/write", "/transaction", "/release", "/write", "/transaction", "/release"] {
        let written = ask(&app, path, None).await;
        let id: i64 = written.body.parse().expect("a number");
        let cookie = written.cookie();
        for _ in 0..8 {
            let seen = ask(&app, "/read", Some(&cookie)).await.body;
            let (is_standby, seen) = seen.split_once(' ').expect("two words");
            assert_eq!(seen.parse::<i64>().expect("a number"), id, "{path}");
            *if is_standby == "true" { &mut by_standby } else { &mut by_primary } += 1;
            sleep(Duration::from_millis(60)).await;
        }
    }
    assert!(by_primary > 0 && by_standby > 0, "{by_primary} by the primary, {by_standby} by the standby");
}

/// P31: after a failover, a standby that has not followed is further than the new primary, and lacks what was written there.
#[actix_web::test]
async fn a_standby_on_the_timeline_that_was_left_serves_no_client_that_wrote_on_the_new_one() {
    let Some(setup) = start(2).await else { return };
    let app = test::init_service(App::new().wrap(setup.db.middleware()).configure(routes)).await;
    // The first standby hears no more of the primary, and is promoted. The second one hears more.
    setup.tell_standby("ALTER SYSTEM SET primary_conninfo = ''").await;
    setup.cluster.standby(0).reload().expect("reloaded");
    eventually("it is alone", async || {
        setup.db.execute(WRITE, &[]).await.expect("written");
        setup.latest_at(setup.cluster.standby(0)).await < setup.latest_at(setup.cluster.primary()).await
    })
    .await;
    let filled = "CREATE TABLE filled AS SELECT n, repeat('x', 100) FROM generate_series(1, 100000) AS n";
    setup.db.batch_execute(filled).await.expect("written");
    let lost = ask(&app, "/write", None).await;
    setup.cluster.caught_up(1).expect("the second standby");
    setup.cluster.primary().crash().expect("crashed");
    setup.cluster.promote(0).expect("promoted");
    // Another process, whose reader knows the second standby alone.
    let second = format!("host=127.0.0.1 port={}", setup.cluster.standby(1).port());
    let db = connected(Config { reader: Some(second), ..by_position(setup.config()) }).await;
    let app = test::init_service(App::new().wrap(db.middleware()).configure(routes)).await;
    let written = ask(&app, "/write", None).await;
    let (id, cookie) = (written.body.clone(), written.cookie());
    for _ in 0..5 {
        assert_eq!(ask(&app, "/read", Some(&cookie)).await.body, format!("false {id}"));
    }
    let (seen, lost_id) = (ask(&app, "/read", None).await.body, &lost.body);
    assert_eq!(seen, format!("true {lost_id}"), "without the cookie, what was lost is still there");
    // One who wrote what was lost may read it where it has been kept.
    assert_eq!(ask(&app, "/read", Some(&lost.cookie())).await.body, seen);
    db.close().await;
}

/// P31: a server that does not say how far it is holds no response up for longer than a second.
#[actix_web::test]
async fn a_server_that_is_silent_at_the_end_of_a_request_delays_it_by_a_second() {
    let database = database().await;
    let (proxy, config) = Proxy::to(&database).await;
    let reader = Some("prefer-standby".into());
    let config = Config { reader, pool_min_size: 1, pool_max_size: 2, ..by_position(config) };
    let db = connected(config).await;
    let proxy = web::Data::new(proxy);
    let handler = async |conn: Connection, proxy: web::Data<Proxy>| -> Result<String> {
        let text = conn.query_one_scalar("SELECT 'written'", &[]).await?;
        proxy.stall();
        Ok(text)
    };
    let app = App::new().app_data(proxy.clone()).wrap(db.middleware()).route("/", web::get().to(handler));
    let app = test::init_service(app).await;
    let begun = Instant::now();
    let answer = ask(&app, "/", None).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    assert!(answer.body == "written" && answer.cookie.is_some());
    proxy.heal();
    all_returned(&db).await;
    db.close().await;
}

/// P31: the option sets a window as the middleware does.
#[actix_web::test]
async fn a_window_may_be_configured() {
    let database = database().await;
    let config = Config {
        reader: Some("prefer-standby".into()),
        read_your_writes: "1500ms".parse().expect("a window"),
        ..database.config()
    };
    let db = connected(config).await;
    let handler = async |conn: Connection| conn.query_one_scalar::<String>("SELECT 'read'", &[]).await;
    let app = App::new().wrap(db.middleware()).route("/", web::get().to(handler));
    let app = test::init_service(app).await;
    let res = test::call_service(&app, test::TestRequest::get().uri("/").to_request()).await;
    let cookie = "actix_pg_wrote=1; Max-Age=2; Path=/; HttpOnly; SameSite=Lax";
    assert_eq!(res.headers().get("set-cookie").expect("a cookie"), cookie);
    db.close().await;
}

/// P31: a standby that is known to have what a client has written is not asked again.
#[actix_web::test]
async fn a_standby_is_asked_once_for_a_position() {
    let Some(setup) = start(1).await else { return };
    let proxy = Proxy::before(setup.cluster.standby(0).port()).await;
    let reader = Some(format!("host=127.0.0.1 port={}", proxy.port()));
    let config = Config { reader, pool_max_size: 1, ..by_position(setup.config()) };
    let db = connected(config).await;
    let app = test::init_service(App::new().wrap(db.middleware()).configure(routes)).await;
    let reads = async |cookie: Option<&str>, id: i64| {
        let before = proxy.round_trips();
        assert_eq!(ask(&app, "/read", cookie).await.body, format!("true {id}"));
        proxy.round_trips() - before
    };
    for id in 1..4 {
        let cookie = ask(&app, "/write", None).await.cookie();
        eventually("it has that", async || ask(&app, "/read", None).await.body == format!("true {id}")).await;
        assert_eq!(reads(None, id).await, 1);
        assert_eq!(reads(Some(&cookie), id).await, 2);
        for _ in 0..5 {
            assert_eq!(reads(Some(&cookie), id).await, 1);
        }
    }
    db.close().await;
}

/// What a task still does on the session of its request is neither waited for nor failed.
#[actix_web::test]
async fn a_transaction_that_outlives_its_request_is_committed() {
    let Some(setup) = start(1).await else { return };
    let committed = web::Data::new(Committed::default());
    let app = App::new().app_data(committed.clone()).wrap(setup.db.middleware()).configure(routes);
    let app = test::init_service(app).await;
    let start = Instant::now();
    let cookie = ask(&app, "/later", None).await.cookie();
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    eventually("the task ends", || async { committed.0.lock().expect("no panic").is_some() }).await;
    let ended = committed.0.lock().expect("no panic").take().expect("an end");
    assert!(ended.is_ok(), "{ended:?}");
    // Nobody knew how far it would write: the primary answers.
    assert_eq!(ask(&app, "/read", Some(&cookie)).await.body, "false 1000");
}
