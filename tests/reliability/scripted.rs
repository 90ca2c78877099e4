//! The minimum of a PostgreSQL server, with one scripted outcome for each phase of a borrow.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::support::fake_server::row_of;

/// What the server sees of a borrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Connect,
    Check,
    Run,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    Error,
    /// Not before the gate is opened.
    Slow,
    Never,
    /// Slow, and whoever waits for it goes away. A reset, for which nobody waits, loses its connection.
    Dropped,
}

#[derive(Debug, Default)]
struct State {
    /// What happens in a phase the next time; once.
    script: HashMap<Phase, Outcome>,
    reached: HashSet<Phase>,
    open: HashSet<Phase>,
    logins: i32,
    backends: HashMap<i32, Arc<Notify>>,
    /// Backends that are asked to hang up.
    killed: HashSet<i32>,
}

pub struct Scripted {
    port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl Scripted {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let theirs = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let mut backend =
                    Backend { socket, state: Arc::clone(&theirs), pid: 0, cancel: Arc::default() };
                tokio::spawn(async move {
                    let _ = backend.serve().await;
                    backend.state.send_modify(|state| drop(state.backends.remove(&backend.pid)));
                });
            }
        });
        Self { port, state, accepting: accepting.abort_handle() }
    }

    pub fn dsn(&self) -> String {
        format!("postgres://fake@127.0.0.1:{}/fake?sslmode=disable", self.port)
    }

    pub fn script(&self, phase: Phase, outcome: Outcome) {
        self.state.send_modify(|state| _ = state.script.insert(phase, outcome));
    }

    /// Waits until somebody has come to a phase that is not ok at once.
    pub async fn reached(&self, phase: Phase) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.reached.contains(&phase)).await;
    }

    pub fn open(&self, phase: Phase) {
        self.state.send_modify(|state| _ = state.open.insert(phase));
    }

    pub fn backends(&self) -> usize {
        self.state.borrow().backends.len()
    }

    /// Hangs up on everybody, and returns when that is done.
    pub async fn kill_all(&self) {
        self.state
            .send_modify(|state| state.killed.extend(state.backends.keys().copied().collect::<Vec<_>>()));
        let _ = self.state.subscribe().wait_for(|state| state.backends.is_empty()).await;
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Backend {
    socket: TcpStream,
    state: Arc<watch::Sender<State>>,
    pid: i32,
    cancel: Arc<Notify>,
}

/// How a phase went.
enum Passed {
    Well,
    Failed,
    Cancelled,
}

const CANCEL_REQUEST: i32 = 80_877_102;
const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

impl Backend {
    async fn serve(&mut self) -> io::Result<()> {
        let length = self.socket.read_i32().await?;
        let code = self.socket.read_i32().await?;
        let mut rest = vec![0; length as usize - 8];
        self.socket.read_exact(&mut rest).await?;
        if code == CANCEL_REQUEST {
            let pid = i32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]);
            let cancel = self.state.borrow().backends.get(&pid).map(Arc::clone);
            cancel.inspect(|cancel| cancel.notify_waiters());
            return self.socket.shutdown().await;
        }
        if let Passed::Failed = self.pass(Phase::Connect).await? {
            return self.socket.write_all(&error("FATAL", "53300")).await;
        }
        self.state.send_modify(|state| {
            state.logins += 1;
            self.pid = state.logins;
            state.backends.insert(self.pid, Arc::clone(&self.cancel));
        });
        let mut out = message(b'R', &0i32.to_be_bytes());
        out.extend(message(b'S', b"client_encoding\0UTF8\0"));
        out.extend(message(b'K', &[self.pid.to_be_bytes(), self.pid.to_be_bytes()].concat()));
        out.extend(READY);
        self.socket.write_all(&out).await?;
        let mut killed = self.state.subscribe();
        let pid = self.pid;
        tokio::select! {
            ended = self.statements() => ended,
            _ = killed.wait_for(|state| state.killed.contains(&pid)) => Ok(()),
        }
    }

    async fn statements(&mut self) -> io::Result<()> {
        let mut statements: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut bound = Vec::new();
        let (mut empty, mut failed) = (true, false);
        loop {
            let kind = self.socket.read_u8().await?;
            let length = self.socket.read_i32().await?;
            let mut body = vec![0; length as usize - 4];
            self.socket.read_exact(&mut body).await?;
            let mut texts = body.split(|byte| *byte == 0).map(<[u8]>::to_vec);
            let mut text = || texts.next().unwrap_or_default();
            let out = match kind {
                b'X' => return Ok(()),
                b'Q' => {
                    let sql = String::from_utf8_lossy(&text()).into_owned();
                    let passed = match sql.contains("CLOSE ALL") {
                        true => self.pass(Phase::Reset).await?,
                        false => Passed::Well,
                    };
                    let row = if matches!(passed, Passed::Well) { row_of(&sql) } else { Vec::new() };
                    [row, self.answer(passed, b'C', b"SET\0"), READY.to_vec()].concat()
                }
                b'S' if empty => match self.pass(Phase::Check).await? {
                    Passed::Failed => return Ok(()),
                    Passed::Well | Passed::Cancelled => READY.to_vec(),
                },
                b'S' => {
                    (empty, failed) = (true, false);
                    READY.to_vec()
                }
                _ if failed => Vec::new(),
                b'P' => {
                    statements.insert(text(), text());
                    message(b'1', &[])
                }
                b'D' => [message(b't', &0i16.to_be_bytes()), message(b'n', &[])].concat(),
                b'B' => {
                    let _portal = text();
                    bound = statements[&text()].clone();
                    message(b'2', &[])
                }
                b'E' => {
                    let passed = match bound.starts_with(b"SET") {
                        true => self.pass(Phase::Run).await?,
                        false => Passed::Well,
                    };
                    failed = !matches!(passed, Passed::Well);
                    self.answer(passed, b'C', b"SET\0")
                }
                b'C' => message(b'3', &[]),
                other => panic!("message {:?}", char::from(other)),
            };
            if !matches!(kind, b'S' | b'Q') {
                empty = false;
            }
            self.socket.write_all(&out).await?;
        }
    }

    fn answer(&self, passed: Passed, kind: u8, body: &[u8]) -> Vec<u8> {
        match passed {
            Passed::Well => message(kind, body),
            Passed::Failed => error("ERROR", "22023"),
            Passed::Cancelled => error("ERROR", "57014"),
        }
    }

    /// Does what the script says, once. An error of the connection ends the backend.
    async fn pass(&mut self, phase: Phase) -> io::Result<Passed> {
        let Some(outcome) = self.state.borrow().script.get(&phase).copied() else {
            return Ok(Passed::Well);
        };
        self.state.send_modify(|state| {
            state.script.remove(&phase);
            state.reached.insert(phase);
        });
        match (outcome, phase) {
            (Outcome::Ok, _) => return Ok(Passed::Well),
            (Outcome::Error, _) => return Ok(Passed::Failed),
            (Outcome::Dropped, Phase::Reset) => return Err(io::ErrorKind::ConnectionAborted.into()),
            (Outcome::Slow | Outcome::Never | Outcome::Dropped, _) => {}
        }
        let mut state = self.state.subscribe();
        let opened = state.wait_for(|state| outcome != Outcome::Never && state.open.contains(&phase));
        tokio::select! {
            _ = opened => Ok(Passed::Well),
            // A server that does not even answer a Sync does not listen to a cancel request either.
            () = self.cancel.notified(), if matches!(phase, Phase::Run) => Ok(Passed::Cancelled),
            () = hung_up(&mut self.socket), if outcome == Outcome::Never && phase != Phase::Run => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Reads on without a word until the other side has hung up.
async fn hung_up(socket: &mut TcpStream) {
    let mut ignored = [0; 4096];
    while let Ok(1..) = socket.read(&mut ignored).await {}
}

fn error(severity: &str, code: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C{code}\0Mscripted\0\0").as_bytes())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(body);
    message
}
