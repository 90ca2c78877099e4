//! A TCP proxy between the pool and the server, for the faults of a network.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_pg::Config;
use actix_pg::testing::{Postgres, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What the network does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Every piece arrives this much later.
    Slow(Duration),
    /// The end of a session is heard of this much later.
    Parting(Duration),
    /// Nothing arrives, nothing is lost: a black hole.
    Stalled,
    /// New connections are closed at once.
    Refusing,
}

/// Passes bytes on between clients and one server; runs on the runtime that made it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    cut: watch::Sender<u64>,
    forgotten: watch::Sender<u64>,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
    replaced: Arc<Replaced>,
    hidden: Arc<OnceLock<&'static str>>,
    accepting: AbortHandle,
}

/// What a client says once, and what the server reads in its place.
type Replaced = Mutex<Option<(&'static str, &'static str)>>;

fn replace(replaced: &Replaced, piece: &mut [u8]) {
    let mut replaced = replaced.lock().expect("no panic");
    let Some((text, by)) = *replaced else { return };
    if let Some(at) = piece.windows(text.len()).position(|window| window == text.as_bytes()) {
        piece[at..at + text.len()].copy_from_slice(by.as_bytes());
        *replaced = None;
    }
}

fn hide(text: &str, piece: &mut [u8]) {
    while let Some(at) = piece.windows(text.len()).position(|window| window == text.as_bytes()) {
        piece[at..at + text.len()].fill(b'_');
    }
}

impl Proxy {
    /// A proxy in front of a server on a port of this machine.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let weather = watch::Sender::new(Weather::Fair);
        let cut = watch::Sender::new(0);
        let forgotten = watch::Sender::new(0);
        let network = Arc::new((weather.clone(), cut.clone(), forgotten.clone()));
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        let refused = Arc::new(AtomicUsize::new(0));
        let turned_away = Arc::clone(&refused);
        let questions = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&questions);
        let replaced = Arc::new(Replaced::default());
        let garbled = Arc::clone(&replaced);
        let hidden = Arc::new(OnceLock::<&'static str>::new());
        let unseen = Arc::clone(&hidden);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                if *network.0.borrow() == Weather::Refusing {
                    turned_away.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let network = Arc::clone(&network);
                let garbled = Arc::clone(&garbled);
                let unseen = Arc::clone(&unseen);
                let turns =
                    Arc::new(Turns { of_client: AtomicBool::new(false), questions: Arc::clone(&asked) });
                tokio::spawn(async move {
                    let mut cuts = network.1.subscribe();
                    let mut forgotten = network.2.subscribe();
                    let passing = async {
                        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                        let (from_client, to_client) = client.into_split();
                        let (from_server, to_server) = server.into_split();
                        // Either side may end first and still be answered: a cancel request is over when the server ends.
                        tokio::join!(
                            pass(from_client, to_server, network.0.subscribe(), |piece| {
                                replace(&garbled, piece);
                                turns.client_speaks();
                            }),
                            pass(from_server, to_client, network.0.subscribe(), |piece| {
                                unseen.get().into_iter().for_each(|text| hide(text, piece));
                                turns.server_speaks();
                            }),
                        );
                    };
                    let mut passing = std::pin::pin!(passing);
                    tokio::select! {
                        () = &mut passing => {}
                        _ = cuts.changed() => {}
                        // Nothing is passed on any more, and nothing is closed.
                        _ = forgotten.changed() => { let _ = cuts.changed().await; }
                    }
                });
            }
        });
        Self {
            address,
            weather,
            cut,
            forgotten,
            accepted,
            refused,
            questions,
            replaced,
            hidden,
            accepting: accepting.abort_handle(),
        }
    }

    /// A proxy in front of the server that all tests of this binary share, and a configuration that goes through it.
    pub async fn to(database: &TestDatabase) -> (Self, Config) {
        let proxy = Self::before(Postgres::shared().expect("a PostgreSQL server").port()).await;
        let config = Config { dsn: Some(proxy.dsn(database.dsn())), ..database.config() };
        (proxy, config)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A DSN with this proxy's port in the place of the server's.
    pub fn dsn(&self, dsn: &str) -> String {
        let (head, tail) = dsn.rsplit_once('/').expect("a database");
        let (head, _) = head.rsplit_once(':').expect("a port");
        format!("{head}:{}/{tail}", self.port())
    }

    /// Closes every connection; new ones are accepted.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Stops passing anything on, in either direction, without closing anything.
    pub fn stall(&self) {
        self.weather.send_replace(Weather::Stalled);
    }

    /// Passes every piece on this much later.
    pub fn delay(&self, by: Duration) {
        self.weather.send_replace(Weather::Slow(by));
    }

    /// Passes the end of a session on this much later.
    pub fn delay_goodbyes(&self, by: Duration) {
        self.weather.send_replace(Weather::Parting(by));
    }

    /// Closes new connections at once; those that are open stay.
    pub fn refuse(&self) {
        self.weather.send_replace(Weather::Refusing);
    }

    /// Passes nothing on for the connections that there are, as a network does that has forgotten them. New ones are well.
    pub fn forget(&self) {
        self.forgotten.send_modify(|forgotten| *forgotten += 1);
    }

    /// Has the server read `by`, of the same length, where a client says `text`; once.
    pub fn replace(&self, text: &'static str, by: &'static str) {
        assert_eq!(text.len(), by.len());
        *self.replaced.lock().expect("no panic") = Some((text, by));
    }

    /// Has no client read this text from now on, whenever the server says it.
    pub fn hide(&self, text: &'static str) {
        self.hidden.set(text).expect("one text");
    }

    /// Replaces nothing any more, and says whether everything has been replaced.
    pub fn has_replaced(&self) -> bool {
        self.replaced.lock().expect("no panic").take().is_none()
    }

    /// How many connections were made, refused ones included.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many connections were refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// How often a client has spoken after the server, or first: the round trips, of all connections together.
    pub fn round_trips(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }

    /// Back to a good network; what was stalled is passed on.
    pub fn heal(&self) {
        self.weather.send_replace(Weather::Fair);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// Whose turn it is on a connection.
struct Turns {
    of_client: AtomicBool,
    questions: Arc<AtomicUsize>,
}

impl Turns {
    fn client_speaks(&self) {
        if !self.of_client.swap(true, Ordering::Relaxed) {
            self.questions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn server_speaks(&self) {
        self.of_client.store(false, Ordering::Relaxed);
    }
}

/// The message with which a client ends a session.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    speaks: impl Fn(&mut [u8]),
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        speaks(&mut piece[..length]);
        let now = *weather.borrow_and_update();
        match now {
            Weather::Slow(by) => tokio::time::sleep(by).await,
            Weather::Parting(by) if piece[..length].ends_with(TERMINATE) => tokio::time::sleep(by).await,
            _ => {}
        }
        if weather.wait_for(|weather| *weather != Weather::Stalled).await.is_err() {
            return;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
