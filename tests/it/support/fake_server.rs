//! As much of PostgreSQL as the pool can tell from the real one, with a gate in front of everything it does.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use actix_pg::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// What the server can be made to wait before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// A login.
    Connect,
    /// An answer to an empty Sync.
    Check,
    /// The execution of a statement.
    Statement,
    /// A simple query: BEGIN, ROLLBACK and resets.
    Simple,
    /// A cancel request being carried out.
    Cancel,
}

/// A server in this process, on the runtime that made it.
pub(crate) struct FakeServer {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    held: HashSet<Phase>,
    /// Statements that may pass though the gate is held.
    answered: HashSet<String>,
    /// Who stands before a gate, by backend: the phase, and the statement.
    before: HashMap<i32, (Phase, String)>,
    /// Phases passed by anybody, in all.
    passed: HashMap<Phase, usize>,
    cancels: HashMap<i32, Arc<Notify>>,
    logins: i32,
    simple_queries: Vec<String>,
    syncs: usize,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State::default()));
        let accepting = {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    socket.set_nodelay(true).expect("a socket");
                    let backend = Backend { socket, state: Arc::clone(&state), pid: 0 };
                    tokio::spawn(backend.serve());
                }
            })
        };
        Self { address, state, accepting: accepting.abort_handle() }
    }

    /// A configuration for at most `size` sessions on this server.
    pub(crate) fn config(&self, size: u32) -> Config {
        let dsn = format!("postgres://fake@127.0.0.1:{}/fake?sslmode=disable", self.address.port());
        Config { dsn: Some(dsn), pool_min_size: 0, pool_max_size: size, ..Config::default() }
    }

    /// Makes everybody wait who comes to this gate from now on.
    pub(crate) fn hold(&self, phase: Phase) {
        self.state.send_modify(|state| {
            state.held.insert(phase);
        });
    }

    /// Lets everybody pass, those who wait included.
    pub(crate) fn open(&self, phase: Phase) {
        self.state.send_modify(|state| {
            state.held.remove(&phase);
        });
    }

    pub(crate) fn open_all(&self) {
        self.state.send_modify(|state| state.held.clear());
    }

    /// Lets one statement pass, now or when it comes.
    pub(crate) fn answer(&self, sql: &str) {
        self.state.send_modify(|state| {
            state.answered.insert(sql.to_owned());
        });
    }

    /// How many wait before a gate.
    pub(crate) fn before(&self, phase: Phase) -> usize {
        self.state.borrow().before.values().filter(|(at, _)| *at == phase).count()
    }

    /// How many have passed a gate since the start.
    pub(crate) fn passed(&self, phase: Phase) -> usize {
        self.state.borrow().passed.get(&phase).copied().unwrap_or(0)
    }

    /// How many are logged in.
    pub(crate) fn backends(&self) -> usize {
        self.state.borrow().cancels.len()
    }

    /// Round trips of the extended protocol.
    pub(crate) fn syncs(&self) -> usize {
        self.state.borrow().syncs
    }

    pub(crate) fn simple_queries(&self) -> Vec<String> {
        self.state.borrow().simple_queries.clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.open_all();
    }
}

struct Backend {
    socket: TcpStream,
    state: Arc<watch::Sender<State>>,
    pid: i32,
}

impl Backend {
    async fn serve(mut self) {
        let _ = self.session().await;
        let pid = self.pid;
        self.state.send_modify(|state| {
            state.cancels.remove(&pid);
            state.before.remove(&pid);
        });
    }

    async fn session(&mut self) -> std::io::Result<()> {
        let length = self.socket.read_i32().await?;
        let code = self.socket.read_i32().await?;
        let mut rest = vec![0; length as usize - 8];
        self.socket.read_exact(&mut rest).await?;
        if code == 80_877_102 {
            return self.cancel(i32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]])).await;
        }
        assert_eq!(code, 3 << 16, "a start-up message");
        self.state.send_modify(|state| {
            state.logins += 1;
            self.pid = state.logins;
        });
        self.pass(Phase::Connect, "").await;
        let cancel = Arc::new(Notify::new());
        let pid = self.pid;
        self.state.send_modify(|state| {
            state.cancels.insert(pid, Arc::clone(&cancel));
        });
        let mut out = message(b'R', &0i32.to_be_bytes());
        out.extend(message(b'S', b"client_encoding\0UTF8\0"));
        out.extend(message(b'K', &[pid.to_be_bytes(), pid.to_be_bytes()].concat()));
        out.extend(READY);
        self.socket.write_all(&out).await?;
        self.statements(&cancel).await
    }

    async fn cancel(&mut self, pid: i32) -> std::io::Result<()> {
        self.pid = -pid;
        self.pass(Phase::Cancel, "").await;
        if let Some(cancel) = self.state.borrow().cancels.get(&pid) {
            cancel.notify_waiters();
        }
        self.socket.shutdown().await
    }

    async fn statements(&mut self, cancel: &Notify) -> std::io::Result<()> {
        let mut prepared: HashMap<String, String> = HashMap::new();
        let mut bound = String::new();
        let (mut group, mut failed) = (false, false);
        loop {
            let kind = self.socket.read_u8().await?;
            let length = self.socket.read_i32().await?;
            let mut body = vec![0; length as usize - 4];
            self.socket.read_exact(&mut body).await?;
            let mut texts =
                body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
            let mut text = || texts.next().unwrap_or_default();
            let mut out = Vec::new();
            match kind {
                b'X' => return Ok(()),
                b'Q' => {
                    let sql = text();
                    self.pass(Phase::Simple, &sql).await;
                    out.extend(row_of(&sql));
                    self.state.send_modify(|state| state.simple_queries.push(sql));
                    out.extend(message(b'C', b"SELECT 0\0"));
                    out.extend(READY);
                }
                b'S' => {
                    if !group {
                        self.pass(Phase::Check, "").await;
                    }
                    (group, failed) = (false, false);
                    self.state.send_modify(|state| state.syncs += 1);
                    out.extend(READY);
                }
                _ if failed => {}
                b'P' => {
                    prepared.insert(text(), text());
                    out.extend(message(b'1', &[]));
                }
                b'D' => {
                    out.extend(message(b't', &0i16.to_be_bytes()));
                    out.extend(message(b'n', &[]));
                }
                b'B' => {
                    let _portal = text();
                    bound = prepared[&text()].clone();
                    out.extend(message(b'2', &[]));
                }
                b'E' => {
                    tokio::select! {
                        () = self.pass(Phase::Statement, &bound) => out.extend(message(b'C', b"INSERT 0 1\0")),
                        () = cancel.notified() => {
                            failed = true;
                            out.extend(message(b'E', b"SERROR\0VERROR\0C57014\0Mcanceled\0\0"));
                        }
                    }
                    let pid = self.pid;
                    self.state.send_modify(|state| {
                        state.before.remove(&pid);
                    });
                }
                b'C' => out.extend(message(b'3', &[])),
                other => panic!("message {:?}", char::from(other)),
            }
            group |= kind != b'S' && kind != b'Q';
            self.socket.write_all(&out).await?;
        }
    }

    async fn pass(&self, phase: Phase, what: &str) {
        let pid = self.pid;
        let mut state = self.state.subscribe();
        let may_pass = |state: &State| !state.held.contains(&phase) || state.answered.contains(what);
        if !may_pass(&self.state.borrow()) {
            self.state.send_modify(|state| {
                state.before.insert(pid, (phase, what.to_owned()));
            });
            let _ = state.wait_for(may_pass).await;
        }
        self.state.send_modify(|state| {
            state.before.remove(&pid);
            *state.passed.entry(phase).or_default() += 1;
        });
    }
}

/// The answer to a simple query: the number that its last statement asks for, as a reset does.
pub(crate) fn row_of(sql: &str) -> Vec<u8> {
    let number = sql.rsplit_once("SELECT '").and_then(|(_, asked)| asked.split_once('\''));
    let Some((number, others)) =
        number.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return Vec::new();
    };
    // A second column, if there is one, is NULL.
    let columns = 1 + i16::from(others.contains(','));
    let mut description = columns.to_be_bytes().to_vec();
    let mut row = columns.to_be_bytes().to_vec();
    for column in 0..columns {
        description.extend(b"n\0");
        description.extend([0; 18]);
        let value = if column == 0 { number.as_bytes() } else { &[] };
        row.extend(if column == 0 { number.len() as i32 } else { -1 }.to_be_bytes());
        row.extend(value);
    }
    [message(b'T', &description), message(b'D', &row)].concat()
}

const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(body);
    message
}

/// The state, for a look at what went wrong.
impl std::fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.borrow().fmt(f)
    }
}
