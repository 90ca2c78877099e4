//! Whoever reads the log may panic, in whatever task of ours: no session that is not clean gets through, and no place is lost.
//!
//! A process has one log, so this is a binary of its own.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Connection, Database};
use futures_util::future::join_all;
use log::{LevelFilter, Log, Metadata, Record};
use test_support::{Proxy, connected, sized};
use tokio::time::{sleep, timeout};

/// One test at a time has the log panic.
static ONE: Mutex<()> = Mutex::new(());
/// What has to be in a line that is a panic; `None` for nothing at all.
static PANICKING: Mutex<Option<&str>> = Mutex::new(None);
static PANICS: AtomicUsize = AtomicUsize::new(0);

struct PanickingLog;

impl Log for PanickingLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let part = *PANICKING.lock().unwrap_or_else(PoisonError::into_inner);
        if record.target().starts_with("actix_pg")
            && part.is_some_and(|part| record.args().to_string().contains(part))
        {
            PANICS.fetch_add(1, Ordering::Relaxed);
            panic!("the log panics");
        }
    }

    fn flush(&self) {}
}

fn panic_at(part: Option<&'static str>) {
    *PANICKING.lock().unwrap_or_else(PoisonError::into_inner) = part;
}

fn install() {
    if log::set_logger(&PanickingLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&"the log panics") {
                loud(info);
            }
        }));
    }
}

async fn served(size: u32) -> (Proxy, TestDatabase, Database) {
    let schema = "CREATE TABLE notes (tenant text)";
    let database = Postgres::shared().expect("a server").database_with(schema).await.expect("a database");
    let (proxy, config) = Proxy::to(&database).await;
    let config = Config {
        reset_timeout: Duration::from_millis(200),
        server_settings: [("lock_timeout".to_owned(), "20ms".to_owned())].into(),
        ..sized(config, size)
    };
    let db = connected(config).await;
    (proxy, database, db)
}

/// What the session of a borrower looks like.
async fn look(conn: &Connection) -> actix_pg::Result<(String, Option<String>)> {
    let sql = "SELECT current_user::text, current_setting('app.tenant', true)";
    let row = conn.query_one(sql, &[]).await?;
    Ok((row.get(0), row.get::<_, Option<String>>(1).filter(|tenant| !tenant.is_empty())))
}

/// P17: a reset that fails and cannot say so costs the session.
#[test]
fn a_session_whose_reset_panics_is_never_lent() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (_proxy, database, db) = served(1).await;
        let conn = db.connection();
        let (user, tenant) = look(&conn).await.expect("a session");
        assert_eq!(tenant, None);
        conn.set_config("app.tenant", "ada").expect("a name");
        conn.batch_execute("SET ROLE pg_monitor").await.expect("a role");
        assert_eq!(look(&conn).await.expect("a session"), ("pg_monitor".to_owned(), Some("ada".to_owned())));
        // The reset fails, and all of it is undone: it has to wait too long for a lock.
        let temporary = "CREATE TEMP TABLE kept (id int); GRANT SELECT ON kept TO PUBLIC";
        conn.batch_execute(temporary).await.expect("a temporary table");
        let name = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'kept'";
        let schema: String = conn.query_one_scalar(name, &[]).await.expect("a schema");
        let other = connected(Config { pool_min_size: 1, ..database.config() }).await;
        let lock = other.connection();
        let sql = format!("BEGIN; LOCK TABLE {schema}.kept IN ACCESS SHARE MODE");
        lock.batch_execute(&sql).await.expect("a lock");
        let panics = PANICS.load(Ordering::Relaxed);
        panic_at(Some("could not be reset"));
        drop(conn);
        let end = Instant::now() + Duration::from_secs(5);
        while PANICS.load(Ordering::Relaxed) == panics {
            assert!(Instant::now() < end, "the reset did not fail");
            sleep(Duration::from_millis(1)).await;
        }
        panic_at(None);
        let next = timeout(Duration::from_secs(10), look(&db.connection())).await.expect("a session in time");
        assert_eq!(next.expect("a session"), (user, None));
        db.close().await;
    });
}

/// P10, P12, P17: with every line a panic, in every task, for a while.
#[test]
fn no_place_is_lost_to_panics() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (proxy, _database, db) = served(4).await;
        let (user, _) = look(&db.connection()).await.expect("a session");
        for round in 0..6 {
            panic_at(Some(""));
            let borrowers = (0..12).map(|number| {
                let (db, user) = (db.clone(), user.clone());
                tokio::spawn(async move {
                    let conn = db.connection();
                    let Ok(Ok(seen)) = timeout(Duration::from_millis(300), look(&conn)).await else { return };
                    assert_eq!(seen, (user, None), "somebody else's session");
                    let _ = conn.set_config("app.tenant", "ada");
                    let _ = conn.batch_execute("SET ROLE pg_monitor").await;
                    if number % 3 == 0 {
                        let _ = conn.query("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await;
                    }
                    if number % 3 == 1 {
                        let _ =
                            timeout(Duration::from_millis(5), conn.query("SELECT pg_sleep(1)", &[])).await;
                    }
                })
            });
            let borrowers = join_all(borrowers);
            let network = async {
                for _ in 0..4 {
                    sleep(Duration::from_millis(40)).await;
                    proxy.stall();
                    sleep(Duration::from_millis(60)).await;
                    proxy.heal();
                }
            };
            let (borrowed, ()) = tokio::join!(borrowers, network);
            for borrowed in borrowed {
                let Err(err) = borrowed else { continue };
                let payload = err.into_panic();
                let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
                assert_eq!(text, "the log panics", "round {round}");
            }
            panic_at(None);
            let all: Vec<Connection> = (0..4).map(|_| db.connection()).collect();
            let whole = async {
                while join_all(all.iter().map(look)).await.iter().any(Result::is_err) {
                    all.iter().for_each(|conn| conn.release().expect("nothing runs"));
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(15), whole)
                .await
                .expect("all four places, within what cancels and goodbyes may take");
            assert_eq!(db.status().used, 4);
        }
        // Few: a panic is caught where it happens, and causes no failure that is logged in its turn.
        assert!(PANICS.load(Ordering::Relaxed) > 0, "{PANICS:?}");
        db.close().await;
    });
}
