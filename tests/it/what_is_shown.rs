//! What an operator reads of a failure: all that helps, no data of a client, and nothing that a client could have forged.

use std::error::Error;

use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::tokio_postgres::types::private::BytesMut;
use actix_pg::tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use actix_pg::{Config, Connection, Database, Echo, RequestTransaction, Result};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{ResponseError, web};
use futures_util::{SinkExt as _, TryStreamExt as _};
use test_support::{TestApp, connect, connected, database, log, sized};

/// What ends a line, clears a terminal, or turns text around.
const BREAKS: [&str; 9] =
    ["\n", "\r", "\r\n", "\x1b[2K", "\u{85}", "\u{2028}", "\u{2029}", "\u{202e}", "\u{2066}"];

/// Everything that can be made of an error without asking for the driver's.
fn all_of(err: &actix_pg::Error) -> String {
    let mut text = format!("{err} | {err:#} | {err:?} | {err:#?}");
    let mut source = err.source();
    while let Some(cause) = source {
        text += &format!(" | {cause} | {cause:#} | {cause:?} | {cause:#?}");
        source = cause.source();
    }
    text
}

/// P22: whatever a client sends ends up on one line, and cannot look like another.
#[actix_web::test]
async fn no_line_of_the_log_is_forged() {
    let (_database, db) = connect(1).await;
    let sql = "CREATE TABLE forged_key_4712 (name text PRIMARY KEY); \
               CREATE FUNCTION pg_temp_raise(said text) RETURNS void LANGUAGE plpgsql AS \
               $$ BEGIN RAISE EXCEPTION '%', said; END $$; \
               CREATE FUNCTION notices(said text) RETURNS void LANGUAGE plpgsql AS \
               $$ BEGIN RAISE NOTICE '%', said; RAISE WARNING '%', said; END $$";
    db.connection().batch_execute(sql).await.expect("a table and functions");
    for (number, hostile) in BREAKS.iter().enumerate() {
        let token = format!("forged-{number}-4712");
        let value = format!("{token}{hostile}2026-01-01 ERROR {token}");
        let conn = db.connection();
        let mut failed = Vec::new();
        failed.push(conn.execute("SELECT pg_temp_raise($1)", &[&value]).await.expect_err("an exception"));
        conn.execute("INSERT INTO forged_key_4712 VALUES ($1)", &[&value]).await.expect("a row");
        failed.push(
            conn.execute("INSERT INTO forged_key_4712 VALUES ($1)", &[&value])
                .await
                .expect_err("a duplicate"),
        );
        failed.push(conn.execute(&format!("SELECT \"{value}\""), &[]).await.expect_err("no column"));
        failed.push(conn.set_config(&value, "x").expect_err("no name"));
        conn.execute("SELECT notices($1)", &[&value]).await.expect("two notices");
        conn.set_config("application_name.x", &value).expect("a setting");
        conn.set_config("work_mem", &value).expect("what looks like a setting");
        failed.push(conn.execute("SELECT 1", &[]).await.expect_err("a setting that is refused"));
        for err in &failed {
            drop(err.error_response());
            assert!(!all_of(err).contains(hostile), "{hostile:?}: {err:?}");
        }
    }
    let mut lines = log::ours_with(&["4712"]);
    lines.extend(log::ours_with(&["work_mem"]));
    assert!(lines.len() >= BREAKS.len() * 5, "{lines:#?}");
    for line in lines {
        assert!(!BREAKS.iter().any(|hostile| line.contains(hostile)), "{line:?}");
    }
    let notices = log::lines_with(&["forged-", "4712", "INFO"]);
    assert_eq!(notices.len(), BREAKS.len() * 2, "{notices:#?}");
    assert!(notices.iter().all(|line| line.contains(" actix_pg::notice ")), "{notices:#?}");
}

/// P22: the data of rows stands in no text of an error.
#[actix_web::test]
async fn row_data_is_not_shown() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let sql = "CREATE TABLE people_4713 (id int GENERATED ALWAYS AS IDENTITY, email text UNIQUE, phone text NOT NULL); \
               INSERT INTO people_4713 (email, phone) VALUES ('ada@secret.example', '555')";
    conn.batch_execute(sql).await.expect("a table");
    let secret = "ada@secret.example";
    let (taken, null, number) = (
        conn.execute("INSERT INTO people_4713 (email, phone) VALUES ($1, '5')", &[&secret])
            .await
            .expect_err("unique"),
        conn.execute("INSERT INTO people_4713 (email) VALUES ($1)", &[&"eve@secret.example"])
            .await
            .expect_err("no null"),
        conn.query("SELECT $1::text::int", &[&secret]).await.expect_err("no number"),
    );
    let literal = conn.batch_execute("SELECT 'ada@secret.example' 'x'").await.expect_err("a syntax error");
    let open = conn.batch_execute("SELECT 1 + 'ada@secret.example").await.expect_err("an open quote");
    let setting = {
        let other = db.connection();
        conn.release().expect("nothing runs");
        other.set_config("work_mem", secret).expect("recorded");
        other.query("SELECT 1", &[]).await.expect_err("no amount of memory")
    };
    for err in [&taken, &null, &number, &literal, &open, &setting] {
        assert!(!all_of(err).contains("secret.example"), "{}", all_of(err));
        drop(err.error_response());
    }
    let shown: Vec<_> = log::lines_with(&["secret.example"]);
    assert!(shown.iter().all(|line| line.starts_with("DEBUG tokio_postgres::")), "{shown:#?}");
    // Who asks for it gets it.
    assert!(taken.as_db_error().and_then(|said| said.detail()).is_some_and(|detail| detail.contains(secret)));
    assert_eq!(
        format!("{number:#}"),
        "the statement failed: ERROR: invalid input syntax for type integer: … (SQLSTATE 22P02)"
    );
}

/// P22: nor where the server shows a value without quotes, or reads it as SQL, a type or a path.
#[actix_web::test]
async fn a_value_is_not_shown_in_other_forms() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    for (sql, value, shown) in [
        ("SELECT make_date($1::text::int, 13, 45)::text", "1987", "date field value out of range: …"),
        ("SELECT convert_from(convert_to($1, 'LATIN1'), 'UTF8')", "sécret", "encoding …: … … …"),
        ("SELECT get_bit('a'::bytea, $1::text::bigint)::text", "98765", "index … out of valid range"),
        ("SELECT $1::text::jsonpath::text", "$.a secret .b", "… of jsonpath input"),
        ("SELECT ts_stat($1::text)::text", "secret", "syntax error at or near …"),
        (
            "SELECT to_regclass($1::text)::text",
            "secret.a.b.c",
            "improper relation name (too many dotted names): …",
        ),
    ] {
        let err = conn.query(sql, &[&value]).await.expect_err(sql);
        let text = format!("{err:#}");
        assert!(text.contains(shown), "{text}");
        assert!(!all_of(&err).contains("secret") && !all_of(&err).contains(value), "{text}");
    }
}

/// A value that cannot be converted, and whose type says so in words of its own.
#[derive(Debug)]
struct Unconvertible;

const SECRET: &str = "secret-4717";

impl ToSql for Unconvertible {
    fn to_sql(
        &self,
        _: &Type,
        _: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        Err(std::io::Error::other(SECRET).into())
    }

    accepts!(TEXT);
    to_sql_checked!();
}

impl FromSql<'_> for Unconvertible {
    fn from_sql(_: &Type, _: &[u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Err(SECRET.into())
    }

    accepts!(TEXT);
}

/// P22: nor is what a conversion has to say about a value, but for its types.
#[actix_web::test]
async fn a_conversion_tells_types_and_no_values() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    for (err, text) in [
        (
            conn.query("SELECT $1::text", &[&Unconvertible]).await.map(drop).expect_err("no text"),
            "the statement failed: error serializing parameter 0: …",
        ),
        (
            conn.query_one_scalar::<Unconvertible>("SELECT 'x'", &[])
                .await
                .map(drop)
                .expect_err("not from text"),
            "the statement failed: error deserializing column 0: …",
        ),
        (
            conn.query_one_scalar::<i32>("SELECT 'x'", &[]).await.map(drop).expect_err("no number"),
            "the statement failed: error deserializing column 0: \
             cannot convert between the Rust type `i32` and the Postgres type `text`",
        ),
        (
            conn.query_one_scalar::<i32>("SELECT NULL::int", &[]).await.map(drop).expect_err("null"),
            "the statement failed: error deserializing column 0: a Postgres value was `NULL`",
        ),
    ] {
        assert_eq!(format!("{err:#}"), text);
        assert!(!all_of(&err).contains(SECRET), "{}", all_of(&err));
    }
}

/// P22: an operator finds the statement, and what it broke.
#[actix_web::test]
async fn the_line_of_a_failed_statement_names_it() {
    let (_database, db) = connect(1).await;
    let sql = "CREATE TABLE orders_4714 (id int PRIMARY KEY, item text NOT NULL)";
    db.connection().batch_execute(sql).await.expect("a table");
    let app = TestApp::start(&db, |config| {
        let unique = async |conn: Connection| -> Result<&'static str> {
            let sql = "INSERT INTO orders_4714 (id, item)\n  VALUES (47140, 'apple'), (47140, $1) -- twice";
            conn.execute(sql, &[&"pear"]).await?;
            Ok("never")
        };
        let streamed = async |conn: Connection| -> Result<String> {
            let rows = conn
                .query_raw("SELECT 1 / (g - 2) AS streamed_4714 FROM generate_series(1, 3) AS g", &[])
                .await?;
            Ok(rows.try_collect::<Vec<_>>().await?.len().to_string())
        };
        config.route("/unique", web::get().to(unique)).route("/streamed", web::get().to(streamed));
    });
    assert_eq!(app.get("/unique").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let lines = log::lines_with(&["ERROR", "orders_4714"]);
    assert_eq!(lines.len(), 1, "one failure is one line: {lines:#?}");
    for part in [
        "ERROR actix_pg::request request failed",
        "error=the statement failed: ERROR: duplicate key value violates unique constraint \"orders_4714_pkey\" (SQLSTATE 23505)",
        "severity=ERROR",
        "code=23505",
        "constraint=orders_4714_pkey",
        "table=orders_4714",
        "sql=INSERT INTO orders_4714 (id, item) VALUES (?, ?), (?, $1)",
    ] {
        assert!(lines[0].contains(part), "{part}: {lines:#?}");
    }
    assert!(
        !lines[0].contains("47140") && !lines[0].contains("apple") && !lines[0].contains("twice"),
        "{lines:#?}"
    );

    app.get("/streamed").await;
    let lines = log::ours_with(&[
        "ERROR",
        "sql=SELECT ? / (g - ?) AS streamed_4714 FROM generate_series(?, ?) AS g",
        "division by zero",
    ]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    app.stop().await;
}

/// `echo` shows the statements that fail, and with `true` the values too.
#[actix_web::test]
async fn echo_shows_what_fails() {
    let database = database().await;
    for (echo, shows_values) in [(Echo::Full, true), (Echo::Statements, false), (Echo::Off, false)] {
        let config = Config { echo, ..sized(database.config(), 1) };
        let db = connected(config).await;
        let label = format!("echo_{echo:?}_4715");
        let value = format!("{label}@mail");
        let sql = format!("SELECT $1::text::int AS {label}");
        let err = db.connection().query(&sql, &[&value]).await.expect_err("no number");
        assert_eq!(format!("{err:#}").contains(&value), shows_values, "{err:#}");
        let rows = db
            .connection()
            .query_raw(&format!("SELECT 1 / (g - 2) AS raw_{label} FROM generate_series(1, 3) AS g"), &[])
            .await
            .expect("rows");
        assert!(rows.try_collect::<Vec<_>>().await.is_err());
        let lines = log::ours_with(&["INFO", "statement failed", &format!("raw_{label}"), "22012"]);
        assert_eq!(lines.len(), usize::from(echo != Echo::Off), "{lines:#?}");
        let one = format!("SELECT 1 / 0 AS one_{label}");
        db.connection().query_one(&one, &[]).await.expect_err("no number");
        let lines = log::ours_with(&["INFO", "statement failed", &one, "22012"]);
        assert_eq!(lines.len(), usize::from(echo != Echo::Off), "{lines:#?}");
        let into = format!("COPY copied_{label} FROM STDIN");
        db.connection()
            .batch_execute(&format!("CREATE TABLE copied_{label} (id int)"))
            .await
            .expect("a table");
        let mut copy = db.connection().copy_in(&into).await.expect("a copy");
        copy.send("x\n".into()).await.expect("a piece");
        let err = copy.finish().await.expect_err("no number");
        assert!(err.postgres().is_some_and(|said| said.sql() == Some(&*into)), "{err:#}");
        let lines = log::ours_with(&["INFO", "statement failed", &into, "22P02"]);
        assert_eq!(lines.len(), usize::from(echo != Echo::Off), "{lines:#?}");
        let lines = log::ours_with(&["INFO", "statement failed", &sql, "22P02"]);
        assert_eq!(lines.len(), usize::from(echo != Echo::Off), "{lines:#?}");
        assert!(lines.iter().all(|line| line.contains(&value) == shows_values), "{lines:#?}");
    }
}

/// Two transactions that were in each other's way are worth another attempt, wherever the server notices.
#[actix_web::test]
async fn a_serialization_failure_is_a_503_wherever_it_occurs() {
    let (_database, db) = connect(1).await;
    let sql = "CREATE TABLE late (id int); CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$; \
               CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED \
               FOR EACH ROW EXECUTE FUNCTION lose()";
    let conn = db.connection();
    conn.batch_execute(sql).await.expect("a table");
    let raise = |code: &str| format!("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '{code}'; END $$");
    for (code, status) in [("40001", 503), ("40P01", 503), ("40002", 500), ("23505", 500)] {
        let err = conn.batch_execute(&raise(code)).await.expect_err("an exception");
        assert_eq!(err.status_code(), status, "{err:#}");
        assert_eq!(err.error_response().headers().contains_key(RETRY_AFTER), status == 503);
    }
    let tx = conn.transaction().await.expect("a transaction");
    tx.execute("INSERT INTO late VALUES (1)", &[]).await.expect("a row");
    let err = tx.commit().await.expect_err("refused");
    assert!(matches!(err, actix_pg::Error::CommitRefused(_)), "{err:#}");
    assert_eq!(err.status_code(), 503);
    let unknown = actix_pg::Error::OutcomeUnknown(Box::new(err));
    assert_eq!(unknown.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(unknown.status_code(), 500);
}

/// `Debug` is for a glance: no pool, no settings.
#[actix_web::test]
async fn debug_is_short_and_shows_no_setting() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.set_config("app.tenant", "tenant-4716").expect("a setting");
    let mut shown = vec![format!("{conn:?} {db:?} {:?}", db.middleware())];
    conn.execute("SELECT 1", &[]).await.expect("a statement");
    shown.push(format!("{conn:?} {db:?} {:?} {:?}", db.middleware(), conn.build_transaction()));
    {
        let client = conn.client().await.expect("a client");
        shown.push(format!("{client:?} {conn:?}"));
    }
    {
        let tx = conn.transaction().await.expect("a transaction");
        shown.push(format!("{tx:?} {conn:?}"));
        let rows = tx.query_raw("SELECT 1", &[]).await.expect("rows");
        shown.push(format!("{rows:?}"));
    }
    for shown in shown {
        assert!(!shown.contains("tenant-4716"), "{shown}");
        assert!(shown.len() < 400, "{} characters: {shown}", shown.len());
    }
}

/// What leaves `main` is printed with `{:?}`: the sentence, not a struct.
#[actix_web::test]
async fn what_leaves_main_is_a_sentence() {
    let failed = async |config: Config| -> std::result::Result<(), Box<dyn Error>> {
        Database::connect(config).await?;
        Ok(())
    };
    let wrong = Config { dsn: Some("mysql://db".into()), ..Config::default() };
    let sentence =
        "the configuration cannot be applied: option `dsn` must begin with postgres:// or postgresql://";
    assert_eq!(format!("{:?}", failed(wrong).await.expect_err("no such scheme")), sentence);

    let nobody = Config { host: "127.0.0.1".into(), port: 1, ..sized(Config::default(), 1) };
    let sentence =
        "the database cannot be reached: cannot connect to 127.0.0.1:1: Connection refused (os error 111)";
    assert_eq!(format!("{:?}", failed(nobody).await.expect_err("nobody listens")), sentence);

    let nowhere = Config { host: "no-such-host.invalid".into(), ..sized(Config::default(), 1) };
    let begin =
        "the database cannot be reached: cannot connect to no-such-host.invalid: failed to lookup address";
    let shown = format!("{:?}", failed(nowhere).await.expect_err("no such host"));
    assert!(shown.starts_with(begin), "{shown}");

    let err = Config::from_dsn("postgres://db?sslmode=off").expect_err("no such mode");
    assert_eq!(format!("{err:?}"), err.to_string());
}

/// An application that starts and stops on its own machine gives an operator nothing to look at.
#[actix_web::test]
async fn a_clean_start_and_stop_warn_of_nothing() {
    let database = database().await;
    let config = Config { pool_min_size: 2, ..sized(database.config(), 2) };
    let db = connected(config).await;
    let app = TestApp::start(&db, |config| {
        config.route(
            "/",
            web::get().to(async |tx: RequestTransaction| -> Result<String> {
                tx.query_one_scalar("SELECT current_user::text", &[]).await
            }),
        );
    });
    app.get("/").await.ok();
    app.stop().await;
    db.close().await;
    let thread = format!("[{}]", std::thread::current().name().expect("a test's name"));
    let lines = log::ours_with(&[&thread]);
    assert!(lines.iter().any(|line| line.contains("the database is closed")), "{lines:#?}");
    let alarms: Vec<_> =
        lines.iter().filter(|line| !line.starts_with("INFO") && !line.starts_with("DEBUG")).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}
