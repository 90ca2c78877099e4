//! As much of PostgreSQL as the pool can tell from the real one, with a gate in front of everything it does.
//!
//! Logins succeed, statements affect one row, and a `SELECT` has one row with the number 1. A test makes the server wait with
//! [`FakeServer::hold`], and fail with [`FakeServer::script`].

mod backend;
mod protocol;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use actix_pg::Config;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use backend::Backend;

/// What the server can be made to wait before, or to fail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
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

/// What happens to one who comes to a phase, instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error with this SQLSTATE. A login ends with it.
    Error(&'static str),
    /// The same, and the end of the connection behind it.
    Fatal(&'static str),
    /// An answer when the gate is opened, and not before.
    Slow,
    /// Nothing, until the client hangs up, or cancels its statement.
    Silence,
    /// The end of the connection.
    HangUp,
}

/// A server in this process, on the runtime that made it; it goes when it is dropped, with all that it holds back.
pub struct FakeServer {
    port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    held: HashSet<Phase>,
    /// Statements that may pass though the gate is held.
    answered: HashSet<String>,
    /// What happens to the next who comes to a phase with a statement of which this is a part; once.
    script: Vec<(Phase, &'static str, Fault)>,
    /// What is reported at the login.
    reported: Vec<(&'static str, &'static str)>,
    /// What no simple query may contain, and the SQLSTATE of the refusal.
    lacking: Vec<(&'static str, &'static str)>,
    /// Who stands before a gate, by backend: the phase, and the statement.
    before: HashMap<i32, (Phase, String)>,
    /// Phases passed by anybody, in all.
    passed: HashMap<Phase, usize>,
    /// Who is logged in.
    backends: HashMap<i32, Arc<Signals>>,
    logins: i32,
    simple_queries: Vec<String>,
    syncs: usize,
}

/// What a backend is told from outside of its connection.
#[derive(Debug, Default)]
struct Signals {
    cancel: Notify,
    hang_up: Notify,
}

impl FakeServer {
    /// Listens on a free port of this machine.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let theirs = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Backend::new(socket, Arc::clone(&theirs)).serve());
            }
        });
        Self { port, state, accepting: accepting.abort_handle() }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The DSN of its one database.
    pub fn dsn(&self) -> String {
        format!("postgres://fake@127.0.0.1:{}/fake?sslmode=disable", self.port)
    }

    /// A configuration for at most `size` sessions on this server.
    pub fn config(&self, size: u32) -> Config {
        Config { dsn: Some(self.dsn()), pool_min_size: 0, pool_max_size: size, ..Config::default() }
    }

    /// Makes everybody wait who comes to this gate from now on.
    pub fn hold(&self, phase: Phase) {
        self.state.send_modify(|state| _ = state.held.insert(phase));
    }

    /// Lets everybody pass, those who wait included.
    pub fn open(&self, phase: Phase) {
        self.state.send_modify(|state| {
            state.held.remove(&phase);
            state.before.retain(|_, (at, _)| *at != phase);
        });
    }

    /// Lets everybody pass every gate.
    pub fn open_all(&self) {
        self.state.send_modify(|state| {
            state.held.clear();
            state.before.clear();
        });
    }

    /// Lets one statement pass, now or when it comes.
    pub fn answer(&self, sql: &str) {
        self.state.send_modify(|state| {
            state.answered.insert(sql.to_owned());
            state.before.retain(|_, (_, statement)| statement != sql);
        });
    }

    /// Has something happen to the next who comes to a phase with a statement of which `part` is a part; once.
    pub fn script(&self, phase: Phase, part: &'static str, fault: Fault) {
        self.state.send_modify(|state| state.script.push((phase, part, fault)));
    }

    /// Has every login from now on report a parameter, as the version of the server.
    pub fn reports(&self, name: &'static str, value: &'static str) {
        self.state.send_modify(|state| state.reported.push((name, value)));
    }

    /// Refuses every simple query that contains this, with an SQLSTATE.
    pub fn lacks(&self, part: &'static str, code: &'static str) {
        self.state.send_modify(|state| state.lacking.push((part, code)));
    }

    /// Waits until somebody stands before a gate.
    pub async fn reached(&self, phase: Phase) {
        let somebody = |state: &State| state.before.values().any(|(at, _)| *at == phase);
        let _ = self.state.subscribe().wait_for(somebody).await;
    }

    /// How many wait before a gate.
    pub fn before(&self, phase: Phase) -> usize {
        self.state.borrow().before.values().filter(|(at, _)| *at == phase).count()
    }

    /// How many have passed a gate since the start.
    pub fn passed(&self, phase: Phase) -> usize {
        self.state.borrow().passed.get(&phase).copied().unwrap_or(0)
    }

    /// How many are logged in.
    pub fn backends(&self) -> usize {
        self.state.borrow().backends.len()
    }

    /// Hangs up on everybody, and returns when that is done.
    pub async fn hang_up(&self) {
        self.state.borrow().backends.values().for_each(|signals| signals.hang_up.notify_one());
        let _ = self.state.subscribe().wait_for(|state| state.backends.is_empty()).await;
    }

    /// Round trips of the extended protocol.
    pub fn syncs(&self) -> usize {
        self.state.borrow().syncs
    }

    /// The simple queries that were answered, in their order.
    pub fn simple_queries(&self) -> Vec<String> {
        self.state.borrow().simple_queries.clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.open_all();
    }
}

/// The state, for a look at what went wrong.
impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.borrow().fmt(f)
    }
}
