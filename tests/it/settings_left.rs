//! The settings of a request stay on its session until the next borrower applies others. Nobody meets them.

use std::time::Duration;

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::types::ToSql;
use actix_pg::{Config, Connection, Database, Error, Result};
use futures_util::{FutureExt, TryStreamExt};
use test_support::{Proxy, database, eventually, sized};

const SEEN: &str = "SELECT coalesce(current_setting('app.tenant', true), '')";

/// A pool of one session, which every request therefore shares with those before it.
async fn one(config: impl FnOnce(Config) -> Config) -> (TestDatabase, Database) {
    let database = database().await;
    let db = Database::connect(config(sized(database.config(), 1))).await.expect("a connected database");
    let schema =
        "CREATE TABLE seen (tenant text NOT NULL DEFAULT coalesce(current_setting('app.tenant', true), ''))";
    db.connection().batch_execute(schema).await.expect("a schema");
    (database, db)
}

/// A request of a tenant that has come and gone.
async fn was_there(db: &Database, tenant: &str) {
    let conn = db.connection();
    conn.set_config("app.tenant", tenant).expect("a setting");
    let seen: String = conn.query_one_scalar(SEEN, &[]).await.expect("its tenant");
    assert_eq!(seen, tenant);
}

/// What the next rows of the table say.
async fn written(db: &Database) -> Vec<String> {
    let conn = db.connection();
    let rows = conn.query_scalar("DELETE FROM seen RETURNING tenant", &[]).await;
    rows.expect("the rows")
}

#[tokio::test]
async fn a_request_with_settings_costs_its_session_no_reset() {
    let (_database, db) = one(|config| config).await;
    was_there(&db, "ada").await;
    let before = db.status().counters;
    for round in 0..20 {
        was_there(&db, if round % 2 == 0 { "grace" } else { "barbara" }).await;
    }
    let after = db.status().counters;
    assert_eq!((after.resets, after.opened), (before.resets, before.opened));
}

/// P17, in every way in which a request can reach its session.
#[tokio::test]
async fn nobody_meets_the_settings_of_the_one_before() {
    let (_database, db) = one(|config| config).await;
    let conn = db.connection();

    was_there(&db, "query").await;
    assert_eq!(conn.query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "");
    conn.release().unwrap();

    was_there(&db, "a statement that is new").await;
    let new = "SELECT current_setting('app.tenant', true) || ''";
    assert_eq!(conn.query_one_scalar::<String>(new, &[]).await.unwrap(), "");
    conn.release().unwrap();

    was_there(&db, "query_raw").await;
    let rows: Vec<_> = conn.query_raw(SEEN, &[]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "");
    conn.release().unwrap();

    was_there(&db, "execute").await;
    conn.execute("INSERT INTO seen DEFAULT VALUES", &[]).await.unwrap();
    conn.release().unwrap();
    was_there(&db, "batch_execute").await;
    conn.batch_execute("INSERT INTO seen DEFAULT VALUES").await.unwrap();
    conn.release().unwrap();
    was_there(&db, "execute_many").await;
    let many = "INSERT INTO seen SELECT coalesce(current_setting('app.tenant', true), '') WHERE $1 > 0";
    let row: [&(dyn ToSql + Sync); 1] = [&1];
    conn.execute_many(many, [row]).await.unwrap();
    conn.release().unwrap();
    was_there(&db, "transaction").await;
    let tx = conn.transaction().await.unwrap();
    tx.execute("INSERT INTO seen DEFAULT VALUES", &[]).await.unwrap();
    tx.commit().await.unwrap();
    conn.release().unwrap();
    was_there(&db, "a transaction that begins with a read").await;
    let tx = conn.transaction().await.unwrap();
    assert_eq!(tx.query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "");
    tx.execute("INSERT INTO seen DEFAULT VALUES", &[]).await.unwrap();
    tx.commit().await.unwrap();
    conn.release().unwrap();
    assert_eq!(written(&db).await, [""; 5]);

    was_there(&db, "client").await;
    let client = conn.client().await.unwrap();
    assert_eq!(client.query_one(SEEN, &[]).await.unwrap().get::<_, &str>(0), "");
    drop(client);
    conn.release().unwrap();

    was_there(&db, "other settings").await;
    conn.set_config("app.other", "1").unwrap();
    assert_eq!(conn.query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "");
    conn.release().unwrap();

    was_there(&db, "a session of its own").await;
    let session = db.session().await.unwrap();
    assert_eq!(session.query_one(SEEN, &[]).await.unwrap().get::<_, &str>(0), "");
}

/// A rollback brings back what was in force before: never the settings of another request.
#[tokio::test]
async fn a_rollback_does_not_bring_them_back() {
    let (_database, db) = one(|config| config).await;
    for own in [None, Some("grace")] {
        let expected = own.unwrap_or_default();
        let request = || {
            let conn = db.connection();
            if let Some(own) = own {
                conn.set_config("app.tenant", own).unwrap();
            }
            conn
        };
        let seen = async |conn: &Connection| conn.query_one_scalar::<String>(SEEN, &[]).await;

        was_there(&db, "ada").await;
        let conn = request();
        conn.batch_execute("BEGIN").await.unwrap();
        assert_eq!(seen(&conn).await.unwrap(), expected);
        conn.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(seen(&conn).await.unwrap(), expected, "after a rollback in SQL");
        conn.release().unwrap();

        was_there(&db, "ada").await;
        let conn = request();
        let tx = conn.transaction().await.unwrap();
        assert!(tx.execute("INSERT INTO seen VALUES (NULL)", &[]).await.is_err());
        assert!(tx.commit().await.is_err());
        assert_eq!(seen(&conn).await.unwrap(), expected, "after a commit that failed");
        conn.release().unwrap();

        was_there(&db, "ada").await;
        let conn = request();
        let client = conn.client().await.unwrap();
        client.batch_execute("BEGIN; SELECT set_config('app.tenant', 'own', false); ROLLBACK").await.unwrap();
        drop(client);
        assert_eq!(seen(&conn).await.unwrap(), expected, "after a client");
        conn.release().unwrap();

        was_there(&db, "ada").await;
        let conn = request();
        let tx = conn.transaction().await.unwrap();
        conn.set_config("app.tenant", "inner").unwrap();
        assert_eq!(seen(&conn).await.unwrap(), "inner");
        assert!(tx.execute("INSERT INTO seen VALUES (NULL)", &[]).await.is_err());
        assert!(tx.commit().await.is_err());
        assert_eq!(seen(&conn).await.unwrap(), "inner", "set in a transaction whose commit failed");
    }
}

/// What is not a custom setting, too many of them, and what else was done take a reset.
#[tokio::test]
async fn what_the_next_one_may_not_be_able_to_undo_is_reset() {
    let (_database, db) = one(|config| config).await;
    was_there(&db, "ada").await;
    let resets = async |settings: &[&str], sql: &str| {
        let before = db.status().counters.resets;
        let conn = db.connection();
        for name in settings {
            conn.set_config(name, "1000").unwrap();
        }
        conn.query(sql, &[]).await.unwrap();
        conn.release().unwrap();
        let conn = db.connection();
        assert_eq!(conn.query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "");
        assert_eq!(
            conn.query_one_scalar::<String>("SELECT current_setting('work_mem')", &[]).await.unwrap(),
            "4MB"
        );
        drop(conn);
        db.status().counters.resets - before
    };
    assert_eq!(resets(&["app.tenant"], "SELECT 1").await, 0);
    assert_eq!(resets(&["app.tenant", "work_mem"], "SELECT 1").await, 1);
    assert_eq!(resets(&["app.tenant"], "SELECT set_config('work_mem', '1000', false)").await, 1);
    let many: Vec<_> = (0..9).map(|number| format!("app.n{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(resets(&many, "SELECT 1").await, 1);
    assert_eq!(resets(&many[..8], "SELECT 1").await, 0);
}

/// A hook of the application looks at a session before it is lent, or has set it up.
#[tokio::test]
async fn where_a_hook_could_meet_them_they_are_reset() {
    let database = database().await;
    let builder = || Database::builder(sized(database.config(), 1));
    let accepting = builder().before_acquire(|_| true).connect().await.unwrap();
    let set_up = builder()
        .after_connect(|client| client.batch_execute("SET app.tenant = 'nobody'").boxed())
        .connect()
        .await
        .unwrap();
    for (db, without) in [(accepting, ""), (set_up, "nobody")] {
        was_there(&db, "ada").await;
        assert_eq!(db.connection().query_one_scalar::<String>(SEEN, &[]).await.unwrap(), without);
        assert_eq!(db.status().counters.resets, 1);
    }
}

/// A name that the server refuses to set, it refuses to reset. Only who has set it sees that.
#[tokio::test]
async fn a_refused_setting_is_nobody_elses() {
    let (_database, db) = one(|config| config).await;
    for sent in [true, false] {
        was_there(&db, "ada").await;
        let conn = db.connection();
        if !sent {
            conn.query(SEEN, &[]).await.unwrap();
        }
        // Reserved for a language that is loaded.
        conn.batch_execute("DO $$ BEGIN END $$").await.unwrap();
        conn.set_config("plpgsql.nothing_of_this_name", "1").unwrap();
        if sent {
            assert!(matches!(conn.query(SEEN, &[]).await, Err(Error::Setting(_))));
        }
        conn.release().unwrap();
        assert_eq!(db.connection().query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "");
        was_there(&db, "grace").await;
    }
}

/// What was left is reset once, before any transaction: not in one of SQL's.
#[tokio::test]
async fn a_request_without_settings_is_not_disturbed_in_its_transaction() {
    let (_database, db) = one(|config| config).await;
    was_there(&db, "ada").await;
    let conn = db.connection();
    conn.batch_execute("BEGIN").await.unwrap();
    conn.batch_execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    assert!(conn.query("SELECT 1/0", &[]).await.is_err());
    conn.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(conn.query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "");
}

/// The list does not outlive its settings: a request that has reset them owes the next one nothing.
#[tokio::test]
async fn what_was_reset_is_forgotten() {
    let (_database, proxied, db) = {
        let database = database().await;
        let (proxy, config) = Proxy::to(&database).await;
        (database, proxy, Database::connect(sized(config, 1)).await.unwrap())
    };
    was_there(&db, "ada").await;
    db.query(SEEN, &[]).await.unwrap();
    db.execute("UPDATE pg_class SET relname = relname WHERE false", &[]).await.unwrap();
    let before = proxied.round_trips();
    db.execute("UPDATE pg_class SET relname = relname WHERE false", &[]).await.unwrap();
    assert_eq!(proxied.round_trips() - before, 1);
}

/// A dropped statement may have taken what was to be applied ahead of it along.
#[tokio::test]
async fn an_abandoned_request_leaves_nothing() {
    let (_database, db) = one(|config| config).await;
    for steps in 0..6 {
        was_there(&db, "ada").await;
        let conn = db.connection();
        if steps % 2 == 0 {
            conn.set_config("app.tenant", "grace").unwrap();
        }
        let mut query = Box::pin(conn.query_one_scalar::<String>(SEEN, &[]).fuse());
        for _ in 0..steps / 2 {
            let _ = tokio::time::timeout(Duration::ZERO, &mut query).await;
        }
        drop(query);
        drop(conn);
        let seen = db.connection().query_one_scalar::<String>(SEEN, &[]).await.unwrap();
        assert_eq!(seen, "", "after {steps} steps");
    }
}

/// P26: those who share it apply no settings.
#[tokio::test]
async fn a_session_that_is_shared_next_has_none() {
    let database = database().await;
    let db = Database::connect(Config { shared_reads: 1, ..sized(database.config(), 2) }).await.unwrap();
    let view = "CREATE VIEW shown AS SELECT coalesce(current_setting('app.tenant', true), '') AS tenant";
    db.connection().batch_execute(view).await.unwrap();
    let both = [db.connection(), db.connection()];
    for conn in &both {
        conn.set_config("app.tenant", "ada").unwrap();
        assert_eq!(conn.query_one_scalar::<String>(SEEN, &[]).await.unwrap(), "ada");
    }
    drop(both);
    eventually("it is shared", async || {
        let conn = db.connection();
        let shown = conn.query_one_scalar::<String>("SELECT tenant FROM shown", &[]).await.unwrap();
        assert_eq!(shown, "");
        db.status().counters.shared_reads > 10
    })
    .await;
}

/// The server may have lost what applies them, and says so once.
#[tokio::test]
async fn prepared_statements_that_are_gone_cost_the_session() -> Result<()> {
    let (_database, db) = one(|config| config).await;
    was_there(&db, "ada").await;
    was_there(&db, "ada").await;
    let conn = db.connection();
    conn.batch_execute("DEALLOCATE ALL").await?;
    conn.release()?;
    was_there(&db, "grace").await;
    // A function behind a view, of which the reader of SQL knows nothing.
    db.connection()
        .batch_execute(
            "CREATE FUNCTION forgets() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN 1; END $$; \
             CREATE VIEW forgetful AS SELECT forgets()",
        )
        .await?;
    was_there(&db, "ada").await;
    db.connection().query("SELECT * FROM forgetful", &[]).await?;
    let conn = db.connection();
    conn.set_config("app.tenant", "grace")?;
    match conn.query_one_scalar::<String>(SEEN, &[]).await {
        Ok(seen) => assert_eq!(seen, "grace"),
        Err(err) => assert!(matches!(err, Error::Setting(_)), "{err:?}"),
    }
    drop(conn);
    was_there(&db, "grace").await;
    Ok(())
}
