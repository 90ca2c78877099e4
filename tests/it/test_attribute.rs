//! `#[actix_pg::test]` gives a test a database of its own, or a sandbox.

use std::sync::Mutex;

use actix_pg::testing::TestDatabase;
use actix_pg::{Config, Connection, Database, Error, Result};
use actix_web::http::StatusCode;
use actix_web::{App, post, test, web};

#[post("/users")]
async fn create(name: String, conn: Connection) -> Result<String> {
    conn.execute("INSERT INTO users VALUES ($1)", &[&name]).await?;
    Ok(name)
}

/// Serves a request that adds a user, and counts the users.
async fn served(db: &Database) -> Result<i64> {
    let app = test::init_service(App::new().wrap(db.middleware()).service(create)).await;
    let req = test::TestRequest::post().uri("/users").set_payload("ada").to_request();
    assert_eq!(test::call_service(&app, req).await.status(), StatusCode::OK);
    db.query_one_scalar("SELECT count(*) FROM users", &[]).await
}

const USERS: &str = "CREATE TABLE users (name text)";

#[actix_pg::test(schema = "CREATE TABLE users (name text)")]
async fn a_fresh_database_is_alone(db: Database) -> Result<()> {
    assert_eq!(served(&db).await?, 1);
    assert_eq!(served(&db).await?, 2);
    Ok(())
}

#[actix_pg::test(schema = "CREATE TABLE users (name text)")]
async fn another_sees_nothing_of_it(db: Database) -> Result<()> {
    assert_eq!(served(&db).await?, 1);
    Ok(())
}

/// Two tests share the database of the sandbox, and each sees its own rows only.
mod in_a_sandbox {
    use super::*;

    static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

    async fn is_alone(db: Database) -> Result<()> {
        assert_eq!(served(&db).await?, 1);
        let name = db.query_one_scalar("SELECT current_database()::text", &[]).await?;
        let mut names = NAMES.lock().expect("no panic");
        names.push(name);
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        Ok(())
    }

    #[actix_pg::test(schema = "CREATE TABLE users (name text)", sandbox)]
    async fn one_is_rolled_back(db: Database) -> Result<()> {
        is_alone(db).await
    }

    #[actix_pg::test(sandbox, schema = "CREATE TABLE users (name text)")]
    async fn another_sees_nothing_of_it(db: Database) -> Result<()> {
        is_alone(db).await
    }
}

/// The files of a folder run in the order of their numbers, each by itself: a value of an enum can be used by the next one.
#[actix_pg::test(migrations = "tests/it/migrations")]
async fn migrations_are_run_in_order(db: Database) -> Result<()> {
    let states: Vec<String> = db.query_scalar("SELECT state::text FROM jobs", &[]).await?;
    assert_eq!(states, ["late"]);
    Ok(())
}

#[actix_pg::test]
async fn the_arguments_say_what_is_given(config: Config, database: TestDatabase, db: Database) {
    assert_eq!(config.dsn.as_deref(), Some(database.dsn()));
    let name: String = db.query_one_scalar("SELECT current_database()::text", &[]).await.unwrap();
    assert_eq!(name, database.name());
}

#[actix_pg::test]
#[should_panic = "as the test says"]
async fn a_test_that_panics_fails(db: Database) {
    db.query("SELECT 1", &[]).await.unwrap();
    panic!("as the test says");
}

/// It fails while its database is there, which `TEST_KEEP_FAILED` then keeps.
#[actix_pg::test]
#[should_panic = "the test has returned an error: the query returned no row"]
async fn a_test_that_returns_an_error_fails(db: Database) -> Result<()> {
    db.query_one("SELECT 1 WHERE false", &[]).await.map(drop)
}

#[actix_pg::test(schema = "CREATE TABLE twice (); CREATE TABLE twice ()")]
#[should_panic = "already exists"]
async fn a_schema_that_fails_is_named(_db: Database) {}

#[actix_pg::test(sandbox)]
#[should_panic = "take a `Database` there"]
async fn a_sandbox_gives_no_database_away(_database: TestDatabase) {}

/// The pool is closed when the test ends, and the database is dropped after it.
#[actix_web::test]
async fn nothing_stays_behind() {
    use actix_pg::__private::test::{Argument, Setup, World, run};

    let (name, kept) = web::block(|| {
        let setup = Setup { migrations: &[USERS], sandbox: false };
        let mut seen = None;
        run(setup, async |world: &World| {
            let db = Database::take(world).await;
            let name: String = db.query_one_scalar("SELECT current_database()::text", &[]).await.unwrap();
            seen = Some((name, db));
        });
        seen.expect("it has run")
    })
    .await
    .unwrap();
    assert!(matches!(kept.query("SELECT 1", &[]).await, Err(Error::Acquire(_))), "closed");
    let (_database, db) = test_support::connect(1).await;
    let exists = "SELECT count(*) FROM pg_database WHERE datname = $1";
    test_support::eventually("it is dropped", async || {
        db.query_one_scalar::<i64>(exists, &[&name]).await.unwrap() == 0
    })
    .await;
}
