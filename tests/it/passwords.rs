//! Passwords that change while the application runs.

use std::fs::{Permissions, set_permissions, write};
use std::future::pending;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_pg::testing::Postgres;
use actix_pg::{AcquireError, Config, ConfigErrorKind, Database, Error, Event};
use actix_web::http::StatusCode;
use futures_util::StreamExt;
use futures_util::future::join_all;
use test_support::{
    Proxy, TestApp, backend, causes, connected, eventually, log, routes, serves_again, sized, soon,
};
use tokio::time::sleep;

/// A server that asks `alice` for a password, and somebody it trusts.
async fn server(password: &str) -> (Postgres, Database) {
    log::keep();
    let rules = ["host all alice 127.0.0.1/32 scram-sha-256", "host all postgres 127.0.0.1/32 trust"];
    let postgres = Postgres::builder().hba(rules).start().expect("a server");
    let admin = connected(sized(of(postgres.port(), "postgres"), 1)).await;
    admin.batch_execute(&format!("CREATE ROLE alice LOGIN PASSWORD '{password}'")).await.expect("a role");
    (postgres, admin)
}

async fn change(admin: &Database, password: &str) {
    admin.batch_execute(&format!("ALTER ROLE alice PASSWORD '{password}'")).await.expect("another password");
}

fn of(port: u16, user: &str) -> Config {
    Config {
        host: "127.0.0.1".into(),
        port,
        user: user.into(),
        database: "postgres".into(),
        retry_limit: 1,
        ..Config::default()
    }
}

/// A secret that is kept elsewhere, and how often it was asked for.
#[derive(Clone, Default)]
struct Vault(Arc<(Mutex<String>, AtomicUsize)>);

impl Vault {
    fn with(secret: &str) -> Self {
        let vault = Self::default();
        vault.put(secret);
        vault
    }

    fn put(&self, secret: &str) {
        secret.clone_into(&mut self.0.0.lock().expect("a secret"));
    }

    fn get(&self) -> String {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        self.0.0.lock().expect("a secret").clone()
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::Relaxed)
    }

    async fn connect(&self, config: Config) -> actix_pg::Result<Database> {
        let vault = self.clone();
        let source = move |_| {
            let vault = vault.clone();
            async move { Ok(vault.get()) }
        };
        Database::builder(config).password_source(source).connect().await
    }
}

/// Nobody notices that the password changes, also where the vault is told a while after the server.
#[actix_web::test]
async fn a_change_under_load_fails_no_request() {
    let (postgres, admin) = server("open-sesame-100").await;
    let vault = Vault::with("open-sesame-100");
    let config = Config {
        pool_min_size: 2,
        pool_max_size: 4,
        max_lifetime: Some(Duration::from_millis(200)),
        ..of(postgres.port(), "alice")
    };
    let db = vault.connect(config).await.expect("the right password");
    let done = AtomicBool::new(false);
    let requests = join_all((0..8).map(async |_| {
        let mut answers = 0;
        while !done.load(Ordering::Relaxed) {
            let user: String =
                db.query_one_scalar("SELECT session_user::text", &[]).await.expect("an answer");
            assert_eq!(user, "alice");
            answers += 1;
        }
        answers
    }));
    let changes = async {
        for change_to in 101..106 {
            let secret = format!("open-sesame-{change_to}");
            let opened = db.status().counters.opened;
            change(&admin, &secret).await;
            sleep(Duration::from_millis(20)).await;
            vault.put(&secret);
            eventually("a login with the new one", async || db.status().counters.opened > opened).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let (answers, ()) = tokio::join!(requests, changes);
    let answers: u32 = answers.iter().sum();
    assert!(answers > 100, "{answers} answers");
    assert!(vault.asked() as u64 >= db.status().counters.opened);
    db.close().await;
    assert!(!format!("{db:?}").contains("sesame"));
    for secret in 100..106 {
        let shown = log::lines_with(&[&format!("open-sesame-{secret}")]);
        assert!(shown.iter().all(|line| line.contains(" ROLE alice ")), "{shown:?}");
    }
}

/// An answer that is kept for some time is refused one day, and fetched anew then, by the session that listens too.
#[actix_web::test]
async fn a_refused_login_asks_once_more() {
    let (postgres, admin) = server("open-sesame-200").await;
    let proxy = Proxy::before(postgres.port()).await;
    let vault = Vault::with("open-sesame-200");
    let (kept, source) = (Arc::new(Mutex::new(None::<String>)), vault.clone());
    let port = proxy.port();
    let db = Database::builder(sized(of(port, "alice"), 1))
        .password_source(move |login| {
            let (kept, source) = (Arc::clone(&kept), source.clone());
            async move {
                assert_eq!((&*login.host, login.port), ("127.0.0.1", port));
                assert_eq!((&*login.user, &*login.database), ("alice", "postgres"));
                let mut kept = kept.lock().expect("a secret");
                if login.was_refused {
                    *kept = None;
                }
                Ok(kept.get_or_insert_with(|| source.get()).clone())
            }
        })
        .connect()
        .await
        .expect("the right password");
    assert_eq!((vault.asked(), proxy.accepted()), (1, 1));
    let mut events = db.listen(["news"]).await.expect("a stream");
    assert_eq!((vault.asked(), proxy.accepted()), (1, 2));

    change(&admin, "open-sesame-201").await;
    vault.put("open-sesame-201");
    proxy.cut();
    let event = soon("another session", events.next()).await.expect("an open stream");
    assert!(matches!(event, Event::Reconnected), "{event:?}");
    eventually("a request", async || db.query("SELECT 1", &[]).await.is_ok()).await;
    // Whichever came first was refused, and perhaps the other one too.
    assert!((1..=3).contains(&(vault.asked() - 1)), "{} questions", vault.asked());
    assert_eq!(db.status().counters.opened, 2);
    db.close().await;
}

/// An answer that stays the same is not tried twice: servers lock accounts that fail too often.
#[actix_web::test]
async fn the_same_answer_is_tried_once() {
    let (postgres, _admin) = server("open-sesame-300").await;
    let proxy = Proxy::before(postgres.port()).await;
    let vault = Vault::with("open-barley-300");
    let Err(Error::Connect(err)) = vault.connect(of(proxy.port(), "alice")).await else { panic!("refused") };
    assert_eq!(err.code().map(|code| code.code()), Some("28P01"));
    assert_eq!((vault.asked(), proxy.accepted()), (2, 1));
    assert!(!causes(&err).contains("barley") && !format!("{err:?}").contains("barley"));
    assert!(log::lines_with(&["open-barley-300"]).is_empty());
}

/// A source that fails is a failed login: the log has the cause, the client nothing of it.
#[actix_web::test]
async fn a_source_that_fails_panics_or_hangs_is_a_failed_login() {
    let (postgres, admin) = server("open-sesame-400").await;
    for (how, expected) in [
        (1, "no password for 127.0.0.1:PORT: vault-17 is sealed: its key is away"),
        (2, "no password for 127.0.0.1:PORT: the source panicked"),
        (3, "no password for 127.0.0.1:PORT: the source did not answer within 2.5s (`connect_timeout`)"),
    ] {
        let mode = Arc::new(AtomicUsize::new(how));
        let connect = || {
            let mode = Arc::clone(&mode);
            let config = Config {
                connect_timeout: Duration::from_millis(2_500),
                acquire_timeout: Duration::from_secs(300),
                ..sized(of(postgres.port(), "alice"), 1)
            };
            let source = move |_| {
                let mode = Arc::clone(&mode);
                async move {
                    match mode.load(Ordering::Relaxed) {
                        1 => return Err(format!("vault-17 is sealed: {}", "its key is away").into()),
                        2 => panic!("open-sesame-400 is what I know"),
                        3 => pending().await,
                        _ => {}
                    }
                    Ok("open-sesame-400".to_owned())
                }
            };
            Database::builder(config).password_source(source).connect()
        };
        let since = Instant::now();
        let Err(Error::Connect(err)) = soon("an error", connect()).await else { panic!("no password") };
        let expected = expected.replace("PORT", &postgres.port().to_string());
        assert_eq!((format!("{err:#}"), err.is_final()), (expected.clone(), false));
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());

        mode.store(0, Ordering::Relaxed);
        let db = connect().await.expect("a password");
        let app = TestApp::start(&db, routes);
        mode.store(how, Ordering::Relaxed);
        let pid = backend(&db.connection()).await;
        let sql = "SELECT pg_terminate_backend($1, 5000)";
        assert!(admin.query_one_scalar::<bool>(sql, &[&pid]).await.expect("an end"));
        eventually("it is noticed", async || db.query("SELECT 1", &[]).await.is_err()).await;
        let answer = soon("a refusal", app.get("/")).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::SERVICE_UNAVAILABLE, ""));
        let err = soon("a refusal", db.query("SELECT 1", &[])).await.expect_err("no password");
        assert!(matches!(err, Error::Acquire(AcquireError::Unavailable(_))), "{err:?}");
        assert!(causes(&err).contains("no password for"), "{}", causes(&err));
        assert!(!log::ours_with(&["ERROR", "request failed", &expected]).is_empty());
        mode.store(0, Ordering::Relaxed);
        serves_again(&app).await;
        app.stop().await;
    }
    assert!(log::lines_with(&["open-sesame-400"]).iter().all(|line| line.contains(" ROLE alice ")));
}

/// P23: neither goes before the other in silence.
#[actix_web::test]
async fn a_password_beside_a_source_is_refused() {
    let dsn = Some("postgres://alice:open-barley-7@127.0.0.1:1/postgres".to_owned());
    let parts = Config { password: "open-barley-7".into(), ..of(1, "alice") };
    for config in [parts, Config { dsn, ..Config::default() }] {
        let err = Vault::default().connect(config).await.expect_err("two passwords");
        let Error::Config(err) = err else { panic!("{err:?}") };
        assert_eq!(err.kind(), ConfigErrorKind::Conflict);
        assert!(
            err.to_string().contains("a password source") && !err.to_string().contains("barley"),
            "{err}"
        );
    }
}

/// The password file that changes while a login is under way is looked into once more.
#[actix_web::test]
async fn a_password_file_is_looked_into_at_each_login() {
    let (postgres, admin) = server("open-sesame-500").await;
    let proxy = Proxy::before(postgres.port()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pgpass");
    let put = |password: &str| {
        write(&path, format!("*:*:*:alice:{password}")).expect("a file");
        set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
    };
    put("open-sesame-500");
    let passfile = path.display().to_string();
    let config =
        Config { driver_options: [("passfile".to_owned(), passfile)].into(), ..of(proxy.port(), "alice") };
    let db = connected(sized(config, 1)).await;
    let pid = backend(&db.connection()).await;

    change(&admin, "open-sesame-501").await;
    let sql = "SELECT pg_terminate_backend($1, 5000)";
    assert!(admin.query_one_scalar::<bool>(sql, &[&pid]).await.expect("an end"));
    eventually("the end is seen", async || db.status().open == 0).await;
    proxy.stall();
    let accepted = proxy.accepted();
    let asked = tokio::spawn({
        let db = db.clone();
        async move { db.query_one_scalar::<i32>("SELECT 1", &[]).await }
    });
    eventually("a login", async || proxy.accepted() > accepted).await;
    put("open-sesame-501");
    proxy.heal();
    assert_eq!(soon("an answer", asked).await.expect("joined").expect("the new password"), 1);
    db.close().await;
}
