//! Everything a handler may hand to another thread can be.

use std::future::Future;
use std::pin::Pin;

use actix_pg::tokio_postgres::types::ToSql;
use actix_pg::{
    ClientGuard, Connection, Database, Error, Events, OrNotFound, OwnedSession, Result, RowStream, Status,
};
use futures_util::TryStreamExt;
use test_support::{connect, database, sized};

fn sent<T: Send>(value: T) -> T {
    value
}

fn is_send_and_sync<T: Send + Sync>() {}

/// What `async-trait` makes of a trait's method: a boxed future that is `Send`.
trait Repository {
    fn count<'a>(&'a self, conn: &'a Connection) -> Pin<Box<dyn Future<Output = Result<i64>> + Send + 'a>>;
}

struct Users;

impl Repository for Users {
    fn count<'a>(&'a self, conn: &'a Connection) -> Pin<Box<dyn Future<Output = Result<i64>> + Send + 'a>> {
        Box::pin(async move {
            let kind = String::from("r");
            conn.query_one_scalar("SELECT count(*) FROM pg_class WHERE relkind::text = $1", &[&kind]).await
        })
    }
}

async fn everything(db: Database, conn: Connection) -> Result<i64> {
    let (number, text) = (7_i64, "text");
    sent(conn.query("SELECT $1::bigint, $2::text", &[&number, &text])).await?;
    sent(conn.query_one("SELECT $1::bigint", &[&number])).await?;
    sent(conn.query_opt("SELECT $1::bigint", &[&number])).await?.or_not_found()?;
    sent(conn.query_scalar::<i64>("SELECT $1::bigint", &[&number])).await?;
    sent(conn.query_opt_scalar::<i64>("SELECT $1::bigint", &[&number])).await?;
    sent(conn.query_as::<(i64,)>("SELECT $1::bigint", &[&number])).await?;
    sent(conn.query_one_as::<(i64,)>("SELECT $1::bigint", &[&number])).await?;
    sent(conn.query_opt_as::<(i64,)>("SELECT $1::bigint", &[&number])).await?;
    let stream = sent(sent(conn.query_raw_as::<(i64,)>("SELECT $1::bigint", &[&number])).await?);
    assert_eq!(stream.try_collect::<Vec<_>>().await?, [(number,)]);
    sent(conn.execute("SELECT $1::bigint", &[&number])).await?;
    sent(conn.batch_execute("SELECT 1")).await?;
    sent(conn.execute_many("SELECT $1::bigint", [[number], [number]])).await?;
    let rows = [&number].into_iter().map(|number| [number as &(dyn ToSql + Sync)]);
    sent(conn.execute_many("SELECT $1::bigint", rows)).await?;
    sent(conn.batch(&[("SELECT $1::bigint", &[&number]), ("SELECT $1::text", &[&text])])).await?;
    let rows = sent(sent(conn.query_raw("SELECT $1::bigint", &[&number])).await?);
    let rows: Vec<_> = rows.try_collect().await?;
    assert_eq!(rows.len(), 1);
    let client = sent(sent(conn.client()).await?);
    client.simple_query("SELECT 1").await?;
    drop(client);
    sent(Users.count(&conn)).await?;
    conn.release()?;
    sent(db.ping()).await?;
    let owned = sent(sent(db.session()).await?);
    sent(owned.simple_query("SELECT 1")).await?;
    drop(owned);
    let events = sent(sent(db.listen(["jobs"])).await?);
    drop(events);
    sent(db.query("SELECT $1::bigint, $2::text", &[&number, &text])).await?;
    sent(db.execute("SELECT $1::bigint", &[&number])).await?;
    sent(sent(db.transaction()).await?).commit().await?;
    sent(conn.query_one_scalar("SELECT $1::bigint", &[&number])).await
}

/// A handle's futures run on any thread of a runtime with many (async-graphql, async-trait and `tokio::spawn` need that).
#[test]
fn they_run_on_any_thread() {
    is_send_and_sync::<Connection>();
    is_send_and_sync::<Database>();
    is_send_and_sync::<ClientGuard>();
    is_send_and_sync::<OwnedSession>();
    is_send_and_sync::<Events>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Status>();
    sent::<Option<RowStream>>(None);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let database = database().await;
        let db = sent(Database::connect(sized(database.config(), 3))).await.expect("a connected database");
        let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(everything(db.clone(), db.connection()))).collect();
        for task in tasks {
            assert_eq!(task.await.expect("a joined task").expect("a number"), 7);
        }
        sent(db.close()).await;
    });
}

/// One handle may be used from several threads at once.
#[actix_web::test]
async fn one_handle_serves_several_threads() {
    let (_database, db) = connect(2).await;
    let conn = db.connection();
    let threads: Vec<_> = (0..4)
        .map(|number: i32| {
            let conn = conn.clone();
            tokio::task::spawn_blocking(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async move {
                    for _ in 0..25 {
                        let echoed: i32 =
                            conn.query_one_scalar("SELECT $1::int", &[&number]).await.expect("a row");
                        assert_eq!(echoed, number);
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.await.expect("a thread without a failure");
    }
    assert_eq!(db.status().used, 1);
}
