//! A setting may be accepted while a library is not loaded, and its name refused from then on.

use actix_pg::{Config, Connection, Pooler, Result};
use test_support::{connect, connected, database, dsn_as, sized};

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

/// A name that was anybody's when it was set, and then became one that only a superuser may set, or reset by name.
#[tokio::test]
async fn a_name_that_became_a_superusers_is_nobody_elses() -> Result<()> {
    let (database, admin) = connect(1).await;
    let user = format!("plain_{}", database.name());
    let view = "CREATE TABLE runs (id int); GRANT ALL ON t, runs TO PUBLIC; \
        CREATE FUNCTION counted() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO runs VALUES (1) RETURNING 1'; \
        CREATE VIEW counting AS SELECT counted(); GRANT SELECT ON counting TO PUBLIC";
    let role = format!("CREATE ROLE \"{user}\" LOGIN PASSWORD 'plain'");
    admin.batch_execute(&format!("{SCHEMA}; {view}; {role}")).await?;
    let config = sized(Config { dsn: Some(dsn_as(&database, &user, "plain")), ..database.config() }, 1);
    for (others, tenant) in [(0, "grace"), (0, ""), (5, "grace"), (5, "")] {
        let db = connected(config.clone()).await;
        let conn = db.connection();
        conn.set_config("app.tenant", "ada")?;
        conn.set_config("plpgsql.variable_conflict", "use_column")?;
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
        next.query("SELECT * FROM counting", &[]).await?;
        assert_eq!(seen(&next).await?, tenant, "with {others} others");
        let conflict: String = next.query_one_scalar("SHOW plpgsql.variable_conflict", &[]).await?;
        assert_eq!(conflict, "error");
        drop(next);
        assert_eq!(seen(&db.connection()).await?, "", "with {others} others");
        assert_eq!(
            admin.query_scalar::<i32>("DELETE FROM runs RETURNING id", &[]).await?,
            [1],
            "it ran once"
        );
        db.close().await;
    }
    admin.batch_execute(&format!("DROP OWNED BY \"{user}\"; DROP ROLE \"{user}\"")).await
}

/// What was set by SQL after the login, because a pooler may not pass it on, is in force again behind the reset of the next one.
#[tokio::test]
async fn what_was_set_for_a_pooler_does_not_vanish() -> Result<()> {
    let database = database().await;
    let settings = [("work_mem".into(), "77MB".into())].into();
    let config = Config { pooler: Pooler::Session, server_settings: settings, ..database.config() };
    let db = connected(sized(config, 1)).await;
    for tenant in ["ada", ""] {
        let conn = db.connection();
        if !tenant.is_empty() {
            conn.set_config("app.tenant", tenant)?;
        }
        assert_eq!(seen(&conn).await?, tenant);
        let memory = conn.query_one_scalar::<String>("SELECT current_setting('work_mem')", &[]).await?;
        assert_eq!(memory, "77MB");
    }
    assert_eq!(db.status().counters.resets, 0);
    Ok(())
}
