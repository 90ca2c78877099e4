//! What a request has set is in force for its statements, and for nobody else's.

use actix_pg::{Connection, Database, RequestTransaction, Result};
use actix_web::web;
use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, TryStreamExt};
use test_support::TestApp;

use super::world::World;

/// Notes of ten tenants, each of whom sees his own.
const TENANTS: &str = "
    CREATE TABLE notes (tenant int NOT NULL DEFAULT current_setting('app.tenant')::int, text text);
    INSERT INTO notes SELECT tenant, 'note' FROM generate_series(1, 10) AS tenant, generate_series(1, 3);
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON notes USING (tenant = nullif(current_setting('app.tenant', true), '')::int);
    CREATE TABLE imports (tenant int NOT NULL DEFAULT current_setting('app.tenant')::int, text text);
    GRANT ALL ON notes, imports TO PUBLIC;";

/// The tenants that a request of this tenant meets, in one of the ways in which it can ask.
async fn tenants(db: &Database, tenant: i32, way: u32) -> Result<Vec<i32>> {
    let conn = db.connection();
    conn.set_config("app.tenant", &tenant.to_string())?;
    let sql = "SELECT DISTINCT tenant FROM notes";
    let insert = "INSERT INTO notes (text) VALUES ($1) RETURNING tenant";
    match way {
        0 => conn.query_scalar(sql, &[]).await,
        1 => Ok(conn.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect()),
        2 => Ok(conn.query_as::<(i32,)>(sql, &[]).await?.into_iter().map(|(tenant,)| tenant).collect()),
        3 => conn.query_opt_scalar(sql, &[]).await.map(Vec::from_iter),
        4 => conn.query_one_scalar(insert, &[&"of a statement"]).await.map(|tenant| vec![tenant]),
        5 => {
            let tx = conn.transaction().await?;
            let mut met: Vec<i32> = tx.query_scalar(sql, &[]).await?;
            met.extend(tx.query_scalar::<i32>(insert, &[&"of a transaction"]).await?);
            let savepoint = tx.transaction().await?;
            assert!(savepoint.execute("SELECT 1 / $1::int", &[&0]).await.is_err());
            savepoint.rollback().await?;
            met.extend(tx.query_scalar::<i32>(sql, &[]).await?);
            tx.commit().await?;
            met.extend(conn.query_scalar::<i32>(sql, &[]).await?);
            Ok(met)
        }
        6 => conn.transact(async |tx| tx.query_scalar(sql, &[]).await).await,
        7 => {
            let tx = conn.transaction().await?;
            let met = tx.query_raw(sql, &[]).await?.map_ok(|row| row.get::<_, i32>(0)).try_collect().await;
            drop(tx);
            met
        }
        8 => {
            let update = "UPDATE notes SET text = $1";
            let mut affected = conn.execute_many(update, ["a", "b"].map(|text| [text])).await?;
            affected += conn.batch(&[(update, &[&"c"]), (insert, &[&"of a batch"])]).await?[0];
            if affected < 9 { Ok(Vec::new()) } else { conn.query_scalar(sql, &[]).await }
        }
        9 => {
            conn.batch_execute("UPDATE notes SET text = 'd'; INSERT INTO notes (text) VALUES ('e')").await?;
            conn.query_scalar("SELECT tenant FROM notes WHERE text IN ('d', 'e')", &[]).await
        }
        10 => {
            let tx = conn.transaction().await?;
            let mut copy = tx.copy_in("COPY imports (text) FROM STDIN").await?;
            copy.send(format!("{tenant}\n").into()).await?;
            assert_eq!(copy.finish().await?, 1);
            let out = tx.copy_out("COPY (SELECT DISTINCT tenant FROM notes) TO STDOUT").await?;
            let mut text: Vec<_> = out.try_collect().await?;
            let imported = format!("COPY (SELECT tenant FROM imports WHERE text = '{tenant}') TO STDOUT");
            text.extend(tx.copy_out(&imported).await?.try_collect::<Vec<_>>().await?);
            tx.commit().await?;
            let text = String::from_utf8(text.concat()).expect("text");
            Ok(text.lines().map(|line| line.parse().expect("a number")).collect())
        }
        _ => {
            // Together, on one handle.
            let all = try_join_all((0..3).map(|_| conn.query_scalar::<i32>(sql, &[]))).await?;
            Ok(all.concat())
        }
    }
}

const WAYS: u32 = 12;

/// 1,440 requests of ten tenants.
#[tokio::test]
async fn no_tenant_meets_another() {
    let Some(mut world) = World::with(TENANTS).await else { return };
    let db = world.pool().await;
    let mut foreign = Vec::new();
    for round in 0..6_i32 {
        let requests = (0..240_i32).map(|number| {
            let (tenant, way) = ((number + round) % 10 + 1, number as u32 % WAYS);
            let db = &db;
            async move { (tenant, way, tenants(db, tenant, way).await) }
        });
        for (tenant, way, met) in join_all(requests).await {
            let met = met.unwrap_or_else(|err| panic!("way {way}: {err:?}"));
            if met.is_empty() || met.iter().any(|other| *other != tenant) {
                foreign.push((tenant, way, met));
            }
        }
    }
    // Whoever has no tenant meets none.
    assert!(db.query("SELECT tenant FROM notes", &[]).await.expect("an answer").is_empty());
    assert!(foreign.is_empty(), "{} of 1440: {:?}", foreign.len(), &foreign[..foreign.len().min(5)]);
    world.bouncer.assert_alive();
    db.close().await;
}

/// Statements of one handle are sent before the first is answered, and the pooler may move the session between two of them.
#[tokio::test]
async fn statements_that_are_sent_together_get_their_own_answers() {
    let Some(mut world) = World::with("").await else { return };
    let db = world.pool().await;
    db.query("SELECT $1::int", &[&0]).await.expect("its types are known from now on");
    let handles = (0..30_i32).map(|handle| {
        let db = &db;
        async move {
            let conn = db.connection();
            let numbers: Vec<i32> = (0..40).map(|number| handle * 100 + number).collect();
            let conn = &conn;
            let asked = numbers.iter().map(|number| async move {
                let sql = "SELECT $1::int";
                if number % 7 == 0 {
                    assert!(conn.query("SELECT 1 / ($1::int - $1::int)", &[number]).await.is_err());
                }
                conn.query_one_scalar::<i32>(sql, &[number]).await
            });
            assert_eq!(try_join_all(asked).await.expect("answers"), numbers);
        }
    });
    join_all(handles).await;
    world.bouncer.assert_alive();
    db.close().await;
}

/// The settings of a request hold in its transaction, in its savepoints, and for its statements before and after.
#[actix_web::test]
async fn a_request_and_its_transaction_have_one_tenant() {
    let Some(world) = World::with(TENANTS).await else { return };
    let db = world.pool().await;
    let app = TestApp::start(&db, |config| {
        let handler =
            async |tenant: web::Path<i32>, conn: Connection, tx: RequestTransaction| -> Result<String> {
                conn.set_config("app.tenant", &tenant.to_string())?;
                let sql = "SELECT DISTINCT tenant FROM notes";
                let mut met: Vec<i32> = conn.query_scalar(sql, &[]).await?;
                tx.execute("INSERT INTO notes (text) VALUES ('of a request')", &[]).await?;
                let attempt = tx.transaction().await?;
                assert!(attempt.execute("SELECT 1 / $1::int", &[&0]).await.is_err());
                attempt.rollback().await?;
                met.extend(tx.query_scalar::<i32>(sql, &[]).await?);
                met.dedup();
                Ok(format!("{met:?}"))
            };
        config.route("/{tenant}", web::get().to(handler));
    });
    let answers = join_all((0..120_i32).map(|number| {
        let app = &app;
        async move { (number % 10 + 1, app.get(&format!("/{}", number % 10 + 1)).await) }
    }));
    for (tenant, answer) in answers.await {
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, &*format!("[{tenant}]")));
    }
    let written = "SELECT count(*) FROM notes WHERE text = 'of a request'";
    let written: i64 = world.observer.connection().query_one_scalar(written, &[]).await.expect("a count");
    assert_eq!(written, 120);
    app.stop().await;
    db.close().await;
}
