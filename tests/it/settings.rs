//! Settings of a request: in force on every session it borrows, and gone with it.

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::error::SqlState;
use actix_pg::{Config, Connection, Database, Error, Reset, Transaction};
use actix_web::{Responder, web};
use futures_util::future;
use test_support::{TestApp, backend, connect, database, eventually, sized};

/// Row-level security: a tenant sees its own notes. The owner of a table is above that, so statements run as `app`.
const SCHEMA: &str = "
    CREATE TABLE notes (tenant text NOT NULL, note text NOT NULL);
    INSERT INTO notes VALUES ('ada', 'engine'), ('grace', 'compiler');
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON notes USING (tenant = current_setting('app.tenant', true));
    DO $$ BEGIN CREATE ROLE app; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
    GRANT SELECT, INSERT ON notes TO app";

async fn tenants(config: impl FnOnce(Config) -> Config) -> (TestDatabase, Database) {
    let database = database().await;
    let db = Database::connect(config(sized(database.config(), 1))).await.expect("a connected database");
    db.connection().batch_execute(SCHEMA).await.expect("a schema");
    (database, db)
}

fn tenant(db: &Database, name: &str) -> Connection {
    let conn = db.connection();
    conn.set_config("role", "app").expect("a setting");
    conn.set_config("app.tenant", name).expect("a setting");
    conn
}

async fn notes(conn: &Connection) -> Vec<String> {
    conn.query_scalar("SELECT note FROM notes ORDER BY note", &[]).await.expect("the notes")
}

async fn setting(conn: &Connection, name: &str) -> Option<String> {
    let sql = "SELECT current_setting($1, true)";
    conn.query_one_scalar(sql, &[&name]).await.expect("a setting")
}

#[tokio::test]
async fn a_tenant_sees_its_own_rows_and_leaves_no_trace() {
    for reset in [Reset::Auto, Reset::Always, Reset::Never] {
        let (_database, db) = tenants(|config| Config { reset, ..config }).await;
        for _ in 0..3 {
            let ada = tenant(&db, "ada");
            assert_eq!(notes(&ada).await, ["engine"]);
            ada.release().unwrap();
            let grace = tenant(&db, "grace");
            assert_eq!(notes(&grace).await, ["compiler"]);
            grace.release().unwrap();
            // Applied again: the session may be another one, and has been somebody else's.
            assert_eq!(notes(&ada).await, ["engine"]);
            ada.release().unwrap();
            let nobody = db.connection();
            // Not NULL, as it was before.
            assert_eq!(setting(&nobody, "app.tenant").await.as_deref(), Some(""), "{reset:?}");
            assert_eq!(setting(&nobody, "role").await.as_deref(), Some("none"), "{reset:?}");
            nobody.release().unwrap();
        }
    }
}

#[tokio::test]
async fn a_setting_borrows_nothing_and_the_last_of_a_name_counts() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.set_config("app.tenant", "first").unwrap();
    conn.set_config("App.Tenant", "last").unwrap();
    conn.set_config("app.quoted", r#"it's "quoted" \ $1 ; --"#).unwrap();
    assert_eq!(db.status().used, 0);
    assert_eq!(setting(&conn, "app.tenant").await.as_deref(), Some("last"));
    assert_eq!(setting(&conn, "app.quoted").await.as_deref(), Some(r#"it's "quoted" \ $1 ; --"#));
    conn.set_config("app.tenant", "later").unwrap();
    assert_eq!(setting(&conn, "app.tenant").await.as_deref(), Some("later"));
    let client = conn.client().await.unwrap();
    let seen = client.query_one("SELECT current_setting('app.tenant')", &[]).await.unwrap();
    assert_eq!(seen.get::<_, String>(0), "later");
}

#[tokio::test]
async fn settings_are_in_force_for_concurrent_first_statements() {
    let (_database, db) = connect(1).await;
    for _ in 0..20 {
        let conn = db.connection();
        conn.set_config("app.tenant", "ada").unwrap();
        let all = future::join_all((0..10).map(|_| setting(&conn, "app.tenant"))).await;
        assert!(all.iter().all(|tenant| tenant.as_deref() == Some("ada")), "{all:?}");
    }
}

/// A rollback takes back what was set in the transaction, and not only there.
#[tokio::test]
async fn settings_survive_a_rollback() {
    let (_database, db) = tenants(|config| config).await;
    let ada = tenant(&db, "ada");
    let tx = ada.transaction().await.unwrap();
    let inner = tx.transaction().await.unwrap();
    ada.set_config("app.tenant", "grace").unwrap();
    assert_eq!(notes(&ada).await, ["compiler"]);
    drop(inner);
    assert_eq!(notes(&ada).await, ["compiler"], "after a rollback to a savepoint");
    tx.rollback().await.unwrap();
    assert_eq!(notes(&ada).await, ["compiler"], "after a rollback");

    ada.batch_execute("BEGIN").await.unwrap();
    ada.set_config("app.tenant", "ada").unwrap();
    assert_eq!(notes(&ada).await, ["engine"]);
    ada.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(notes(&ada).await, ["engine"], "after a rollback in SQL");

    let client = ada.client().await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    drop(client);
    ada.set_config("app.tenant", "grace").unwrap();
    assert_eq!(notes(&ada).await, ["compiler"]);
    let client = ada.client().await.unwrap();
    client.batch_execute("ROLLBACK").await.unwrap();
    drop(client);
    assert_eq!(notes(&ada).await, ["compiler"], "after a rollback through the client");
}

#[tokio::test]
async fn settings_are_in_force_in_every_run_of_a_transaction() {
    let (_database, db) = tenants(|config| config).await;
    let ada = tenant(&db, "ada");
    let lose = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$";
    let mut runs = 0;
    let seen = ada
        .transact(|tx: Transaction| {
            runs += 1;
            let first = runs == 1;
            async move {
                let notes = tx.query_scalar::<String>("SELECT note FROM notes", &[]).await?;
                if first {
                    tx.batch_execute(lose).await?;
                }
                Ok::<_, Error>(notes)
            }
        })
        .await;
    assert_eq!(seen.unwrap(), ["engine"]);
    assert_eq!(runs, 2);
}

#[tokio::test]
async fn what_cannot_be_a_setting_is_refused_at_once() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    for name in
        ["", ".", "app.", ".tenant", "app..tenant", "1app", "app tenant", "app.ten-ant", "a'b", "a\"b", "ä\0"]
    {
        assert!(
            matches!(conn.set_config(name, "x"), Err(Error::SettingName(refused)) if refused == name),
            "{name:?}"
        );
    }
    for name in ["client_encoding", "Client_Encoding"] {
        let err = conn.set_config(name, "LATIN1").expect_err("an encoding that the driver does not speak");
        assert!(err.to_string().contains("the driver speaks UTF-8 only"), "{err}");
    }
    assert_eq!(conn.query_one_scalar::<String>("SELECT 'grüße' || $1", &[&"ß"]).await.unwrap(), "grüßeß");
    let err = conn.set_config("app.tenant", "a\0b").unwrap_err();
    assert_eq!(err.to_string(), "the value of the setting \"app.tenant\" has a NUL in it");
    assert_eq!(setting(&conn, "app.tenant").await, None);
    conn.set_config("_app$1.Tenant_2", "x").unwrap();
    assert_eq!(setting(&conn, "_app$1.Tenant_2").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_keeps_every_statement_from_running() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int)").await.unwrap();
    conn.set_config("app.tenant", "ada").unwrap();
    conn.set_config("statement_timeout", "soon").unwrap();
    for _ in 0..2 {
        let err = conn.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap_err();
        assert!(matches!(err, Error::Setting(_)), "{err:?}");
        assert_eq!(err.code(), Some(&SqlState::INVALID_PARAMETER_VALUE));
        assert!(matches!(conn.transaction().await, Err(Error::Setting(_))));
        assert!(matches!(conn.client().await, Err(Error::Setting(_))));
    }
    conn.set_config("statement_timeout", "1min").unwrap();
    assert_eq!(conn.query_one_scalar::<i64>("SELECT count(*) FROM t", &[]).await.unwrap(), 0);
    assert_eq!(setting(&conn, "app.tenant").await.as_deref(), Some("ada"));
}

/// P4, and the tenants of real requests: one session serves them all.
#[actix_web::test]
async fn requests_of_two_tenants_never_see_each_other() {
    async fn notes_of(name: web::Path<String>, conn: Connection) -> actix_pg::Result<impl Responder> {
        conn.set_config("role", "app")?;
        conn.set_config("app.tenant", &name)?;
        let before = notes(&conn).await;
        conn.release()?;
        let after = notes(&conn).await;
        assert_eq!(before, after);
        let (later, db) = (conn.clone(), backend(&conn).await);
        actix_web::rt::spawn(async move {
            tokio::task::yield_now().await;
            assert_eq!(notes(&later).await, before, "detached from its request, on session {db}");
        });
        Ok(after.join(","))
    }
    let (_database, db) = tenants(|config| config).await;
    let app = TestApp::with_workers(4, &db, |config| {
        config.route("/{name}", web::get().to(notes_of));
    });
    let requests = (0..40).map(|n| app.get(["/ada", "/grace", "/nobody"][n % 3]));
    for (n, answer) in future::join_all(requests).await.into_iter().enumerate() {
        assert_eq!(answer.body, ["engine", "compiler", ""][n % 3]);
    }
    app.stop().await;
    eventually("all is returned", async || db.status().used == 0).await;
    assert_eq!(setting(&db.connection(), "app.tenant").await.as_deref(), Some(""));
}

/// What a policy has to reckon with.
#[tokio::test]
async fn a_custom_setting_is_empty_once_a_session_has_had_it() {
    let (_database, db) = connect(1).await;
    assert_eq!(setting(&db.connection(), "app.tenant").await, None);
    let conn = db.connection();
    conn.set_config("app.tenant", "7").unwrap();
    let id = "SELECT nullif(current_setting('app.tenant', true), '')::bigint";
    assert_eq!(conn.query_one_scalar::<Option<i64>>(id, &[]).await.unwrap(), Some(7));
    conn.release().unwrap();
    let next = db.connection();
    assert_eq!(setting(&next, "app.tenant").await.as_deref(), Some(""));
    next.query("SELECT current_setting('app.tenant', true)::bigint", &[]).await.unwrap_err();
    assert_eq!(next.query_one_scalar::<Option<i64>>(id, &[]).await.unwrap(), None);
}
