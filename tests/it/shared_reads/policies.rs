//! Policies of row-level security, which do more than the text of a read says.

use actix_pg::Connection;
use test_support::dsn_as;

use super::*;

/// Tables of which each has a policy of its own, for somebody who is not their owner.
const POLICIES: &str = "CREATE SEQUENCE draws;
    CREATE TABLE notes (said text);
    CREATE FUNCTION notes_it() RETURNS bool LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN INSERT INTO notes VALUES ('read'); RETURN true; END $$;
    CREATE TABLE written (id int); INSERT INTO written VALUES (1);
    CREATE TABLE drawn (id int); INSERT INTO drawn VALUES (1);
    CREATE TABLE marked (id int); INSERT INTO marked VALUES (1);
    CREATE TABLE locked (id int); INSERT INTO locked VALUES (1);
    CREATE TABLE owned (tenant text); INSERT INTO owned SELECT 'tenant ' || id FROM generate_series(0, 19) AS id;
    CREATE POLICY writes ON written USING (notes_it());
    CREATE POLICY draws ON drawn USING (nextval('draws') > 0);
    CREATE POLICY marks ON marked USING (set_config('app.mark', 'seen', false) = 'seen');
    CREATE POLICY locks ON locked USING (pg_try_advisory_lock_shared(7));
    CREATE POLICY owns ON owned USING (tenant = current_setting('app.tenant', true));
    CREATE VIEW mark AS SELECT coalesce(current_setting('app.mark', true), '') AS mark;
    ALTER TABLE written ENABLE ROW LEVEL SECURITY;
    ALTER TABLE drawn ENABLE ROW LEVEL SECURITY;
    ALTER TABLE marked ENABLE ROW LEVEL SECURITY;
    ALTER TABLE locked ENABLE ROW LEVEL SECURITY;
    ALTER TABLE owned ENABLE ROW LEVEL SECURITY";

/// A pool of a role that the policies hold for, and an observer that they do not hold for.
async fn under_policies(shared_reads: u32) -> (TestDatabase, Observer, Database) {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let role = format!("reader_{}", database.name());
    let grants = format!(
        "{POLICIES}; CREATE ROLE \"{role}\" LOGIN PASSWORD 'reads'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{role}\"; \
         GRANT USAGE ON SEQUENCE draws TO \"{role}\""
    );
    observer.connection().batch_execute(&grants).await.expect("policies");
    let config = Config::from_dsn(&dsn_as(&database, &role, "reads")).expect("a configuration");
    let slow = Duration::from_millis(100);
    let db = connected(Config { shared_reads, shared_reads_slow: slow, ..sized(config, 8) }).await;
    (database, observer, db)
}

async fn number(observer: &Observer, sql: &str) -> i64 {
    observer.connection().query_one_scalar(sql, &[]).await.expect("a number")
}

/// P26: what a policy writes and draws is written and drawn once for each read, and its reads are not shared.
#[actix_web::test]
async fn what_a_policy_writes_is_written_once() {
    let (_database, observer, db) = under_policies(2).await;
    until_shared(&db, ECHO, &[&1]).await;
    let (mut refused, texts) = (0, ["SELECT id FROM written", "SELECT id FROM drawn"]);
    for read in 1..=60_i64 {
        for sql in texts {
            let before = shared(&db);
            let id: i32 = db.connection().query_one_scalar(sql, &[]).await.expect("a row");
            assert_eq!(id, 1);
            refused += shared(&db) - before;
        }
        assert_eq!(number(&observer, "SELECT count(*) FROM notes").await, read);
        assert_eq!(number(&observer, "SELECT last_value FROM draws").await, read);
    }
    // Each was sent on a shared session once, where the server refused it.
    assert_eq!(refused, 2);
}

/// P26: at once, by many, too.
#[actix_web::test]
async fn what_a_policy_writes_is_written_once_by_each_of_many() {
    let (_database, observer, db) = under_policies(1).await;
    until_shared(&db, ECHO, &[&1]).await;
    let reads = (0..50).map(async |number| {
        for _ in 0..4 {
            echoes(&db, number).await;
            db.connection().query_one("SELECT id FROM written", &[]).await.expect("a row");
        }
    });
    join_all(reads).await;
    assert_eq!(number(&observer, "SELECT count(*) FROM notes").await, 200);
}

/// P26: a policy that looks at a setting shows each tenant his own, and nobody else anything.
#[actix_web::test]
async fn a_policy_shows_each_tenant_his_own() {
    let (_database, _observer, db) = under_policies(2).await;
    let reads = "SELECT tenant FROM owned";
    until_shared(&db, reads, &[]).await;
    let before = shared(&db);
    let tenants = (0..20).map(async |number: i32| {
        let name = format!("tenant {number}");
        for _ in 0..20 {
            let conn = db.connection();
            conn.set_config("app.tenant", &name).expect("a setting");
            let seen: Vec<String> = conn.query_scalar(reads, &[]).await.expect("rows");
            assert_eq!(seen, [name.as_str()]);
            drop(conn);
            let seen: Vec<String> = db.connection().query_scalar(reads, &[]).await.expect("rows");
            assert!(seen.is_empty(), "{seen:?}");
        }
    });
    join_all(tenants).await;
    assert!(shared(&db) - before > 100);
}

/// P26: what a policy sets and locks is gone within a second of the session's use.
#[actix_web::test]
async fn what_a_policy_sets_and_locks_is_gone_after_a_second() {
    let (_database, observer, db) = under_policies(1).await;
    let mark = async |conn: Connection| -> String {
        conn.query_one_scalar("SELECT mark FROM mark", &[]).await.expect("a mark")
    };
    until_shared(&db, "SELECT mark FROM mark", &[]).await;
    for sql in ["SELECT id FROM marked", "SELECT id FROM locked"] {
        until_shared(&db, sql, &[]).await;
    }
    let backend = backend_of(&observer, "SELECT id FROM locked").await.expect("the shared session");
    let locks = format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {backend}");
    assert_eq!(number(&observer, &locks).await, 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = shared(&db);
    assert_eq!((mark(db.connection()).await.as_str(), shared(&db)), ("", before + 1));
    assert_eq!(number(&observer, &locks).await, 0);
}
