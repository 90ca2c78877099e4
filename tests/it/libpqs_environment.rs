//! What libpq's users expect of a login: the password file, and a say in how the server may ask for a password.

use std::env;
use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database, Error};
use test_support::{connected, log, sized, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const METHODS: [(&str, &str); 4] =
    [("postgres", "none"), ("carol", "password"), ("bob", "md5"), ("alice", "scram-sha-256")];

/// A server that asks each role in another way.
async fn server() -> (Postgres, Database) {
    log::keep();
    let rules = [
        "host all alice    127.0.0.1/32 scram-sha-256",
        "host all bob      127.0.0.1/32 md5",
        "host all carol    127.0.0.1/32 password",
        "host all postgres 127.0.0.1/32 trust",
    ];
    let postgres = Postgres::builder().hba(rules).start().expect("a server");
    let admin = connected(config(&postgres, "postgres", "")).await;
    let roles =
        "CREATE ROLE alice LOGIN PASSWORD 'open-sesame-8'; CREATE ROLE carol LOGIN PASSWORD 'open-sesame-8';
        SET password_encryption = 'md5'; CREATE ROLE bob LOGIN PASSWORD 'open-sesame-8'";
    admin.batch_execute(roles).await.expect("the roles");
    (postgres, admin)
}

fn config(postgres: &Postgres, user: &str, password: &str) -> Config {
    let parts = Config {
        host: "127.0.0.1".into(),
        port: postgres.port(),
        user: user.into(),
        password: password.into(),
        ..Config::default()
    };
    sized(parts, 2)
}

/// Tries to log in. The error is the whole chain.
async fn login(config: Config) -> Result<(), String> {
    match Database::connect(config).await {
        Ok(db) => db.ping().await.map_err(|err| format!("{err:#}")),
        Err(Error::Connect(err)) => {
            let text = format!("{err:#}");
            assert!(err.is_final(), "{text}");
            assert!(!text.contains("sesame"), "{text}");
            Err(text)
        }
        Err(err) => panic!("{err:?}"),
    }
}

#[actix_web::test]
async fn a_server_may_only_ask_as_it_is_required_to() {
    let (postgres, _admin) = server().await;
    for (user, method) in METHODS {
        for required in METHODS.map(|(_, method)| method) {
            for (entry, allowed) in
                [(required.to_owned(), required == method), (format!("!{required}"), required != method)]
            {
                let mut config =
                    config(&postgres, user, if user == "postgres" { "" } else { "open-sesame-8" });
                config.driver_options.insert("require_auth".into(), entry.clone());
                let logged_in = login(config).await;
                assert_eq!(logged_in.is_ok(), allowed, "{user} with {entry}: {logged_in:?}");
                if let Err(text) = logged_in {
                    let asked = if method == "none" {
                        "no authentication".into()
                    } else {
                        format!("authentication by `{method}`")
                    };
                    let said = format!("the server asks for {asked}, which `require_auth` does not allow");
                    assert!(text.contains(&said), "{text}");
                }
            }
        }
    }
}

/// The driver would send the password to whoever asks for it.
#[actix_web::test]
async fn a_hostile_server_gets_no_password() {
    for (ssl, asks_for_tls) in [("disable", false), ("prefer", true)] {
        for pieces in [vec![9], vec![1; 9], vec![5, 4], vec![8, 1]] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let server = tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.expect("a client");
                let mut heard = Vec::new();
                let startup = async |socket: &mut tokio::net::TcpStream| {
                    let length = socket.read_u32().await.expect("a length");
                    let mut rest = vec![0; length as usize - 4];
                    socket.read_exact(&mut rest).await.expect("a message");
                };
                if asks_for_tls {
                    startup(&mut socket).await;
                    socket.write_all(b"N").await.expect("an answer");
                }
                startup(&mut socket).await;
                let mut question: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
                for piece in pieces {
                    let (now, later) = question.split_at(piece);
                    socket.write_all(now).await.expect("a question");
                    socket.flush().await.expect("a question");
                    tokio::task::yield_now().await;
                    question = later;
                }
                let _ = socket.read_to_end(&mut heard).await;
                heard
            });
            let dsn = format!(
                "postgres://alice:open-sesame-8@127.0.0.1:{port}/x?sslmode={ssl}&require_auth=scram-sha-256"
            );
            let config = Config { retry_limit: 1, ..Config::from_dsn(&dsn).expect("a DSN") };
            let text = login(sized(Config { pool_min_size: 1, ..config }, 1)).await.expect_err("a refusal");
            assert!(text.contains("authentication by `password`"), "{text}");
            let heard = soon("the end of the client", server).await.expect("a server");
            assert!(!String::from_utf8_lossy(&heard).contains("sesame"), "{heard:?}");
        }
    }
}

/// Files are read by `Database::connect`, which is given a `Config` that has no origins. In a process of its own, because the
/// environment is that of the whole process.
#[test]
fn an_error_about_a_file_names_the_variable_that_it_came_from() {
    let said = |variables: &[(&str, &str)]| {
        let test = "libpqs_environment::says_why_it_does_not_start";
        let mut child = Command::new(env::current_exe().expect("this program"));
        child.args([test, "--exact", "--ignored", "--nocapture"]).env_remove("DATABASE_URL");
        let output = child.envs(variables.iter().copied()).output().expect("a run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let tls = [("PGSSLMODE", "verify-full"), ("PGHOST", "127.0.0.1"), ("PGPORT", "1")];
    for variable in ["PGSSLROOTCERT", "DB_SSLROOTCERT"] {
        let said = said(&[&tls[..], &[(variable, "/missing/root.pem")]].concat());
        assert!(said.contains(&format!("environment variable `{variable}` ")), "{said}");
    }
    let said = said(&[&tls[..], &[("PGSSLCERT", "/missing/c.pem"), ("PGSSLKEY", "/missing/k.pem")]].concat());
    assert!(said.contains("environment variable `PGSSLCERT` "), "{said}");
}

#[actix_web::test]
#[ignore = "the child process of the test above"]
async fn says_why_it_does_not_start() {
    let config = Config::from_env().expect("a configuration");
    if let Err(err) = Database::connect(config).await {
        println!("{err:#}");
    }
}

/// The file is read at each login, so that a password may change. One that others can read is not used, as in libpq.
#[actix_web::test]
async fn a_password_comes_out_of_the_password_file() {
    let (postgres, admin) = server().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pgpass");
    let mut config = config(&postgres, "alice", "");
    config.database = "postgres".into();
    config.driver_options.insert("passfile".into(), path.display().to_string());
    assert!(login(config.clone()).await.is_err(), "there is no file");
    let line = format!(
        "# mine\n127.0.0.1:{}:postgres:bob:x\n127.0.0.1:*:postgres:alice:open-sesame-8\n",
        postgres.port()
    );
    write(&path, &line).expect("a file");
    set_permissions(&path, Permissions::from_mode(0o644)).expect("permissions");
    assert!(login(config.clone()).await.is_err(), "others can read it");
    let warned = log::lines_with(&["the password file is not used", "u=rw (0600)"]);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(!warned[0].contains("sesame"));
    set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
    let db = connected(config.clone()).await;
    assert_eq!(
        db.query_one_scalar::<String>("SELECT current_user::text", &[]).await.expect("a user"),
        "alice"
    );

    admin.batch_execute("ALTER ROLE alice PASSWORD 'open-barley-8'").await.expect("another password");
    write(&path, line.replace("sesame", "barley")).expect("a file");
    let held = db.transaction().await.expect("the first session");
    soon("another login", db.ping_within(Duration::from_secs(10))).await.expect("the new password");
    drop(held);

    // What is said goes first.
    config.password = "open-rye-8".into();
    assert!(login(config).await.is_err());
}
