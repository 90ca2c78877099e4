//! A test sees which statements ran in its sandbox, and how many.

use std::panic::AssertUnwindSafe;

use actix_pg::tokio_postgres::types::ToSql;
use actix_pg::{Connection, Result, assert_statements};
use actix_web::web;
use futures_util::FutureExt;
use test_support::{TestApp, connect};

/// Runs a statement for each row of another.
async fn one_by_one(conn: Connection) -> Result<String> {
    let mut names = Vec::new();
    for id in conn.query_scalar::<i32>("SELECT generate_series(1, 3)", &[]).await? {
        names.push(conn.query_one_scalar::<String>("SELECT $1::int::text", &[&id]).await?);
    }
    Ok(names.join(" "))
}

async fn together(conn: Connection) -> Result<String> {
    conn.query_one_scalar("SELECT string_agg(id::text, ' ') FROM generate_series(1, 3) id", &[]).await
}

fn routes(config: &mut web::ServiceConfig) {
    config.route("/one_by_one", web::get().to(one_by_one)).route("/together", web::get().to(together));
}

#[actix_web::test]
async fn they_are_counted() {
    let (_database, db) = connect(1).await;
    let sandbox = db.sandbox().await.unwrap();
    assert!(sandbox.statements().is_empty());
    let app = TestApp::with_workers(1, &sandbox, routes);
    assert_eq!(assert_statements!(1, sandbox, app.get("/together").await.ok()), "1 2 3");
    assert_eq!(assert_statements!(4, &sandbox, app.get("/one_by_one").await.ok()), "1 2 3");
    assert_eq!(sandbox.statements().len(), 5);

    let wrong = AssertUnwindSafe(async { assert_statements!(2, sandbox, app.get("/one_by_one").await) });
    let Err(panic) = wrong.catch_unwind().await else { panic!("4 are not 2") };
    let expected = "expected 2 statements, but 4 ran:
     3 x SELECT $1::int::text
     1 x SELECT generate_series(1, 3)";
    assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some(expected));
    app.stop().await;
}

#[actix_web::test]
async fn what_the_application_sends_is_listed_and_nothing_else() {
    let (_database, db) = connect(1).await;
    let sandbox = db.sandbox().await.unwrap();
    let conn = sandbox.connection();
    conn.set_config("app.tenant", "ada").unwrap();
    let tx = conn.transaction().await.unwrap();
    tx.batch_execute("CREATE TEMPORARY TABLE t (id int)").await.unwrap();
    let rows: [[&(dyn ToSql + Sync); 1]; 2] = [[&1_i32], [&2_i32]];
    tx.execute_many("INSERT INTO t VALUES ($1)", rows).await.unwrap();
    tx.query("SELECT * FROM nowhere", &[]).await.unwrap_err();
    tx.rollback().await.unwrap();
    let expected =
        ["CREATE TEMPORARY TABLE t (id int)", "INSERT INTO t VALUES ($1)", "SELECT * FROM nowhere"];
    assert_eq!(sandbox.statements(), expected);
    db.close().await;
    assert!(db.statements().is_empty());
}
