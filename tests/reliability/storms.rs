//! Many pools on one server that has fewer connections than they may open together, and a server that comes back to all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Database};
use futures_util::future::join_all;
use test_support::{Observer, connected, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::common::{HANG, times};

const POOLS: usize = 6;
const SIZE: u32 = 10;
/// The server keeps three of them for its superusers.
const MAX_CONNECTIONS: &str = "30";

/// A way to the server that notes when a login has failed on it.
struct Door {
    port: u16,
    failed: Arc<Mutex<Vec<Instant>>>,
}

impl Door {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let failed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&failed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                        return note(&noted);
                    };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::join!(pass(from_client, to_server), answer(from_server, to_client, &noted));
                });
            }
        });
        Self { port, failed }
    }

    /// The most logins that have failed within a second since then.
    fn most_failed_in_a_second(&self, since: Instant) -> usize {
        let failed = self.failed.lock().expect("no panic");
        let failed: Vec<_> = failed.iter().filter(|at| **at >= since).collect();
        let in_a_second = |from: &Instant| {
            let until = *from + Duration::from_secs(1);
            failed.iter().filter(|at| (*from..until).contains(**at)).count()
        };
        failed.iter().map(|from| in_a_second(from)).max().unwrap_or_default()
    }
}

fn note(failed: &Mutex<Vec<Instant>>) {
    failed.lock().expect("no panic").push(Instant::now());
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Passes on what the server says, and notes an error that comes before it is ready for a statement.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, failed: &Mutex<Vec<Instant>>) {
    loop {
        let Ok(kind) = from.read_u8().await else { return note(failed) };
        let Ok(length) = from.read_u32().await else { return note(failed) };
        let mut message = vec![0; length as usize - 4];
        if from.read_exact(&mut message).await.is_err() {
            return note(failed);
        }
        let head = [&[kind][..], &length.to_be_bytes(), &message].concat();
        if to.write_all(&head).await.is_err() {
            return;
        }
        match kind {
            b'E' => break note(failed),
            b'Z' => break,
            _ => {}
        }
    }
    pass(from, to).await;
}

struct Storm {
    postgres: Postgres,
    database: TestDatabase,
    pools: Vec<(Database, Door)>,
}

impl Storm {
    /// As many pools as there may be of one application, of a user that is no superuser.
    async fn gathers() -> Self {
        let postgres = Postgres::builder()
            .setting("max_connections", MAX_CONNECTIONS)
            .setting("max_wal_senders", "0")
            // In plain text, because this process computes the proofs of all clients with one thread.
            .hba(["host all app 127.0.0.1/32 password", "host all postgres 127.0.0.1/32 trust"])
            .start()
            .expect("a server");
        let schema = "CREATE ROLE app LOGIN PASSWORD 'rain'";
        let database = postgres.database_with(schema).await.expect("a database");
        let pools = join_all((0..POOLS).map(async |_| {
            let door = Door::before(postgres.port()).await;
            let name = database.name();
            let dsn = format!("postgres://app:rain@127.0.0.1:{}/{name}?sslmode=disable", door.port);
            let config = Config {
                dsn: Some(dsn),
                pool_min_size: 2,
                pool_max_size: SIZE,
                acquire_timeout: Duration::from_secs(10),
                ..Config::default()
            };
            (connected(config).await, door)
        }))
        .await;
        Self { postgres, database, pools }
    }

    /// Ten clients at each pool until `done`: how many answers each pool gave, its failures, and the longest wait for either.
    async fn under_load(&self, done: &AtomicBool) -> Vec<(usize, usize, Duration)> {
        join_all(self.pools.iter().map(async |(db, _)| {
            let clients = join_all((0..SIZE).map(async |_| {
                let (mut served, mut failed, mut longest) = (0, 0, Duration::ZERO);
                while !done.load(Ordering::Relaxed) {
                    let since = Instant::now();
                    let answer = within(HANG, "an answer", db.query("SELECT pg_sleep(0.05)", &[])).await;
                    longest = longest.max(since.elapsed());
                    if answer.is_ok() {
                        served += 1;
                    } else {
                        failed += 1;
                        sleep(Duration::from_millis(20)).await;
                    }
                }
                (served, failed, longest)
            }))
            .await;
            clients
                .into_iter()
                .fold((0, 0, Duration::ZERO), |all, one| (all.0 + one.0, all.1 + one.1, all.2.max(one.2)))
        }))
        .await
    }

    fn most_failed_in_a_second(&self, since: Instant) -> usize {
        let pools = self.pools.iter().map(|(_, door)| door.most_failed_in_a_second(since));
        pools.max().expect("six pools")
    }

    async fn ends(self) {
        join_all(self.pools.iter().map(|(db, _)| db.close())).await;
        drop(self.database);
    }
}

/// 60 sessions do not fit into 27. Everybody is served by those that there are, and the server is left in peace.
#[actix_web::test]
async fn more_pools_than_the_server_has_connections_for() {
    let storm = Storm::gathers().await;
    let since = Instant::now();
    let done = AtomicBool::new(false);
    let (pools, ()) = tokio::join!(storm.under_load(&done), async {
        sleep(Duration::from_secs(times(6, 60) as u64)).await;
        done.store(true, Ordering::Relaxed);
    });
    eprintln!("{pools:?}, {} failed logins in a second", storm.most_failed_in_a_second(since));
    for (served, failed, longest) in &pools {
        assert_eq!(*failed, 0, "{pools:?}");
        assert!(*served > 50 && *longest < Duration::from_secs(1), "{pools:?}");
    }
    let most = storm.most_failed_in_a_second(since);
    assert!((1..=5).contains(&most), "{most} failed logins in a second");
    storm.ends().await;
}

/// A password that is refused is tried twice a second at most, because servers lock accounts that fail too often.
#[actix_web::test]
async fn a_refused_password() {
    let storm = Storm::gathers().await;
    let observer = Observer::of(&storm.database).await;
    let done = AtomicBool::new(false);
    let (_, most) = tokio::join!(storm.under_load(&done), async {
        sleep(Duration::from_secs(2)).await;
        let end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
        let admin = observer.connection();
        admin.batch_execute("ALTER ROLE app PASSWORD 'sun'").await.expect("another password");
        admin.query_one_scalar::<i64>(end_all, &[]).await.expect("their end");
        let since = Instant::now();
        sleep(Duration::from_secs(4)).await;
        let most = storm.most_failed_in_a_second(since);
        admin.batch_execute("ALTER ROLE app PASSWORD 'rain'").await.expect("the former password");
        done.store(true, Ordering::Relaxed);
        most
    });
    assert!((1..=2).contains(&most), "{most} failed logins in a second");
    for (db, _) in &storm.pools {
        eventually("it is back", async || db.query("SELECT 1", &[]).await.is_ok()).await;
    }
    storm.ends().await;
}

/// Within two seconds after the server is back each pool serves.
#[actix_web::test]
async fn a_server_that_is_restarted() {
    let storm = Storm::gathers().await;
    let done = AtomicBool::new(false);
    let ((), back) = tokio::join!(
        async {
            storm.under_load(&done).await;
        },
        async {
            sleep(Duration::from_secs(2)).await;
            let since = Instant::now();
            storm.postgres.stop().expect("it stops");
            sleep(Duration::from_secs(3)).await;
            storm.postgres.start_again().expect("it is back");
            let start = Instant::now();
            join_all(storm.pools.iter().map(async |(db, _)| {
                while db.query("SELECT 1", &[]).await.is_err() && start.elapsed() < Duration::from_secs(10) {
                    sleep(Duration::from_millis(10)).await;
                }
            }))
            .await;
            let back = start.elapsed();
            sleep(Duration::from_secs(1)).await;
            done.store(true, Ordering::Relaxed);
            (back, storm.most_failed_in_a_second(since))
        }
    );
    let (back, most) = back;
    assert!(back < Duration::from_secs(2), "back after {back:?}");
    assert!(most <= 5, "{most} failed logins in a second");
    storm.ends().await;
}
