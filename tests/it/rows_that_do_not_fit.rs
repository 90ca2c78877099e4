//! What does not fit a struct is refused: by name, with both types, and before anything has happened.

use actix_pg::{
    Config, Connection, Database, Echo, Error, FromRow, FromRowError, FromRowErrorKind as Kind, Result,
};
use actix_web::web;
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use test_support::{TestApp, assert_whole, connect, connected, database, log, sized};

#[derive(Debug, PartialEq, FromRow)]
struct User {
    id: i64,
    name: String,
}

/// The error of a query for users.
async fn refused<T: FromRow>(db: &Database, sql: &str) -> FromRowError {
    match db.connection().query_as::<T>(sql, &[]).await.map(|rows| rows.len()) {
        Err(Error::Row(err)) => err,
        other => panic!("{other:?}"),
    }
}

/// A struct that does not fit is found out by the description of the columns: there need be no row.
#[actix_web::test]
async fn an_error_names_the_column_and_both_types() {
    let (_database, db) = connect(1).await;
    for (sql, kind, column, text) in [
        (
            "SELECT 1::bigint AS id, text 'ada' AS first_name WHERE false",
            Kind::MissingColumn,
            "name",
            r#"there is no column "name" for the field `User::name` of the Rust type String; there are "id", "first_name""#,
        ),
        (
            "SELECT 1 AS id, text 'ada' AS name WHERE false",
            Kind::WrongType,
            "id",
            r#"the column "id" is of the PostgreSQL type int4, which the field `User::id` of the Rust type i64 does not take"#,
        ),
        (
            "SELECT 1::bigint AS id, text 'ada' AS name, text 'grace' AS name WHERE false",
            Kind::AmbiguousColumn,
            "name",
            r#"several columns are called "name", and the field `User::name` of the Rust type String takes one; rename the others with AS"#,
        ),
        (
            "SELECT 1::bigint AS id, NULL::text AS name",
            Kind::Null,
            "name",
            r#"the column "name" of the PostgreSQL type text is NULL, which the field `User::name` of the Rust type String does not take; Option<String> does"#,
        ),
        (
            "UPDATE pg_class SET relname = relname WHERE false",
            Kind::MissingColumn,
            "id",
            r#"there is no column "id" for the field `User::id` of the Rust type i64; the statement returns none"#,
        ),
        (
            r#"SELECT 1::bigint AS id, text 'ada' AS "Name" WHERE false"#,
            Kind::MissingColumn,
            "name",
            r#"there is no column "name" for the field `User::name` of the Rust type String; there are "id", "Name""#,
        ),
    ] {
        let err = refused::<User>(&db, sql).await;
        assert_eq!((err.kind(), err.column(), err.to_string().as_str()), (kind, Some(column), text));
        assert_eq!(err.field().map(|field| field.trim_start_matches("User::")), Some(column));
        assert!(err.sql().is_some_and(|sql| !sql.contains("ada")), "{:?}", err.sql());
    }
    // What no field takes may be there twice.
    let twice = "SELECT 1::bigint AS id, text 'ada' AS name, 1 AS other, 2 AS other";
    assert_eq!(db.connection().query_as::<User>(twice, &[]).await.expect("rows").len(), 1);
    let err = refused::<(i64, String)>(&db, "SELECT 1::bigint, text 'ada', 3").await;
    assert_eq!(err.to_string(), "the number of columns is 3, and (i64, String) takes 2");
    assert_eq!((err.kind(), err.column(), err.field()), (Kind::ColumnCount, None, None));
    let err = refused::<(i32,)>(&db, "SELECT NULL::int AS n").await;
    let text = r#"the column "n" of the PostgreSQL type int4 is NULL, which the Rust type i32 does not take; Option<i32> does"#;
    assert_eq!(err.to_string(), text);
}

#[derive(Debug, FromRow)]
#[expect(dead_code, reason = "is never read")]
struct Post {
    #[row(flatten)]
    user: User,
    #[row(prefix = "editor_")]
    editor: Option<User>,
}

#[actix_web::test]
async fn a_nested_column_is_named_with_its_prefix() {
    let (_database, db) = connect(1).await;
    let sql = "SELECT 1::bigint AS id, text 'ada' AS name, 2::bigint AS editor_id";
    let err = refused::<Post>(&db, sql).await;
    assert_eq!(
        (err.kind(), err.column(), err.field()),
        (Kind::MissingColumn, Some("editor_name"), Some("User::name"))
    );
    // Half of the struct is NULL.
    let err = refused::<Post>(&db, &format!("{sql}, NULL::text AS editor_name")).await;
    assert_eq!((err.kind(), err.column()), (Kind::Null, Some("editor_name")));
    let err = refused::<Post>(&db, &format!("{sql}, text 'a' AS editor_name, 3::bigint AS id")).await;
    assert_eq!((err.kind(), err.column()), (Kind::AmbiguousColumn, Some("id")));
}

/// The mistake of a programmer changes nothing in the database, and costs no session and no transaction.
#[actix_web::test]
async fn a_statement_whose_columns_do_not_fit_is_not_sent() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE users (id int, name text)").await.expect("a table");
    let insert = "INSERT INTO users VALUES (1, 'ada') RETURNING *";
    let count = async |conn: &Connection| -> i64 {
        conn.query_one_scalar("SELECT count(*) FROM users", &[]).await.expect("a count")
    };
    let tx = conn.transaction().await.expect("a transaction");
    for cached in [false, true] {
        if cached {
            let savepoint = tx.transaction().await.expect("a savepoint");
            savepoint.execute(insert, &[]).await.expect("a row");
            savepoint.rollback().await.expect("a rollback");
        }
        assert!(matches!(tx.query_as::<User>(insert, &[]).await, Err(Error::Row(_))));
        assert!(matches!(tx.query_one_as::<User>(insert, &[]).await, Err(Error::Row(_))));
        assert!(matches!(tx.query_raw_as::<User>(insert, &[]).await, Err(Error::Row(_))));
        assert_eq!(count(&conn).await, 0);
    }
    tx.execute(insert, &[]).await.expect("the transaction goes on");
    tx.commit().await.expect("a commit");
    assert!(matches!(conn.query_opt_as::<User>(insert, &[]).await, Err(Error::Row(_))));
    assert_eq!(count(&conn).await, 1);
    conn.release().expect("nothing runs");
    assert_whole(&db).await;
    assert_eq!(db.status().counters.opened, 1);
}

#[derive(Debug, FromRow)]
struct Renamed {
    id: i64,
    full_name: String,
}

/// P19: a session may know a statement by columns that it no longer has.
#[actix_web::test]
async fn a_column_that_was_renamed_is_found_by_its_new_name() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let schema = "CREATE TABLE users (id bigint, name text); INSERT INTO users VALUES (1, 'ada')";
    conn.batch_execute(schema).await.expect("a table");
    let sql = "SELECT * FROM users";
    assert_eq!(conn.query_one_as::<User>(sql, &[]).await.expect("a row").name, "ada");
    conn.batch_execute("ALTER TABLE users RENAME name TO full_name").await.expect("a new name");
    // The old struct fits what the session has cached, the new one what the server has.
    let missing = conn.query_one_as::<User>(sql, &[]).await.expect_err("no such column");
    assert!(matches!(&missing, Error::Row(err) if err.column() == Some("name")), "{missing:?}");
    let renamed: Renamed = conn.query_one_as(sql, &[]).await.expect("a row");
    assert_eq!((renamed.id, renamed.full_name.as_str()), (1, "ada"));
    conn.batch_execute("ALTER TABLE users RENAME full_name TO name").await.expect("the old name");
    // In a transaction too, which a stale plan would have failed.
    let tx = conn.transaction().await.expect("a transaction");
    assert_eq!(tx.query_one_as::<User>(sql, &[]).await.expect("a row").id, 1);
    assert!(tx.query_one_as::<Renamed>(sql, &[]).await.is_err());
    assert_eq!(tx.query_one_as::<User>(sql, &[]).await.expect("a row").id, 1);
    tx.commit().await.expect("a commit");
}

#[derive(Debug, Deserialize)]
struct Address {
    #[expect(dead_code, reason = "only its type counts")]
    city: i32,
}

#[derive(Debug, FromRow)]
struct Profile {
    #[row(json)]
    #[expect(dead_code, reason = "is never read")]
    home: Address,
}

const SECRET: &str = r#"SELECT json '{"city": "hidden_4712"}' AS home"#;

/// P22: the client sees nothing; the log has the column, the types and the statement, and no value.
#[actix_web::test]
async fn a_value_that_does_not_fit_is_shown_to_nobody() {
    let (_database, db) = connect(1).await;
    let app = TestApp::start(&db, |config| {
        let handler = async |conn: Connection| -> Result<String> {
            conn.query_one_as::<Profile>(SECRET, &[]).await.map(|_| String::new())
        };
        config.route("/", web::get().to(handler));
    });
    let answer = app.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, ""));
    let lines = log::ours_with(&["ERROR", "Profile::home"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let text = r#"the rows do not fit the type that they are read into: a value of the column "home" of the PostgreSQL type json does not fit the field `Profile::home` of the Rust type Json<Address>: …"#;
    assert!(lines[0].contains(text), "{lines:?}");
    assert!(lines[0].contains("SELECT json ? AS home"), "{lines:?}");
    assert!(!lines[0].contains("4712"), "{lines:?}");
    app.stop().await;

    let err = refused::<Profile>(&db, SECRET).await;
    assert_eq!((err.kind(), err.column()), (Kind::Value, Some("home")));
    assert!(!format!("{err:?} {err}").contains("4712"), "{err}");
    assert!(err.cause().is_some_and(|cause| cause.to_string().contains("4712")), "whoever asks is told");
}

/// `echo` shows values, in the log alone.
#[actix_web::test]
async fn echo_shows_what_does_not_fit() {
    let database = database().await;
    let db = connected(Config { echo: Echo::Full, ..sized(database.config(), 1) }).await;
    assert!(refused::<Profile>(&db, SECRET).await.to_string().contains("4712"));
    let mut rows = db.connection().query_raw_as::<Profile>(SECRET, &[]).await.expect("a stream");
    let err = rows.try_next().await.expect_err("no such city");
    assert!(format!("{err:?}").contains("4712"), "{err:?}");
}

#[actix_web::test]
async fn a_stream_goes_on_after_a_row_that_does_not_fit() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let sql = "SELECT n AS id, CASE WHEN n = 2 THEN NULL ELSE text 'x' END AS name FROM generate_series(1, 3::bigint) n";
    let rows: Vec<_> = conn.query_raw_as::<User>(sql, &[]).await.expect("a stream").collect().await;
    assert!(matches!(&rows[..], [Ok(_), Err(Error::Row(err)), Ok(_)] if err.sql().is_some()), "{rows:?}");
    conn.release().expect("the stream has ended");
}

struct Bomb;

impl TryFrom<i32> for Bomb {
    type Error = String;

    fn try_from(_: i32) -> Result<Self, String> {
        panic!("a conversion panics");
    }
}

#[derive(FromRow)]
struct Bombs {
    #[expect(dead_code, reason = "is never read")]
    #[row(try_from = "i32")]
    n: Bomb,
}

/// A conversion is the application's code. It runs when the session is free.
#[actix_web::test]
async fn a_conversion_that_panics_costs_no_session() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let task = {
        let conn = conn.clone();
        tokio::spawn(async move { conn.query_as::<Bombs>("SELECT 1 AS n", &[]).await.is_ok() })
    };
    assert!(task.await.expect_err("a panic").is_panic());
    conn.release().expect("nothing runs");
    assert_whole(&db).await;
    assert_eq!(db.status().counters.opened, 1);
}
