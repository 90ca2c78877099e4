//! A session goes back clean, or not at all (P17).

use std::time::Duration;

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Database, IsolationLevel, Reset};
use test_support::{Observer, Proxy, backend, connect, connected, database, dsn_as, eventually, pool, sized};

use crate::common::{STATE, assert_as_before, at_rest, soon, sqlstate, state};

async fn database_with_state() -> TestDatabase {
    // Roles belong to the server, which all tests share: only the first may create this one.
    let database = database().await;
    let conn = pool(&database, 1).await.connection();
    let _ = conn.batch_execute("CREATE ROLE visitor").await;
    conn.release().expect("nothing runs");
    conn.batch_execute(STATE.split_once("CREATE ROLE visitor;").expect("a role").1).await.expect("a schema");
    database
}

/// Runs something as one borrower, and compares what the next one finds with what the first one did.
async fn leaves_nothing(db: &Database, sql: &str) {
    let conn = db.connection();
    let (before, same) = (state(&conn).await.expect("a state"), backend(&conn).await);
    conn.batch_execute(sql).await.unwrap_or_else(|err| panic!("{sql}: {err:?}"));
    conn.release().expect("nothing runs");
    let after = state(&conn).await.unwrap_or_else(|err| panic!("after {sql}: {err:?}"));
    assert_as_before(&after, &before, sql);
    assert_eq!(backend(&conn).await, same, "{sql} cost the session");
}

/// Each alone: what one of them leaves must not be cleaned only because another was seen.
const TRACES: &[&str] = &[
    "BEGIN",
    "BEGIN; INSERT INTO public.written VALUES ('never')",
    "START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY",
    "BEGIN; SAVEPOINT here",
    "SET search_path = pg_temp",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET default_transaction_read_only = on",
    "SET app.tenant = '42'",
    "SET statement_timeout = '1h'",
    "SET standard_conforming_strings = off",
    "SET client_encoding = 'UTF8'; SET work_mem = '1MB'",
    "SELECT set_config('app.tenant', '42', false)",
    "BEGIN; SELECT set_config('app.tenant', '42', true)",
    "SET ROLE visitor",
    "SET SESSION AUTHORIZATION visitor",
    "SET SESSION AUTHORIZATION visitor; SET ROLE visitor; SET search_path = nowhere",
    "BEGIN; SET LOCAL ROLE visitor",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_lock_shared(1), pg_advisory_lock(2, 3)",
    "BEGIN; SELECT pg_advisory_xact_lock(1)",
    "LISTEN news",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
    "BEGIN; DECLARE lost CURSOR FOR SELECT 1",
    "CREATE TEMP TABLE scratch (id int)",
    "CREATE TABLE pg_temp.scratch AS SELECT 1",
    "SELECT 1 AS id INTO TEMP scratch",
    "CREATE TEMP VIEW scratch AS SELECT 1",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE pg_temp.pair AS (a int, b int)",
    "PREPARE mine AS SELECT 1",
    "PREPARE \"with \"\"quotes\" AS SELECT 1",
    "DO $$ BEGIN PERFORM set_config('app.tenant', '42', false); END $$",
    "SET application_name = 'somebody else'",
    "SET session_replication_role = replica",
];

#[tokio::test]
async fn a_session_goes_back_without_what_its_user_left_on_it() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    for sql in TRACES {
        leaves_nothing(&db, sql).await;
    }
    let conn = db.connection();
    let rows: i64 = conn.query_one_scalar("SELECT count(*) FROM public.written", &[]).await.expect("a count");
    assert_eq!(rows, 0, "a transaction was committed that nobody committed");
    drop(conn);
    at_rest(&db, &Observer::of(&database).await).await;
}

#[tokio::test]
async fn what_several_statements_left_is_cleaned_in_one_go() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    leaves_nothing(
        &db,
        "SET search_path = pg_temp; CREATE TEMP TABLE scratch (id int); PREPARE mine AS SELECT 1; LISTEN news; \
         SELECT pg_catalog.pg_advisory_lock(1); DECLARE kept CURSOR WITH HOLD FOR SELECT 1; SET app.tenant = '42'; \
         SET SESSION AUTHORIZATION visitor; BEGIN",
    )
    .await;
}

#[tokio::test]
async fn what_was_drawn_from_a_sequence_is_forgotten() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE SEQUENCE numbers").await.expect("a sequence");
    let drawn: i64 = conn.query_one_scalar("SELECT nextval('numbers')", &[]).await.expect("a number");
    assert_eq!(drawn, 1);
    conn.release().expect("nothing runs");
    let err = conn.query("SELECT currval('numbers')", &[]).await.expect_err("nothing was drawn here");
    assert_eq!(sqlstate(&err), "55000");
}

#[tokio::test]
async fn a_failed_transaction_is_rolled_back() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    let (before, same) = (state(&conn).await.expect("a state"), backend(&conn).await);
    conn.batch_execute("BEGIN; INSERT INTO public.written VALUES ('never')").await.expect("a transaction");
    conn.query("SELECT 1 / 0", &[]).await.expect_err("a failed statement");
    assert_eq!(sqlstate(&conn.query("SELECT 1", &[]).await.expect_err("a failed transaction")), "25P02");
    conn.release().expect("nothing runs");
    assert_as_before(&state(&conn).await.expect("a session"), &before, "after a reset");
    assert_eq!(backend(&conn).await, same);
}

#[tokio::test]
async fn what_was_done_with_the_client_itself_is_cleaned_too() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    let (before, same) = (state(&conn).await.expect("a state"), backend(&conn).await);
    let client = conn.client().await.expect("a client");
    client
        .batch_execute("BEGIN; SET app.tenant = '42'; LISTEN news; CREATE TEMP TABLE t ()")
        .await
        .expect("traces");
    drop(client);
    conn.release().expect("nothing runs");
    assert_as_before(&state(&conn).await.expect("a session"), &before, "after a reset");
    assert_eq!(backend(&conn).await, same);
}

/// Where `plpgsql` is revoked, as some administrators do.
#[tokio::test]
async fn a_reset_needs_no_procedural_language() {
    let database = database().await;
    let observer = Observer::of(&database).await.connection();
    let user = format!("plain_{}", database.name());
    observer
        .batch_execute(&format!(
            "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; CREATE ROLE \"{user}\" LOGIN PASSWORD 'plain'"
        ))
        .await
        .expect("a role without the language");
    let dsn = Some(dsn_as(&database, &user, "plain"));
    let db = connected(Config { dsn, ..sized(database.config(), 1) }).await;
    let conn = db.connection();
    conn.batch_execute("DO $$ BEGIN NULL; END $$").await.expect_err("a language that may not be used");
    let same = backend(&conn).await;
    for sql in ["SET search_path = nowhere", "PREPARE mine AS SELECT 1; PREPARE \"your \"\"s\" AS SELECT 1"] {
        conn.batch_execute(sql).await.expect(sql);
        conn.release().expect("nothing runs");
        assert_eq!(backend(&conn).await, same, "{sql} cost the session");
        let prepared = "SELECT count(*) FROM pg_prepared_statements WHERE from_sql";
        assert_eq!(conn.query_one_scalar::<i64>(prepared, &[]).await.expect("a count"), 0);
        let path: String = conn.query_one_scalar("SHOW search_path", &[]).await.expect("a path");
        assert_ne!(path, "nowhere");
    }
    drop(conn);
    db.close().await;
    observer.batch_execute(&format!("DROP ROLE \"{user}\"")).await.expect("no role");
}

#[tokio::test]
async fn cached_statements_survive_a_reset() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    let protocol =
        "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql AND statement = 'SELECT 4711'";
    conn.query("SELECT 4711", &[]).await.expect("a statement");
    conn.batch_execute("PREPARE mine AS SELECT 1").await.expect("a trace");
    conn.release().expect("nothing runs");
    assert_eq!(conn.query_one_scalar::<i64>(protocol, &[]).await.expect("a count"), 1);
    conn.query("SELECT 4711", &[]).await.expect("the same statement");
    assert_eq!(
        conn.query_one_scalar::<i64>(protocol, &[]).await.expect("a count"),
        1,
        "it was prepared anew"
    );
    conn.query("EXECUTE mine", &[]).await.expect_err("it was SQL's, and is gone");
}

#[tokio::test]
async fn a_session_whose_statements_were_thrown_away_is_not_lent_again() {
    let names = "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 4711'";
    for sql in ["DISCARD ALL", "DEALLOCATE ALL", "DEALLOCATE {}"] {
        let database = database().await;
        let db = pool(&database, 1).await;
        let conn = db.connection();
        conn.query("SELECT 4711", &[]).await.expect("a statement");
        let name: String = conn.query_one_scalar(names, &[]).await.expect("its name");
        let sql = &sql.replace("{}", &name);
        let first = backend(&conn).await;
        conn.batch_execute(sql).await.expect(sql);
        conn.release().expect("nothing runs");
        assert_ne!(backend(&conn).await, first, "{sql}");
        conn.query("SELECT 4711", &[]).await.expect("a statement");
    }
}

#[tokio::test]
async fn a_known_clean_session_is_not_reset() {
    let database = database_with_state().await;
    let db = pool(&database, 1).await;
    let conn = db.connection();
    conn.batch_execute("CREATE FUNCTION quietly() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.tenant', '42', false) $$; \
        CREATE VIEW quiet AS SELECT quietly() AS tenant").await.expect("a view with side effects");
    conn.release().expect("nothing runs");
    conn.query("SELECT tenant FROM quiet", &[]).await.expect("a trace that no reader of SQL can see");
    conn.release().expect("nothing runs");
    let tenant: Option<String> =
        conn.query_one_scalar("SELECT current_setting('app.tenant', true)", &[]).await.expect("a setting");
    assert_eq!(tenant.as_deref(), Some("42"), "then `auto` sends a reset that costs a round trip, after all");
}

/// What the documentation of `reset = "auto"` says it cannot see, and `always` is for.
#[tokio::test]
async fn always_cleans_what_no_reader_of_sql_can_see() {
    let database = database_with_state().await;
    let db = connected(Config { reset: Reset::Always, ..sized(database.config(), 1) }).await;
    let conn = db.connection();
    conn.batch_execute(
        "CREATE FUNCTION quietly() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.tenant', '42', false) $$; \
         CREATE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM quietly(); RETURN NEW; END $$; \
         CREATE VIEW quiet AS SELECT quietly() AS tenant; \
         CREATE TABLE loud (id int, tenant text DEFAULT quietly()); \
         CREATE TABLE triggered (id int); \
         CREATE TRIGGER quiet BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION on_insert(); \
         CREATE FUNCTION plus(point, text) RETURNS text LANGUAGE sql AS $$ SELECT quietly() $$; \
         CREATE OPERATOR + (LEFTARG = point, RIGHTARG = text, FUNCTION = plus)",
    )
    .await
    .expect("side effects");
    conn.release().expect("nothing runs");
    let (before, same) = (state(&conn).await.expect("a state"), backend(&conn).await);
    for sql in [
        "SELECT tenant FROM quiet",
        "INSERT INTO loud (id) VALUES (1)",
        "INSERT INTO triggered VALUES (1)",
        "SELECT point(1, 1) + 'x'::text",
    ] {
        conn.query(sql, &[]).await.expect(sql);
        assert_ne!(
            state(&conn).await.expect("a state").split(" transaction ").next(),
            before.split(" transaction ").next(),
            "{sql} has no effect to clean"
        );
        conn.release().expect("nothing runs");
        assert_as_before(&state(&conn).await.expect("a session"), &before, sql);
    }
    assert_eq!(backend(&conn).await, same);
}

#[tokio::test]
async fn never_rolls_back_and_does_no_more() {
    let database = database_with_state().await;
    let db = connected(Config { reset: Reset::Never, ..sized(database.config(), 1) }).await;
    let conn = db.connection();
    conn.batch_execute("SET app.tenant = '42'; BEGIN; INSERT INTO public.written VALUES ('never')")
        .await
        .expect("traces");
    conn.release().expect("nothing runs");
    let state = state(&conn).await.expect("a session");
    assert!(state.ends_with("transaction false"), "{state}");
    let rows: i64 = conn.query_one_scalar("SELECT count(*) FROM public.written", &[]).await.expect("a count");
    assert_eq!(rows, 0);
    conn.release().expect("nothing runs");
    conn.batch_execute("SET app.tenant = '43'").await.expect("a trace");
    conn.release().expect("nothing runs");
    let tenant: String =
        conn.query_one_scalar("SELECT current_setting('app.tenant')", &[]).await.expect("a setting");
    assert_eq!(tenant, "43");
}

#[tokio::test]
async fn a_session_that_cannot_be_reset_is_discarded() {
    let database = database_with_state().await;
    let observer = Observer::of(&database).await;
    let config = Config { reset_timeout: Duration::from_millis(500), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    // Refused: a time-out so short that the reset runs into it.
    let first = backend(&conn).await;
    conn.batch_execute(
        "CREATE TEMP TABLE t AS SELECT generate_series(1, 1000); SET lock_timeout = 1; \
        SET statement_timeout = 1",
    )
    .await
    .expect("traces");
    conn.release().expect("nothing runs");
    // Never answered: another session holds a lock that dropping the table needs.
    let second = backend(&conn).await;
    conn.batch_execute("CREATE TEMP TABLE kept (id int)").await.expect("a temporary table");
    let other = observer.connection();
    let schema: String = conn
        .query_one_scalar("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'kept'", &[])
        .await
        .expect("a schema");
    other
        .batch_execute(&format!("BEGIN; LOCK TABLE {schema}.kept IN ACCESS SHARE MODE"))
        .await
        .expect("a lock");
    conn.release().expect("nothing runs");
    let third = soon("a borrow after a reset that hangs", backend(&conn)).await;
    assert_ne!(third, second, "lent with a reset on its way");
    let _ = first;
    other.batch_execute("ROLLBACK").await.expect("no lock");
    drop(conn);
    other.release().expect("nothing runs");
    eventually("one backend is left", || async { observer.backends().await == 1 }).await;
    at_rest(&db, &observer).await;
}

/// Conformance case 25, with the role that the reference loses.
#[tokio::test]
async fn what_the_configuration_says_survives_a_reset() {
    let database = database_with_state().await;
    pool(&database, 1)
        .await
        .connection()
        .batch_execute("GRANT CREATE ON SCHEMA public TO visitor")
        .await
        .expect("a grant");
    let settings =
        [("role", "visitor"), ("search_path", "app, public"), ("app.tenant", "main"), ("work_mem", "8MB")];
    for reset in [Reset::Auto, Reset::Always] {
        let db = connected(Config {
            server_settings: settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            isolation_level: Some(IsolationLevel::RepeatableRead),
            statement_timeout: Some(Duration::from_secs(77)),
            application_name: Some("orders".into()),
            reset,
            ..sized(database.config(), 1)
        })
        .await;
        let conn = db.connection();
        let look = "SELECT concat_ws(' ', current_user, current_setting('role'), current_setting('search_path'), \
            current_setting('app.tenant'), current_setting('work_mem'), current_setting('statement_timeout'), \
            current_setting('default_transaction_isolation'), current_setting('application_name'))";
        let configured = "visitor visitor app, public main 8MB 77s repeatable read orders";
        assert_eq!(conn.query_one_scalar::<String>(look, &[]).await.expect("a look"), configured);
        for sql in [
            "SET ROLE postgres; SET search_path = nowhere; SET app.tenant = 'x'; SET work_mem = '1MB'; SET statement_timeout = 0; \
             SET default_transaction_isolation = serializable; SET application_name = 'x'",
            "SET SESSION AUTHORIZATION visitor",
            "RESET ROLE; RESET SESSION AUTHORIZATION",
            "RESET ALL",
        ] {
            let same = backend(&conn).await;
            conn.batch_execute(sql).await.expect(sql);
            conn.release().expect("nothing runs");
            assert_eq!(
                conn.query_one_scalar::<String>(look, &[]).await.expect("a look"),
                configured,
                "{sql}"
            );
            assert_eq!(backend(&conn).await, same, "{sql}");
        }
    }
}

/// Conformance case 19.
#[tokio::test]
async fn a_session_that_died_while_it_idled_is_not_noticed() {
    let (database, db) = connect(2).await;
    let observer = Observer::of(&database).await;
    for _ in 0..20 {
        let conn = db.connection();
        let dead = backend(&conn).await;
        drop(conn);
        observer.terminate(dead).await;
        // The end of the session has to reach this side; its driver's end is what `open` of the server stands for.
        eventually("the backend is gone", || async { observer.backends().await == 0 }).await;
        let next = soon("a borrow", async {
            loop {
                match db.connection().query_one_scalar::<i32>("SELECT pg_backend_pid()", &[]).await {
                    Ok(next) => return next,
                    Err(err) => assert!(sqlstate(&err) == "57P01" || err.code().is_none(), "{err:?}"),
                }
            }
        })
        .await;
        assert_ne!(next, dead);
    }
    at_rest(&db, &observer).await;
}

/// Conformance case 19.
#[tokio::test]
async fn a_session_that_died_while_it_was_held_is_an_error_and_release_brings_another() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let dead = backend(&conn).await;
    observer.terminate(dead).await;
    let err = conn.query("SELECT 1", &[]).await.expect_err("a lost session");
    assert_eq!(actix_web::ResponseError::status_code(&err), 503, "{err:?}");
    let err = conn.query("SELECT 1", &[]).await.expect_err("still lost");
    assert_eq!(actix_web::ResponseError::status_code(&err), 503, "{err:?}");
    conn.release().expect("nothing runs");
    assert_ne!(soon("a borrow", backend(&conn)).await, dead);
    drop(conn);
    at_rest(&db, &observer).await;
}

/// Conformance case 19.
#[tokio::test]
async fn a_session_that_died_under_a_statement_is_an_error_and_the_pool_heals() {
    let (database, db) = connect(1).await;
    let observer = Observer::of(&database).await;
    let conn = db.connection();
    let dead = backend(&conn).await;
    let (ended, ()) = tokio::join!(conn.query("SELECT pg_sleep(600)", &[]), async {
        eventually("it runs", || async { observer.running("pg_sleep(600)").await == 1 }).await;
        observer.terminate(dead).await;
    });
    let err = ended.expect_err("a lost session");
    assert_eq!(actix_web::ResponseError::status_code(&err), 503, "{err:?}");
    conn.release().expect("nothing runs");
    assert_ne!(soon("a borrow", backend(&conn)).await, dead);
    drop(conn);
    at_rest(&db, &observer).await;
}

/// A refused statement has ended: nothing is cancelled for it, and the transaction around it stays what it was.
#[tokio::test]
async fn an_error_of_the_server_costs_no_cancel_request() {
    let postgres = Postgres::builder().setting("log_connections", "on").start().expect("a server");
    let database = postgres.database().await.expect("a database");
    let proxy = Proxy::before(postgres.port()).await;
    let config = Config { dsn: Some(proxy.dsn(database.dsn())), ..sized(database.config(), 1) };
    let db = connected(config).await;
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table");
    conn.execute("INSERT INTO t VALUES (1)", &[]).await.expect("a row");
    // From here on no other connection can be made, so a cancel request would fail, and the session with it.
    proxy.refuse();
    for _ in 0..5 {
        let err = conn.execute("INSERT INTO t VALUES (1)", &[]).await.expect_err("a duplicate");
        assert_eq!(sqlstate(&err), "23505");
        let err = conn.query("SELECT 1 / (id - 1) FROM t", &[]).await.expect_err("a division by zero");
        assert_eq!(sqlstate(&err), "22012");
        let err = conn.batch_execute("SELECT 1 / 0").await.expect_err("a division by zero");
        assert_eq!(sqlstate(&err), "22012");
    }
    assert_eq!(proxy.refused(), 0, "something else was connected");
}
