//! Which of several hosts is tried, and for how long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use actix_pg::testing::Postgres;
use actix_pg::{Config, ConnectError, Database, Error};
use test_support::sized;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// One session of the first of these ports on this machine that will do, as the server that answered calls itself.
async fn connect(ports: [u16; 2], parameters: &str) -> Result<String, ConnectError> {
    let dsn = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} user=postgres dbname=postgres {parameters}",
        ports[0], ports[1]
    );
    let db = match Database::connect(sized(Config::from_dsn(&dsn).expect("a DSN"), 1)).await {
        Ok(db) => db,
        Err(Error::Connect(err)) => return Err(err),
        Err(err) => panic!("{err}"),
    };
    let name = db.connection().query_one_scalar("SELECT current_setting('cluster_name')", &[]).await;
    db.close().await;
    Ok(name.expect("a name"))
}

fn server(name: &str) -> Postgres {
    Postgres::builder().setting("cluster_name", name).start().expect("a server")
}

/// A server that answers every login with this, and closes.
async fn answering(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut login = [0; 1024];
            let _ = client.read(&mut login).await;
            let _ = client.write_all(&answer).await;
        }
    });
    port
}

fn refusal(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0");
    let length = u32::try_from(fields.len() + 4).expect("a short text");
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

/// As libpq: the second host would be given the same password, and count the same failure.
#[actix_web::test]
async fn after_a_refused_login_no_other_host_is_tried() {
    let second = server("second");
    let first = Postgres::builder().hba(["host all all 127.0.0.1/32 reject"]).start().expect("a server");
    let err = connect([first.port(), second.port()], "sslmode=disable").await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("28000"));
    let full = answering(refusal("53300")).await;
    let err = connect([full, second.port()], "sslmode=disable").await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("53300"));
}

#[actix_web::test]
async fn a_host_that_cannot_be_had_or_will_not_do_is_passed_over() {
    let second = server("second");
    let standby =
        Postgres::builder().setting("default_transaction_read_only", "on").start().expect("a server");
    let deserted = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port")
        .local_addr()
        .expect("an address")
        .port();
    for (what, port) in [
        ("nothing listens", deserted),
        ("the connection breaks", answering(Vec::new()).await),
        ("the server is starting up or shutting down", answering(refusal("57P03")).await),
        ("the server is read-only", standby.port()),
    ] {
        let parameters = "sslmode=disable target_session_attrs=read-write";
        let answered = connect([port, second.port()], parameters).await;
        assert_eq!(answered.as_deref().ok(), Some("second"), "{what}: {answered:?}");
    }
}

/// A server that answers a login after a while by asking for a password, and counts the passwords that it is given.
async fn asking(after: Duration, passwords: &Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let passwords = Arc::clone(passwords);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let passwords = Arc::clone(&passwords);
            tokio::spawn(async move {
                let mut said = [0; 1024];
                let _ = client.read(&mut said).await;
                tokio::time::sleep(after).await;
                let _ = client.write_all(b"R\0\0\0\x08\0\0\0\x03").await;
                if client.read(&mut said).await.is_ok_and(|length| length > 0 && said[0] == b'p') {
                    passwords.fetch_add(1, Ordering::Relaxed);
                    let _ = client.write_all(&refusal("28P01")).await;
                }
            });
        }
    });
    port
}

/// The second is tried beside the first, which is slow, and answers before it. Then the first has no turn any more.
#[actix_web::test]
async fn a_password_goes_to_one_host() {
    let passwords: [Arc<AtomicUsize>; 2] = Default::default();
    let slow = asking(Duration::from_millis(600), &passwords[0]).await;
    let quick = asking(Duration::from_millis(10), &passwords[1]).await;
    let err = connect([slow, quick], "sslmode=disable password=secret").await.expect_err("a refusal");
    assert_eq!(err.code().map(|code| code.code()), Some("28P01"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(passwords.map(|given| given.load(Ordering::Relaxed)), [0, 1]);
}

/// P14, P20: a name server that does not answer. The look-up waits behind another blocking task, which is where the
/// system's resolver would hang.
#[test]
fn a_look_up_that_hangs_is_given_up_on() {
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(1).build().expect("a runtime");
    let (resolved, unresolved) = mpsc::channel::<()>();
    let bound = Duration::from_millis(300);
    let config = Config {
        connect_timeout: bound,
        ..Config::from_dsn("host=localhost port=1 sslmode=disable").expect("a DSN")
    };
    runtime.spawn_blocking(move || unresolved.recv());
    let start = Instant::now();
    let err = runtime.block_on(async { tokio::time::timeout(10 * bound, Database::connect(config)).await });
    let took = start.elapsed();
    drop(resolved);
    let Ok(Err(Error::Connect(err))) = err else { panic!("{err:?}") };
    assert!((bound..3 * bound).contains(&took), "{took:?}");
    assert_eq!(err.to_string(), "the look-up of `localhost` did not answer within 300ms (`connect_timeout`)");
}
