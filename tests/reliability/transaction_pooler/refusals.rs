//! What needs a session is refused, with an error that says why, before anything is sent.

use actix_pg::{Config, Database, Error, Pooler, Reset};
use futures_util::TryStreamExt;
use futures_util::future::{join, try_join_all};
use test_support::{connected, log};

use super::world::World;

fn is_refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> bool {
    let Err(err @ Error::NeedsSession(_)) = answer else { return false };
    err.to_string().contains("`pooler = \"transaction\"`")
}

#[tokio::test]
async fn what_needs_a_session_is_refused() {
    let Some(world) = World::with("").await else { return };
    let db = world.pool().await;
    let conn = db.connection();
    for sql in [
        "LISTEN jobs",
        "SET work_mem = '1MB'",
        "SET ROLE NONE",
        "RESET ALL",
        "PREPARE p AS SELECT 1",
        "SELECT pg_advisory_lock(1)",
        "SELECT set_config('app.tenant', '1', false)",
        "CREATE TEMP TABLE t (id int)",
        "BEGIN",
        "COMMIT",
    ] {
        assert!(is_refused(conn.execute(sql, &[]).await), "{sql}");
        assert!(is_refused(conn.query(sql, &[]).await), "{sql}");
        assert!(is_refused(conn.batch_execute(sql).await), "{sql}");
        assert!(is_refused(conn.batch_execute(&format!("SELECT 1; {sql}")).await), "{sql}");
        assert!(conn.batch(&[("SELECT 1", &[]), (sql, &[])]).await.is_err(), "{sql}");
    }
    assert!(is_refused(conn.client().await));
    assert!(is_refused(conn.query_raw("SELECT 1", &[]).await.map(drop)));
    assert!(is_refused(conn.copy_out("COPY (SELECT 1) TO STDOUT").await.map(drop)));
    assert!(is_refused(conn.copy_in("COPY written FROM STDIN").await.map(drop)));
    assert!(is_refused(db.session().await.map(drop)));
    assert!(is_refused(db.listen(["jobs"]).await.map(drop)));
    // The handle goes on, and in a transaction there is a backend to hold.
    let tx = conn.transaction().await.expect("a transaction");
    let rows = tx.query_raw("SELECT generate_series(1, 3)", &[]).await.expect("rows");
    assert_eq!(rows.try_collect::<Vec<_>>().await.expect("all").len(), 3);
    tx.batch_execute("CREATE TEMP TABLE t (id int); SET LOCAL work_mem = '1MB'; INSERT INTO t VALUES (1)")
        .await
        .expect("a temporary table");
    assert!(is_refused(tx.execute("SET work_mem = '1MB'", &[]).await));
    assert_eq!(tx.query_one_scalar::<i32>("SELECT id FROM t", &[]).await.expect("a row"), 1);
    tx.commit().await.expect("a commit");
    drop(conn);
    db.close().await;
}

/// What is asked for in a transaction, and would be sent behind its end, is not sent: nobody learns what number another has drawn.
#[tokio::test]
async fn what_comes_too_late_for_its_transaction_is_refused() {
    let schema =
        "CREATE TABLE public.drawn (id serial); GRANT ALL ON public.drawn, public.drawn_id_seq TO PUBLIC";
    let Some(world) = World::with(schema).await else { return };
    let db = world.pool().await;
    for way in 0..4 {
        let others: Vec<_> = (0..8).map(|_| db.connection()).collect();
        let draw = others.iter().map(|other| other.execute("INSERT INTO public.drawn DEFAULT VALUES", &[]));
        try_join_all(draw).await.expect("a number on each server connection");
        drop(others);
        let conn = db.connection();
        let tx = conn.transaction().await.expect("a transaction");
        tx.execute("SELECT 1", &[]).await.expect("an answer");
        let late = async {
            match way {
                0 => conn.query("SELECT lastval()", &[]).await.map(drop),
                1 => conn.execute("CREATE TEMP TABLE late (id int)", &[]).await.map(drop),
                2 => conn.batch_execute("SELECT 1; SELECT lastval()").await,
                _ => conn.batch(&[("SELECT 1", &[]), ("SELECT lastval()", &[])]).await.map(drop),
            }
        };
        let (committed, late) = join(tx.commit(), late).await;
        committed.expect("a commit");
        let late = match late {
            Err(Error::Batch { index: 1, source }) => Err(*source),
            late => late,
        };
        assert!(is_refused(late), "way {way}");
        assert_eq!(conn.query_one_scalar::<i32>("SELECT 1", &[]).await.expect("an answer"), 1);
    }
    db.close().await;
}

/// A constraint that waits for the end of the transaction is checked, and its trigger sees the settings of the request.
#[tokio::test]
async fn a_deferred_constraint_is_checked_with_the_settings_of_its_statement() {
    let schema = "
        CREATE TABLE public.ids (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, tenant text);
        CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN UPDATE public.ids SET tenant = current_setting('app.tenant') WHERE id = NEW.id; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER stamp AFTER INSERT ON public.ids DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.stamp();
        CREATE FUNCTION public.given(id int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT id';
        GRANT ALL ON public.ids TO PUBLIC";
    let Some(world) = World::with(schema).await else { return };
    let db = world.pool().await;
    let conn = db.connection();
    conn.set_config("app.tenant", "seven").expect("a setting");
    for sql in ["INSERT INTO public.ids VALUES (1)", "INSERT INTO public.ids VALUES (public.given(2))"] {
        conn.execute(sql, &[]).await.expect("a row");
        let twice = conn.execute(sql, &[]).await.expect_err("twice");
        assert_eq!(twice.code().map(|code| code.code()), Some("23505"), "{twice:?}");
    }
    let tx = conn.transaction().await.expect("a transaction");
    tx.execute("INSERT INTO public.ids VALUES (public.given(2))", &[]).await.expect("deferred");
    assert!(matches!(tx.commit().await, Err(Error::CommitRefused(_))));
    let tenants: Vec<String> =
        conn.query_scalar("SELECT tenant FROM public.ids ORDER BY id", &[]).await.expect("rows");
    assert_eq!(tenants, ["seven", "seven"]);
    drop(conn);
    db.close().await;
}

/// Each pair that cannot hold what it promises is refused before anything is connected.
#[tokio::test]
async fn options_that_cannot_be_kept_are_refused_by_name() {
    let base = Config { host: "127.0.0.1".into(), port: 1, pooler: Pooler::Transaction, ..Config::default() };
    for (config, option) in [
        (Config { shared_reads: 1, ..base.clone() }, "shared_reads"),
        (Config { reset: Reset::Never, ..base.clone() }, "reset"),
        (
            Config { statement_timeout: Some(std::time::Duration::from_secs(1)), ..base.clone() },
            "statement_timeout",
        ),
        (
            Config { isolation_level: Some(actix_pg::IsolationLevel::Serializable), ..base.clone() },
            "isolation_level",
        ),
        (
            Config { server_settings: [("search_path".into(), "app".into())].into(), ..base.clone() },
            "server_settings",
        ),
        (
            Config { driver_options: [("options".into(), "-c geqo=off".into())].into(), ..base.clone() },
            "options",
        ),
    ] {
        let Err(Error::Config(err)) = Database::connect(config).await else { panic!("{option}") };
        let text = err.to_string();
        assert!(text.contains(option) && text.contains("pooler"), "{text}");
    }
    let dsn = "postgres://127.0.0.1:1/shop?pooler=transaction".to_owned();
    let of_dsn = Config { dsn: Some(dsn), shared_reads: 1, ..Config::default() };
    let Err(Error::Config(err)) = Database::connect(of_dsn).await else { panic!("a DSN") };
    assert_eq!(err.option().name(), "shared_reads");
    let hooked = Database::builder(base).after_connect(|_| Box::pin(async { Ok(()) }));
    let Err(Error::Config(err)) = hooked.connect().await else { panic!("a hook") };
    assert!(err.to_string().contains("after_connect"), "{err}");
}

/// With `session`, what the start-up parameters cannot carry is set by SQL, and again after a reset.
#[tokio::test]
async fn settings_reach_the_server_through_a_pooler_in_session_mode() {
    use crate::bouncer::{Bouncer, Clients};
    let database = test_support::database().await;
    let mode = "pool_mode = session\ndefault_pool_size = 5";
    let Some(bouncer) = Bouncer::start(database.dsn(), Clients::Plain, mode).await else { return };
    let config = Config {
        server_settings: [("search_path".into(), "a, \"b\\'c\"".into())].into(),
        statement_timeout: Some(std::time::Duration::from_secs(77)),
        application_name: Some("shop".into()),
        ..bouncer.config(&database, Pooler::Session, 1)
    };
    let refused = Database::connect(Config { pooler: Pooler::None, ..config.clone() }).await;
    assert!(matches!(&refused, Err(Error::Connect(_))), "{refused:?}");
    let db = connected(config).await;
    let sql = "SELECT concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'), \
               current_setting('application_name'), current_setting('work_mem'))";
    let before: String = db.query_one_scalar(sql, &[]).await.expect("settings");
    assert!(before.starts_with("a, \"b\\'c\"|77s|shop|"), "{before}");
    // Leaves something behind, so that the session is reset.
    db.batch_execute(
        "SET search_path = x; SET statement_timeout = 0; SET application_name = 'y'; SET work_mem = '1MB'",
    )
    .await
    .expect("settings");
    assert_eq!(db.query_one_scalar::<String>(sql, &[]).await.expect("settings"), before);
    db.close().await;
}

#[tokio::test]
async fn a_transaction_pooler_that_is_not_declared_is_warned_of() {
    let Some(world) = World::with("").await else { return };
    let warnings = || {
        log::ours_with(&["WARN", "pooler = \\\"transaction\\\""]).len()
            + log::ours_with(&["WARN", "pooler = \"transaction\""]).len()
    };
    let before = warnings();
    let undeclared = Config { pooler: Pooler::None, pool_min_size: 2, ..world.config() };
    let db = connected(undeclared.clone()).await;
    assert_eq!(warnings(), before + 1);
    db.close().await;
    let db = connected(Config { pooler: Pooler::Transaction, ..undeclared.clone() }).await;
    db.close().await;
    let direct = Config { pool_min_size: 2, ..test_support::sized(world.database.config(), 4) };
    let db = connected(Config { pool_min_size: 2, ..direct }).await;
    db.close().await;
    assert_eq!(warnings(), before + 1);
}
