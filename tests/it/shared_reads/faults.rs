//! An application that shares reads, while sessions are ended, clients leave, tables change and the server restarts.

use std::cell::Cell;

use actix_pg::testing::Postgres;
use actix_pg::{Connection, Result};
use actix_web::{http::StatusCode, rt, web};
use test_support::TestApp;

use super::*;

const TABLES: &str = "CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL);
    INSERT INTO counters SELECT id, 0 FROM generate_series(0, 49) AS id;
    CREATE TABLE pads (id int PRIMARY KEY, pad text NOT NULL);
    INSERT INTO pads SELECT id, repeat(chr(97 + id % 26), 20000) FROM generate_series(0, 199) AS id;
    CREATE VIEW dozers AS SELECT id, pg_sleep(CASE WHEN random() < 0.05 THEN 0.05 ELSE 0 END)::text AS slept FROM counters";

async fn echo(conn: Connection, number: web::Path<i32>) -> Result<String> {
    Ok(conn.query_one_scalar::<i32>(ECHO, &[&*number]).await?.to_string())
}

/// Writes, releases the session, and reads on any.
async fn count(conn: Connection, path: web::Path<(i32, i32)>) -> Result<String> {
    let (id, value) = path.into_inner();
    conn.execute("UPDATE counters SET value = $2 WHERE id = $1", &[&id, &value]).await?;
    conn.release()?;
    let sql = "SELECT value FROM counters WHERE id = $1";
    Ok(conn.query_one_scalar::<i32>(sql, &[&id]).await?.to_string())
}

/// Wide rows, of which each is as its number says.
async fn pads(conn: Connection, id: web::Path<i32>) -> Result<String> {
    let sql = "SELECT id, pad FROM pads WHERE id BETWEEN $1 AND $1 + 49 ORDER BY id";
    let rows: Vec<(i32, String)> = conn.query_as(sql, &[&*id]).await?;
    for (number, (row, pad)) in (*id..).zip(&rows) {
        let letter = char::from(b'a' + (number % 26) as u8).to_string();
        assert!(*row == number && *pad == letter.repeat(20000), "{number}");
    }
    Ok(rows.len().to_string())
}

/// A view that sleeps now and then, for somebody who does not always wait.
async fn doze(conn: Connection, id: web::Path<i32>) -> Result<String> {
    let params: [&(dyn ToSql + Sync); 1] = [&*id];
    let read = conn.query_one("SELECT id, slept FROM dozers WHERE id = $1", &params);
    Ok(match tokio::time::timeout(Duration::from_millis(20), read).await {
        Ok(row) => row?.get::<_, i32>("id").to_string(),
        Err(_) => id.to_string(),
    })
}

fn routes(config: &mut web::ServiceConfig) {
    config.route("/echo/{number}", web::get().to(echo));
    config.route("/count/{id}/{value}", web::get().to(count));
    config.route("/pads/{id}", web::get().to(pads));
    config.route("/doze/{id}", web::get().to(doze));
}

/// 50 clients, until `until`. Each answer is that of its question, or a 503. Returns how many there were of each.
async fn clients(app: &TestApp, until: Instant) -> (u64, u64) {
    let (answered, refused) = (Cell::new(0), Cell::new(0));
    let each = (0..50_i32).map(async |client| {
        let mut round = 0;
        while Instant::now() < until {
            round += 1;
            let (path, expected) = match round % 5 {
                0 => (format!("/count/{client}/{round}"), round.to_string()),
                1 => (format!("/pads/{}", client * 3), 50.to_string()),
                2 => (format!("/doze/{client}"), client.to_string()),
                _ => (format!("/echo/{}", client * 1000 + round), (client * 1000 + round).to_string()),
            };
            let answer = soon("an answer", app.get(&path)).await;
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                refused.set(refused.get() + 1);
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else {
                assert_eq!(
                    (answer.status, answer.body.as_str()),
                    (StatusCode::OK, expected.as_str()),
                    "{path}"
                );
                answered.set(answered.get() + 1);
            }
        }
    });
    join_all(each).await;
    (answered.get(), refused.get())
}

/// P3, P13, P26: everybody gets his own answer or a 503, with the pool that is the default and with a small one.
#[actix_web::test]
async fn while_sessions_are_ended_everybody_gets_his_own_answer() {
    for size in [None, Some(4), Some(2)] {
        let database = database().await;
        let slow = Duration::from_millis(100);
        let config = Config { shared_reads: 2, shared_reads_slow: slow, ..database.config() };
        let config = match size {
            Some(size) => sized(config, size),
            None => config,
        };
        let db = connected(config).await;
        db.connection().batch_execute(TABLES).await.expect("tables");
        let observer = Observer::of(&database).await;
        let app = TestApp::start(&db, routes);
        let until = Instant::now() + Duration::from_secs(4);
        let ends = async {
            while Instant::now() < until {
                let some = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
                            WHERE datname = current_database() AND application_name <> 'observer' ORDER BY random() LIMIT 1)";
                observer.connection().query(&format!("{some} AS one"), &[]).await.expect("an end");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let ((answered, refused), ()) = futures_util::join!(clients(&app, until), ends);
        println!("{size:?}: {answered} answers, {refused} refusals, {:?}", db.status().counters);
        assert!(answered > 0);
        let before = shared(&db);
        eventually("reads are shared", async || {
            assert_eq!(app.get("/echo/7").await.ok(), "7");
            shared(&db) > before
        })
        .await;
        let most = db.status().max;
        app.stop().await;
        eventually("nothing is lent", async || db.status().used == 0).await;
        assert_whole(&db).await;
        assert_eq!(db.status().max, most);
    }
}

/// P14, P26: after a restart of the server, reads are shared again.
#[actix_web::test]
async fn a_restart_of_the_server_is_survived() {
    let postgres = Postgres::start().expect("a server");
    let database = postgres.database().await.expect("a database");
    let acquire_timeout = Duration::from_millis(500);
    let shared_reads_slow = Duration::from_millis(100);
    let config =
        Config { shared_reads: 2, shared_reads_slow, acquire_timeout, ..sized(database.config(), 8) };
    let db = connected(config).await;
    db.connection().batch_execute(TABLES).await.expect("tables");
    let app = TestApp::start(&db, routes);
    for _ in 0..2 {
        let until = Instant::now() + Duration::from_secs(3);
        let restart = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            postgres.stop().expect("a stop");
            tokio::time::sleep(Duration::from_millis(300)).await;
            postgres.start_again().expect("a restart");
        };
        let ((answered, refused), ()) = futures_util::join!(clients(&app, until), restart);
        assert!(answered > 0 && refused > 0, "{answered} {refused}");
    }
    eventually("it serves again", async || app.get("/echo/7").await.status == StatusCode::OK).await;
    let before = shared(&db);
    eventually("reads are shared again", async || {
        assert_eq!(app.get("/echo/7").await.ok(), "7");
        shared(&db) > before
    })
    .await;
    app.stop().await;
    assert_whole(&db).await;
}

/// P19, P26: while a column changes its type, and its table is dropped and made anew, each answer fits its columns.
#[actix_web::test]
async fn while_tables_change_each_answer_fits_its_columns() {
    const MAKE: &str = "CREATE TABLE shapes (id int PRIMARY KEY, value int NOT NULL);
        INSERT INTO shapes SELECT id, id FROM generate_series(0, 49) AS id";
    let (database, db) = patiently_sharing(10, 2).await;
    let observer = Observer::of(&database).await;
    observer.connection().batch_execute(MAKE).await.expect("a table");
    let sql = "SELECT id, value FROM shapes WHERE id = $1";
    until_shared(&db, sql, &[&1]).await;
    let before = shared(&db);
    let until = Instant::now() + Duration::from_secs(3);
    let changes = async {
        let anew = format!("BEGIN; DROP TABLE shapes; {MAKE}; COMMIT");
        let text = "ALTER TABLE shapes ALTER COLUMN value TYPE text USING value::text";
        let int = "ALTER TABLE shapes ALTER COLUMN value TYPE int USING value::int";
        for change in [text, int, &anew, text, &anew].into_iter().cycle() {
            if Instant::now() > until {
                break;
            }
            // It may be locked out by reads that it locks out.
            drop(observer.connection().batch_execute(change).await);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let (read, failed) = (Cell::new(0), Cell::new(0));
    let reads = join_all((0..50).map(async |id: i32| {
        while Instant::now() < until {
            match db.connection().query_one(sql, &[&id]).await {
                Ok(row) if *row.columns()[1].type_() == Type::INT4 => assert_eq!(row.get::<_, i32>(1), id),
                Ok(row) => assert_eq!(row.get::<_, String>(1), id.to_string()),
                // It has changed twice, or was gone, while it was looked up.
                Err(err) => {
                    let code = err.code().map(|code| code.code().to_owned());
                    assert!(["0A000", "42P01", "XX000"].map(Some).contains(&code.as_deref()), "{err:?}");
                    failed.set(failed.get() + 1);
                }
            }
            match db.connection().query_one_as::<(i32, i32)>(sql, &[&id]).await {
                Ok(row) => assert_eq!(row, (id, id)),
                Err(actix_pg::Error::Row(_)) => {}
                Err(err) => assert!(err.code().is_some(), "{err:?}"),
            }
            read.set(read.get() + 2);
            rt::task::yield_now().await;
        }
    }));
    let ((), _) = futures_util::join!(changes, reads);
    println!("{} reads, {} failed, {:?}", read.get(), failed.get(), db.status().counters);
    assert!(shared(&db) > before && failed.get() * 2 < read.get());
    assert_whole_but(&db, 2).await;
}
