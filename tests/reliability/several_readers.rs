//! Two databases of one application, each with standbys: what a client has written to one says nothing of the other.

use actix_pg::{Config, Connection, ReadConnection, ReadYourWrites, Result};
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::{App, Error, test, web};

use crate::standbys::{Setup, WRITE, read, write};

/// The other database.
enum Reports {}

const PAUSE: &str = "SELECT pg_wal_replay_pause()";

fn by_position(config: Config) -> Config {
    Config {
        read_your_writes: ReadYourWrites::Position,
        read_your_writes_key: "a key of thirty-two characters, or more".into(),
        ..config
    }
}

async fn write_reports(conn: Connection<Reports>) -> Result<String> {
    Ok(conn.query_one_scalar::<i64>(WRITE, &[]).await?.to_string())
}

async fn write_both(conn: Connection, reports: Connection<Reports>) -> Result<String> {
    Ok(format!("{} {}", write(conn).await?, write_reports(reports).await?))
}

async fn read_reports(conn: ReadConnection<Reports>) -> Result<String> {
    let (is_standby, id): (bool, i64) =
        conn.query_one_as("SELECT pg_is_in_recovery(), max(id) FROM runs", &[]).await?;
    Ok(format!("{is_standby} {id}"))
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/read", web::get().to(read))
        .route("/write", web::get().to(write))
        .route("/reports/read", web::get().to(read_reports))
        .route("/reports/write", web::get().to(write_reports))
        .route("/write_both", web::get().to(write_both));
}

/// The answer, and the cookies that are set.
async fn ask<B: MessageBody>(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    path: &str,
    cookies: &[String],
) -> (String, Vec<String>) {
    let req = test::TestRequest::with_uri(path).insert_header(("cookie", cookies.join("; ")));
    let res = test::call_service(app, req.to_request()).await;
    assert!(res.status().is_success(), "{path}: {}", res.status());
    let set = res.headers().get_all("set-cookie").map(|cookie| cookie.to_str().expect("text"));
    let set = set.map(|cookie| cookie.split_once(';').expect("attributes").0.to_owned()).collect();
    (String::from_utf8(test::read_body(res).await.to_vec()).expect("text"), set)
}

async fn two(
    main: impl FnOnce(Config) -> Config,
    reports: impl FnOnce(Config) -> Config,
) -> Option<(Setup, Setup)> {
    Some((Setup::with(1, main).await?, Setup::with(1, reports).await?))
}

/// P31: each database has a cookie of its own, which governs the reads of that one alone.
#[actix_web::test]
async fn what_was_written_to_one_database_says_nothing_of_the_other() {
    let Some((main, reports)) = two(by_position, by_position).await else { return };
    let named = reports.db.named::<Reports>();
    let app = App::new().wrap(main.db.middleware()).wrap(named.middleware()).configure(routes);
    let app = test::init_service(app).await;
    for setup in [&main, &reports] {
        setup.tell_standby(PAUSE).await;
    }
    let (_, of_main) = ask(&app, "/write", &[]).await;
    assert_eq!(ask(&app, "/read", &of_main).await.0, "false 1");
    assert_eq!(ask(&app, "/reports/read", &of_main).await.0, "true 0");
    let (_, of_reports) = ask(&app, "/reports/write", &[]).await;
    assert_eq!(ask(&app, "/read", &of_reports).await.0, "true 0");
    assert_eq!(ask(&app, "/reports/read", &of_reports).await.0, "false 1");

    // A client that has written to both has two cookies.
    let (_, of_both) = ask(&app, "/write_both", &[]).await;
    let mut names: Vec<_> = of_both.iter().map(|cookie| cookie.split_once('=').expect("a value").0).collect();
    names.sort_unstable();
    assert_eq!(names, ["actix_pg_position", "actix_pg_position.reliability.several_readers.Reports"]);
    assert_eq!(ask(&app, "/read", &of_both).await.0, "false 2");
    assert_eq!(ask(&app, "/reports/read", &of_both).await.0, "false 2");
}

/// P31: so does the window, and a database without the option is read as if there were no cookie.
#[actix_web::test]
async fn a_window_of_one_database_is_not_one_of_the_other() {
    let window = |config| Config { read_your_writes: "60s".parse().expect("a window"), ..config };
    let Some((main, reports)) = two(|config| config, window).await else { return };
    let named = reports.db.named::<Reports>();
    let app = App::new().wrap(main.db.middleware()).wrap(named.middleware()).configure(routes);
    let app = test::init_service(app).await;
    for setup in [&main, &reports] {
        setup.tell_standby(PAUSE).await;
    }
    let (_, cookies) = ask(&app, "/write_both", &[]).await;
    assert_eq!(cookies, ["actix_pg_wrote.reliability.several_readers.Reports=1"]);
    assert_eq!(ask(&app, "/read", &cookies).await.0, "true 0");
    assert_eq!(ask(&app, "/reports/read", &cookies).await.0, "false 1");
}
