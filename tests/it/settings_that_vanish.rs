//! A setting may be accepted while a library is not loaded, and its name refused from then on.

use actix_pg::{Connection, Result};
use test_support::{connect, connected, sized};

const SEEN: &str = "SELECT coalesce(current_setting('app.tenant', true), '')";

/// Its trigger loads a language, of which the reader of SQL sees nothing.
const SCHEMA: &str = "
    CREATE TABLE t (id int);
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()";

async fn seen(conn: &Connection) -> Result<String> {
    conn.query_one_scalar(SEEN, &[]).await
}

/// The server removes a setting whose name becomes reserved. The next request is not told that it cannot be reset.
#[tokio::test]
async fn a_name_that_was_reserved_meanwhile_is_nobody_elses() -> Result<()> {
    let (database, db) = connect(1).await;
    db.connection().batch_execute(SCHEMA).await?;
    db.close().await;
    for (others, tenant) in [(0, "grace"), (0, ""), (5, "grace"), (5, "")] {
        let db = connected(sized(database.config(), 1)).await;
        let conn = db.connection();
        conn.set_config("app.tenant", "ada")?;
        conn.set_config("plpgsql.nothing_of_this_name", "1")?;
        for other in 0..others {
            conn.set_config(&format!("app.other{other}"), "1")?;
        }
        conn.execute("INSERT INTO t VALUES (1)", &[]).await?;
        drop(conn);
        assert_eq!(db.status().counters.resets, 0, "its settings stay");
        let next = db.connection();
        if !tenant.is_empty() {
            next.set_config("app.tenant", tenant)?;
        }
        assert_eq!(seen(&next).await?, tenant, "with {others} others");
        drop(next);
        assert_eq!(seen(&db.connection()).await?, "", "with {others} others");
        db.close().await;
    }
    Ok(())
}
