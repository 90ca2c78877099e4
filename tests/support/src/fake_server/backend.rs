//! One connection to the fake server: a session, or a cancel request.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::protocol::{
    CANCEL_REQUEST, QUERY_CANCELED, READY, START_UP, Statement, answer_question, error, message,
};
use super::{Fault, Phase, Signals, State};

pub(super) struct Backend {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
    /// What has not been sent yet.
    answers: Vec<u8>,
    state: Arc<watch::Sender<State>>,
    signals: Arc<Signals>,
    pid: i32,
}

/// How a phase went.
enum Passed {
    Well,
    /// With this SQLSTATE.
    Failed(&'static str),
}

impl Backend {
    pub(super) fn new(socket: TcpStream, state: Arc<watch::Sender<State>>) -> Self {
        socket.set_nodelay(true).expect("a socket");
        let (input, output) = socket.into_split();
        let input = BufReader::new(input);
        Self { input, output, answers: Vec::new(), state, signals: Arc::default(), pid: 0 }
    }

    /// Ends when the client goes, or is hung up on.
    pub(super) async fn serve(mut self) {
        let _ = self.connection().await;
        let pid = self.pid;
        // Before the client sees the end: who has seen it may count.
        self.state.send_modify(|state| {
            state.backends.remove(&pid);
            state.before.remove(&pid);
        });
    }

    async fn connection(&mut self) -> io::Result<()> {
        let length = self.input.read_i32().await?;
        let code = self.input.read_i32().await?;
        let mut rest = vec![0; length as usize - 8];
        self.input.read_exact(&mut rest).await?;
        if code == CANCEL_REQUEST {
            return self.cancel(i32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]])).await;
        }
        assert_eq!(code, START_UP, "a start-up message");
        self.state.send_modify(|state| {
            state.logins += 1;
            self.pid = state.logins;
        });
        if let Passed::Failed(code) = self.pass(Phase::Connect, "").await? {
            error(&mut self.answers, "FATAL", code);
            return self.flush().await;
        }
        let (pid, signals) = (self.pid, Arc::clone(&self.signals));
        self.state.send_modify(|state| _ = state.backends.insert(pid, Arc::clone(&signals)));
        message(&mut self.answers, b'R', &0_i32.to_be_bytes());
        message(&mut self.answers, b'S', b"client_encoding\0UTF8\0");
        for (name, value) in self.state.borrow().reported.clone() {
            message(&mut self.answers, b'S', format!("{name}\0{value}\0").as_bytes());
        }
        message(&mut self.answers, b'K', &[pid.to_be_bytes(), pid.to_be_bytes()].concat());
        self.answers.extend(READY);
        tokio::select! {
            ended = self.statements() => ended,
            () = signals.hang_up.notified() => Ok(()),
        }
    }

    async fn cancel(&mut self, pid: i32) -> io::Result<()> {
        self.pid = -pid;
        self.pass(Phase::Cancel, "").await?;
        if let Some(signals) = self.state.borrow().backends.get(&pid) {
            signals.cancel.notify_waiters();
        }
        self.output.shutdown().await
    }

    async fn statements(&mut self) -> io::Result<()> {
        let mut prepared: HashMap<String, Arc<Statement>> = HashMap::new();
        let mut bound = Arc::new(Statement::default());
        let (mut empty, mut failed) = (true, false);
        let mut body = Vec::new();
        loop {
            // Whoever pipelines gets its answers together, as from PostgreSQL.
            if self.input.buffer().is_empty() {
                self.flush().await?;
            }
            let kind = self.input.read_u8().await?;
            let length = self.input.read_i32().await?;
            body.resize(length as usize - 4, 0);
            self.input.read_exact(&mut body).await?;
            let mut texts = body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let mut text = || texts.next().unwrap_or_default();
            match kind {
                b'X' => return Ok(()),
                b'Q' => {
                    let sql = text().into_owned();
                    let lacking = self.state.borrow().lacks(&sql);
                    let passed = match lacking {
                        Some(code) => Passed::Failed(code),
                        None => self.pass(Phase::Simple, &sql).await?,
                    };
                    match passed {
                        Passed::Failed(code) => error(&mut self.answers, "ERROR", code),
                        Passed::Well => {
                            answer_question(&mut self.answers, &sql);
                            message(&mut self.answers, b'C', b"SELECT 0\0");
                            self.state.send_modify(|state| state.simple_queries.push(sql));
                        }
                    }
                    self.answers.extend(READY);
                }
                b'S' => {
                    if empty && let Passed::Failed(code) = self.pass(Phase::Check, "").await? {
                        error(&mut self.answers, "ERROR", code);
                    }
                    (empty, failed) = (true, false);
                    self.state.send_modify(|state| state.syncs += 1);
                    self.answers.extend(READY);
                }
                _ if failed => {}
                b'P' => {
                    let (name, sql) = (text().into_owned(), text());
                    prepared.insert(name, Arc::new(Statement::of(&sql)));
                    message(&mut self.answers, b'1', &[]);
                }
                b'D' => {
                    let name = text();
                    let name = name.strip_prefix('S').expect("a statement, no portal");
                    prepared[name].describe(&mut self.answers);
                }
                b'B' => {
                    let (_portal, name) = (text(), text());
                    bound = Arc::clone(&prepared[name.as_ref()]);
                    message(&mut self.answers, b'2', &[]);
                }
                b'E' => match self.pass(Phase::Statement, bound.sql()).await? {
                    Passed::Well => bound.execute(&mut self.answers),
                    Passed::Failed(code) => {
                        failed = true;
                        error(&mut self.answers, "ERROR", code);
                    }
                },
                b'C' => message(&mut self.answers, b'3', &[]),
                other => panic!("message {:?}", char::from(other)),
            }
            empty &= kind == b'Q';
            empty |= kind == b'S';
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.output.write_all(&self.answers).await?;
        self.answers.clear();
        Ok(())
    }

    /// Stands before the gate while it is held, and does what the script says. An error ends the connection.
    async fn pass(&mut self, phase: Phase, what: &str) -> io::Result<Passed> {
        let (pid, signals) = (self.pid, Arc::clone(&self.signals));
        // From now on no cancel request is missed.
        let cancelled = signals.cancel.notified();
        let (mut fault, mut waits) = (None, false);
        self.state.send_modify(|state| {
            fault = state.next_fault(phase, what);
            waits = match fault {
                None => state.held.contains(&phase) && !state.answered.contains(what),
                Some(fault) => fault == Fault::Slow,
            };
            if waits {
                state.before.insert(pid, (phase, what.to_owned()));
            } else if fault.is_none() {
                *state.passed.entry(phase).or_default() += 1;
            }
        });
        match fault {
            None if !waits => return Ok(Passed::Well),
            Some(Fault::Error(code)) => return Ok(Passed::Failed(code)),
            Some(Fault::Fatal(code)) => {
                error(&mut self.answers, "FATAL", code);
                self.flush().await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Fault::HangUp) => return Err(io::ErrorKind::ConnectionAborted.into()),
            None | Some(Fault::Slow | Fault::Silence) => self.flush().await?,
        }
        let mut state = self.state.subscribe();
        // What `wait_for` returns keeps the state locked.
        let opened = async { drop(state.wait_for(|state| !state.before.contains_key(&pid)).await) };
        tokio::select! {
            () = opened, if waits => {
                self.state.send_modify(|state| *state.passed.entry(phase).or_default() += 1);
                Ok(Passed::Well)
            }
            () = cancelled, if phase == Phase::Statement => {
                self.state.send_modify(|state| _ = state.before.remove(&pid));
                Ok(Passed::Failed(QUERY_CANCELED))
            }
            // A server that does not even answer a Sync does not listen to a cancel request either.
            () = hung_up(&mut self.input), if !waits && phase != Phase::Statement => {
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }
}

impl State {
    /// The SQLSTATE of a statement that the server does not know.
    fn lacks(&self, sql: &str) -> Option<&'static str> {
        self.lacking.iter().find(|(part, _)| sql.contains(part)).map(|(_, code)| *code)
    }

    fn next_fault(&mut self, phase: Phase, what: &str) -> Option<Fault> {
        let next = self.script.iter().position(|(at, part, _)| *at == phase && what.contains(part))?;
        Some(self.script.remove(next).2)
    }
}

/// Reads on without a word until the other side has hung up.
async fn hung_up(input: &mut BufReader<OwnedReadHalf>) {
    let mut ignored = [0; 4096];
    while let Ok(1..) = input.read(&mut ignored).await {}
}
