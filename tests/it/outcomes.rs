//! A COMMIT that the server answers with a lost connection of its own (class 08), or an internal error (class XX): a server that
//! spreads a transaction over others says so, and what those others have kept is not known.

use std::sync::atomic::{AtomicU32, Ordering};

use actix_pg::testing::TestDatabase;
use actix_pg::{Connection, Database, Error, IsolationLevel, RequestTransaction, Result};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use test_support::{TestApp, connect};

/// A row raises its SQLSTATE at the commit, or at once.
const SCHEMA: &str = "
    CREATE TABLE t (code text, at_commit bool);
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'a worker is lost' USING ERRCODE = NEW.code; END $$;
    CREATE TRIGGER at_once AFTER INSERT ON t FOR EACH ROW WHEN (NOT NEW.at_commit) EXECUTE FUNCTION fail();
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.at_commit) EXECUTE FUNCTION fail();";

const INSERT: &str = "INSERT INTO t VALUES ($1, $2)";

/// Every SQLSTATE of both classes.
const LOST: [&str; 10] =
    ["08000", "08001", "08003", "08004", "08006", "08007", "08P01", "XX000", "XX001", "XX002"];

async fn start() -> (TestDatabase, Database) {
    let (database, db) = connect(1).await;
    db.batch_execute(SCHEMA).await.expect("a schema");
    (database, db)
}

fn said(err: &Error) -> (&'static str, Option<&str>) {
    let kind = match err {
        Error::OutcomeUnknown(_) => "unknown",
        Error::CommitRefused(_) => "refused",
        Error::Batch { .. } => "row",
        Error::Postgres(_) => "statement",
        _ => "other",
    };
    (kind, err.code().map(|code| code.code()))
}

/// The session is as good as before: it is in no transaction, and the next one commits.
async fn works(conn: &Connection) {
    let tx = conn.transaction().await.expect("a transaction");
    tx.execute("CREATE TEMPORARY TABLE IF NOT EXISTS other (id int)", &[]).await.expect("a table");
    tx.commit().await.expect("a commit");
    let code = conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[]).await.expect("a count");
    assert_eq!(code, 0);
}

#[actix_web::test]
async fn a_commit_that_lost_a_connection_has_an_unknown_outcome() {
    let (_database, db) = start().await;
    let conn = db.connection();
    for code in LOST {
        let tx = conn.transaction().await.expect("a transaction");
        tx.execute(INSERT, &[&code, &true]).await.expect("a row");
        let err = tx.commit().await.expect_err("it is raised");
        assert_eq!(said(&err), ("unknown", Some(code)));
        works(&conn).await;
    }
    for (code, kind) in [("40001", "refused"), ("23505", "refused"), ("40003", "unknown")] {
        let tx = conn.transaction().await.expect("a transaction");
        tx.execute(INSERT, &[&code, &true]).await.expect("a row");
        let err = tx.commit().await.expect_err("it is raised");
        assert_eq!(said(&err), (kind, Some(code)));
        works(&conn).await;
    }
}

#[actix_web::test]
async fn so_has_the_commit_of_a_batch_and_no_other_row_of_it() {
    let (_database, db) = start().await;
    let conn = db.connection();
    for code in LOST {
        let err =
            conn.execute_many("INSERT INTO t VALUES ($1, true)", [[code]]).await.expect_err("it is raised");
        assert_eq!(said(&err), ("unknown", Some(code)));
        let err =
            conn.batch(&[(INSERT, &[&code, &true]), ("SELECT 1", &[])]).await.expect_err("it is raised");
        assert_eq!(said(&err), ("unknown", Some(code)));
        works(&conn).await;
    }
    // COMMIT has been sent behind it, and is not run.
    let err =
        conn.execute_many("INSERT INTO t VALUES ($1, false)", [["08006"]]).await.expect_err("it is raised");
    assert_eq!(said(&err), ("row", Some("08006")));
    let err = conn.execute(INSERT, &[&"08006", &false]).await.expect_err("it is raised");
    assert_eq!(said(&err), ("statement", Some("08006")));
    works(&conn).await;
}

#[actix_web::test]
async fn so_has_transact_which_does_not_run_it_again() {
    let (_database, db) = start().await;
    let conn = db.connection();
    let runs = AtomicU32::new(0);
    let ran: Result<()> = conn
        .transact(async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            tx.execute(INSERT, &[&"08006", &true]).await?;
            Ok(())
        })
        .await;
    assert_eq!(said(&ran.expect_err("it is raised")), ("unknown", Some("08006")));
    assert_eq!(runs.into_inner(), 1);
    works(&conn).await;
}

async fn inserts(tx: RequestTransaction) -> Result<HttpResponse> {
    tx.execute(INSERT, &[&"08006", &true]).await?;
    Ok(HttpResponse::Ok().finish())
}

/// A 503 would ask for another attempt, which may be the second commit.
#[actix_web::test]
async fn so_has_the_transaction_of_a_request_with_a_500() {
    let (_database, db) = start().await;
    let app = TestApp::start(&db, |config| {
        config.route("/", web::get().to(inserts));
    });
    assert_eq!(app.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    works(&db.connection()).await;
    app.stop().await;
}

/// Nothing runs after a commit that is not known to have happened.
#[actix_web::test]
async fn no_callback_runs() {
    let (_database, db) = start().await;
    let conn = db.connection();
    let tx = conn.transaction().await.expect("a transaction");
    tx.after_commit(|| async { panic!("it ran") }).expect("an open transaction");
    tx.after_rollback(|| async { panic!("it ran") }).expect("an open transaction");
    tx.execute(INSERT, &[&"08006", &true]).await.expect("a row");
    let err = tx.commit().await.expect_err("it is raised");
    assert_eq!(said(&err), ("unknown", Some("08006")));
    works(&conn).await;
    drop(conn);
    db.close().await;
}

/// A server with `postgres_fdw` has the others commit before it finds out that it cannot. Nothing may run again.
#[actix_web::test]
async fn so_has_a_commit_that_another_server_may_have_carried_out() {
    let (_database, db) = connect(2).await;
    let (port, name): (String, String) = db
        .query_one_as("SELECT current_setting('port'), current_database()::text", &[])
        .await
        .expect("a row");
    let schema = format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{name}');
         CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (user 'postgres', password_required 'false');
         CREATE TABLE here (id int); CREATE TABLE there (id int);
         CREATE FOREIGN TABLE elsewhere (id int) SERVER other OPTIONS (table_name 'there');"
    );
    db.batch_execute(&schema).await.expect("a schema");
    let (one, other) = (db.connection(), db.connection());
    let begin = async |conn: &Connection| {
        let tx = conn.build_transaction().isolation_level(IsolationLevel::Serializable).begin().await?;
        tx.query_one_scalar::<i64>("SELECT count(*) FROM here", &[]).await?;
        tx.execute("INSERT INTO here VALUES (1)", &[]).await?;
        Ok::<_, Error>(tx)
    };
    let (late, early) =
        (begin(&one).await.expect("a transaction"), begin(&other).await.expect("a transaction"));
    late.execute("INSERT INTO elsewhere VALUES (1)", &[]).await.expect("a row there");
    early.commit().await.expect("a commit");
    let err = late.commit().await.expect_err("it lost against the other");
    assert_eq!(said(&err), ("unknown", Some("40001")));
    let there: i64 = other.query_one_scalar("SELECT count(*) FROM there", &[]).await.expect("a count");
    assert_eq!(there, 1, "the other server has committed");
}
