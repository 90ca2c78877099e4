//! `Database` runs statements itself: each borrows a session, and returns it.

use std::sync::Arc;
use std::time::Duration;

use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Config, Database, Error, GenericClient, IsolationLevel, Result, Transaction};
use actix_web::rt;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use test_support::{
    all_returned, assert_whole, backend, connect, connected, database, eventually, sized, soon,
};
use tokio::time::timeout;

const SCHEMA: &str =
    "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'ada')";

async fn names(client: &impl GenericClient) -> Result<Vec<String>> {
    client.query_scalar("SELECT name FROM users ORDER BY id", &[]).await
}

/// With one place a statement that kept its session would block the next.
#[actix_web::test]
async fn every_verb_borrows_and_returns() {
    let (_database, db) = connect(1).await;
    db.batch_execute(SCHEMA).await.unwrap();
    assert_eq!(names(&db).await.unwrap(), ["ada"]);
    assert_eq!(db.query("SELECT 1", &[]).await.unwrap().len(), 1);
    assert_eq!(db.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert!(db.query_opt("SELECT 1 WHERE false", &[]).await.unwrap().is_none());
    assert_eq!(db.query_opt_scalar::<i32>("SELECT 1", &[]).await.unwrap(), Some(1));
    assert_eq!(db.query_one_scalar::<i32>("SELECT 1", &[]).await.unwrap(), 1);
    assert_eq!(db.execute("INSERT INTO users VALUES (2, 'grace')", &[]).await.unwrap(), 1);

    let mut copy = db.copy_in("COPY users FROM STDIN").await.unwrap();
    copy.send("3\tedsger\n".into()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 1);
    let copy = db.copy_out("COPY (SELECT id FROM users ORDER BY id) TO STDOUT").await.unwrap();
    assert_eq!(copy.try_collect::<Vec<_>>().await.unwrap().concat(), b"1\n2\n3\n");

    let rows = db.query_raw("SELECT id FROM users", &[]).await.unwrap();
    assert_eq!(db.status().used, 1, "a stream keeps its session");
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 3);
    all_returned(&db).await;

    let err = db.query("SELECT 1 / 0", &[]).await.unwrap_err();
    assert_eq!(err.code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(db.status().used, 0);
    assert_whole(&db).await;
}

#[actix_web::test]
async fn statements_run_side_by_side_on_sessions_of_their_own() {
    let (_database, db) = connect(3).await;
    let pid = || db.query_one_scalar::<i32>("SELECT pg_backend_pid() FROM pg_sleep(0.05)", &[]);
    let (one, other) = future::try_join(pid(), pid()).await.unwrap();
    assert_ne!(one, other);
    let mut rows = db.query_raw("SELECT generate_series(1, 100)", &[]).await.unwrap();
    rows.next().await.unwrap().unwrap();
    db.query("SELECT 1", &[]).await.expect("a stream is no obstacle");
    drop(rows);
    assert_whole(&db).await;
}

#[actix_web::test]
async fn a_transaction_has_a_session_of_its_own_until_it_ends() {
    let (_database, db) = connect(2).await;
    db.batch_execute(SCHEMA).await.unwrap();
    let tx = db.transaction().await.unwrap();
    tx.execute("INSERT INTO users VALUES (2, 'grace')", &[]).await.unwrap();
    assert_eq!((names(&tx).await.unwrap().len(), names(&db).await.unwrap().len()), (2, 1));
    assert_eq!(db.status().used, 1);
    tx.commit().await.unwrap();
    all_returned(&db).await;
    drop(GenericClient::transaction(&db).await.unwrap());
    all_returned(&db).await;

    // The builder holds nothing, so it can begin several.
    let builder = db.build_transaction().isolation_level(IsolationLevel::Serializable);
    let (one, other) = (builder.begin().await.unwrap(), builder.begin().await.unwrap());
    let isolation: String = one.query_one_scalar("SHOW transaction_isolation", &[]).await.unwrap();
    assert_eq!(isolation, "serializable");
    drop((one, other));
    all_returned(&db).await;
    assert_eq!(names(&db).await.unwrap(), ["ada", "grace"]);
}

#[actix_web::test]
async fn all_attempts_of_transact_run_on_one_session() {
    let (_database, db) = connect(1).await;
    let mut pids = Vec::new();
    let done: Result<()> = db
        .transact(|tx: Transaction| {
            pids.push(0);
            let last = pids.len() == 2;
            async move {
                let lost = "DO $$ BEGIN RAISE serialization_failure; END $$";
                if last { tx.query("SELECT 1", &[]).await.map(drop) } else { tx.batch_execute(lost).await }
            }
        })
        .await;
    done.unwrap();
    assert_eq!((pids.len(), db.status().counters.retries), (2, 1));
    assert_eq!(db.status().counters.borrows, 1);
    let failed: Result<()> = db.transact(async |_: Transaction| Err(Error::NotFound)).await;
    assert!(matches!(failed, Err(Error::NotFound)));
    assert_whole(&db).await;
}

/// A dropped statement leaves the queue, or is cancelled on the server.
#[actix_web::test]
async fn a_statement_may_be_dropped_at_any_moment() {
    let (_database, db) = connect(1).await;
    let held = db.connection();
    backend(&held).await;
    assert!(timeout(Duration::from_millis(20), db.query("SELECT 1", &[])).await.is_err());
    assert_eq!(db.status().pending_requests, 0);
    held.release().unwrap();
    assert!(timeout(Duration::from_millis(50), db.query("SELECT pg_sleep(60)", &[])).await.is_err());
    soon("the session is clean again", db.query("SELECT 1", &[])).await.unwrap();
    assert_eq!(db.status().counters.cancels, 1);
    assert_whole(&db).await;
}

#[actix_web::test]
async fn nothing_is_left_on_a_session_for_the_next_statement() {
    let (_database, db) = connect(1).await;
    db.batch_execute("SET application_name = 'mine'").await.unwrap();
    let name: String = db.query_one_scalar("SHOW application_name", &[]).await.unwrap();
    assert_ne!(name, "mine");
}

/// A closed database and a full pool answer as they answer a connection.
#[actix_web::test]
async fn what_a_borrow_fails_with_comes_through() {
    let database = database().await;
    let config = Config {
        acquire_timeout: Duration::from_millis(50),
        slow_acquire: Some(Duration::from_millis(10)),
        ..sized(database.config(), 1)
    };
    let db = connected(config).await;
    let watch = db.watch();
    let mut warnings = Box::pin(watch.warnings());
    let held = db.transaction().await.unwrap();
    let line = line!() + 1;
    let err = db.query("SELECT 1", &[]).await.unwrap_err();
    assert!(err.is_unavailable(), "{err:?}");
    let warning = soon("a warning", warnings.next()).await.unwrap();
    assert_eq!(warning.caller, Some(format!("{}:{line}", file!())));
    drop(held);
    db.close().await;
    assert!(matches!(db.query("SELECT 1", &[]).await, Err(Error::Acquire(_))));
}

/// What people store in a schema or a repository: no session is held between two statements.
#[actix_web::test]
async fn a_repository_holds_no_session() {
    struct Users(Database);
    impl Users {
        async fn names(&self) -> Result<Vec<String>> {
            names(&self.0).await
        }
    }
    let (_database, db) = connect(2).await;
    db.batch_execute(SCHEMA).await.unwrap();
    let users = Arc::new(Users(db.clone()));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let users = Arc::clone(&users);
            rt::spawn(async move { users.names().await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), ["ada"]);
    }
    all_returned(&db).await;
}

#[actix_web::test]
async fn in_a_sandbox_each_statement_takes_a_turn() {
    let (_database, db) = connect(2).await;
    db.batch_execute(SCHEMA).await.unwrap();
    let sandbox = db.sandbox().await.unwrap();
    let insert = |id: i32| {
        let sandbox = sandbox.clone();
        async move { sandbox.execute("INSERT INTO users VALUES ($1, 'x')", &[&id]).await }
    };
    let (one, other, third) = future::join3(insert(1), insert(2), insert(3)).await;
    assert_eq!(one.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!((other.unwrap(), third.unwrap()), (1, 1));
    let tx = sandbox.transaction().await.unwrap();
    tx.execute("DELETE FROM users", &[]).await.unwrap();
    tx.rollback().await.unwrap();
    sandbox.batch_execute("SET application_name = 'mine'").await.unwrap();
    let name: String = sandbox.query_one_scalar("SHOW application_name", &[]).await.unwrap();
    assert_ne!(name, "mine", "a statement has left something for the next");
    assert!(matches!(sandbox.batch_execute("COMMIT").await, Err(Error::Sandboxed)));
    let transacted: Result<u64> = sandbox
        .transact(async |tx: Transaction| tx.execute("INSERT INTO users VALUES (4, 'y')", &[]).await)
        .await;
    assert_eq!(transacted.unwrap(), 1);
    assert_eq!(names(&sandbox).await.unwrap(), ["ada", "x", "x", "y"]);
    sandbox.close().await;
    assert_eq!(names(&db).await.unwrap(), ["ada"]);
    eventually("all is returned", async || db.status().used == 0).await;
}
