//! An application under load whose every answer is checked: 32 clients, 4 workers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix_pg::{Connection, Database, Error};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, rt, web};
use test_support::eventually;
use tokio::time::{Instant, sleep, timeout};

use crate::common::HANG;

pub const CLIENTS: usize = 32;
const WORKERS: usize = 4;

/// What a client was told.
#[derive(Debug)]
pub struct Outcome {
    pub token: String,
    pub kind: &'static str,
    /// 0 for a connection that was closed without an answer.
    pub status: u16,
    pub body: String,
    pub took: Duration,
}

impl Outcome {
    pub fn is_success(&self) -> bool {
        self.status == 200
    }

    /// A success that says the row is there.
    fn is_written(&self) -> bool {
        self.is_success() && matches!(self.kind, "write" | "transfer")
    }
}

/// Writes a row of its own and reads it back.
async fn write(token: web::Path<String>, conn: Connection) -> Result<String, Error> {
    conn.execute("INSERT INTO written (id) VALUES ($1)", &[&*token]).await?;
    conn.query_one_scalar("SELECT id FROM written WHERE id = $1", &[&*token]).await
}

/// The same in a transaction, with a release that has to be refused in between.
async fn transfer(token: web::Path<String>, conn: Connection) -> Result<String, Error> {
    conn.batch_execute("BEGIN").await?;
    conn.execute("INSERT INTO written (id) VALUES ($1)", &[&*token]).await?;
    conn.query("SELECT pg_sleep(0.001)", &[]).await?;
    let read = conn.query_one_scalar("SELECT id FROM written WHERE id = $1", &[&*token]).await?;
    conn.batch_execute("SELECT 1; COMMIT").await?;
    Ok(read)
}

async fn echo(token: web::Path<String>, conn: Connection) -> Result<String, Error> {
    conn.query_one_scalar("SELECT $1::text", &[&*token]).await
}

/// Gives the session back in the middle, and leaves something on it at the end.
async fn dirty(token: web::Path<String>, conn: Connection) -> Result<String, Error> {
    conn.query_one_scalar::<String>("SELECT $1::text", &[&*token]).await?;
    conn.release()?;
    conn.query_one_scalar("SELECT set_config('app.token', $1, false)", &[&*token]).await
}

async fn explode(conn: Connection) -> String {
    let _ = conn.query("SELECT 1", &[]).await;
    panic!("a handler panics")
}

/// The clients, their application, and what they were told so far.
pub struct Load {
    outcomes: Rc<RefCell<Vec<Outcome>>>,
    stop: Rc<Cell<bool>>,
    clients: Vec<rt::task::JoinHandle<()>>,
    server: ServerHandle,
}

impl Load {
    pub async fn start(db: &Database) -> Self {
        Self::with(db, &["write", "transfer", "echo", "dirty"]).await
    }

    pub async fn with(db: &Database, kinds: &'static [&'static str]) -> Self {
        let schema = "CREATE TABLE IF NOT EXISTS written (id text PRIMARY KEY)";
        db.connection().batch_execute(schema).await.expect("a table");
        let theirs = db.clone();
        let server = HttpServer::new(move || {
            App::new()
                .wrap(theirs.middleware())
                .route("/write/{token}", web::get().to(write))
                .route("/transfer/{token}", web::get().to(transfer))
                .route("/echo/{token}", web::get().to(echo))
                .route("/dirty/{token}", web::get().to(dirty))
                .route("/explode/{token}", web::get().to(explode))
        })
        .workers(WORKERS)
        .disable_signals()
        .shutdown_timeout(20)
        .bind(("127.0.0.1", 0))
        .expect("a free port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        let stop = Rc::new(Cell::new(false));
        let clients = (0..CLIENTS)
            .map(|number| {
                let (outcomes, stop) = (Rc::clone(&outcomes), Rc::clone(&stop));
                rt::spawn(async move {
                    // A connection pool of its own: each client is a client.
                    let client = awc::Client::builder().timeout(HANG).finish();
                    let mut round = number;
                    while !stop.get() {
                        let kind = kinds[round % kinds.len()];
                        round += 1;
                        let token = format!("{number}-{round}-{:x}", rand::random::<u64>());
                        let start = Instant::now();
                        let request = client.get(format!("http://{address}/{kind}/{token}")).send();
                        let (status, body) = match request.await {
                            Ok(mut response) => {
                                let body = response.body().await.unwrap_or_default();
                                (response.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
                            }
                            Err(_) => (0, String::new()),
                        };
                        let outcome = Outcome { token, kind, status, body, took: start.elapsed() };
                        let failed = !outcome.is_success();
                        outcomes.borrow_mut().push(outcome);
                        if failed {
                            // A client that was turned away does not come back at once.
                            sleep(Duration::from_millis(20)).await;
                        }
                    }
                })
            })
            .collect();
        Self { outcomes, stop, clients, server: handle }
    }

    fn count(&self, success: bool) -> usize {
        self.outcomes.borrow().iter().filter(|outcome| outcome.is_success() == success).count()
    }

    /// Waits for so many more answers of success.
    pub async fn successes(&self, more: usize) {
        let wanted = self.count(true) + more;
        eventually("successes", || async { self.count(true) >= wanted }).await;
    }

    /// Waits for so many more failures.
    pub async fn failures(&self, more: usize) {
        let wanted = self.count(false) + more;
        eventually("failures", || async { self.count(false) >= wanted }).await;
    }

    /// Ends the load, and checks what holds whatever happened: nobody waited beyond the bound, every success is one,
    /// every failure is a kind that a client can tell from it, and no answer went to another.
    pub async fn stop(self, db: &Database, bound: Duration, statuses: &[u16]) -> Vec<Outcome> {
        self.stop.set(true);
        for client in self.clients {
            timeout(HANG, client).await.expect("a request hangs").expect("no panic");
        }
        self.server.stop(true).await;
        let outcomes = self.outcomes.take();
        let conn = db.connection();
        let written: Vec<String> = conn.query_scalar("SELECT id FROM written", &[]).await.expect("rows");
        let written: std::collections::HashSet<String> = written.into_iter().collect();
        for outcome in &outcomes {
            assert!(outcome.took < bound, "beyond its bound of {bound:?}: {outcome:?}");
            match outcome.is_success() {
                true => assert_eq!(outcome.body, outcome.token, "somebody else's answer: {outcome:?}"),
                false => {
                    assert_eq!(outcome.body, "", "a failure says too much: {outcome:?}");
                    assert!(statuses.contains(&outcome.status), "{outcome:?}");
                }
            }
            assert!(
                !outcome.is_written() || written.contains(&outcome.token),
                "it was not written: {outcome:?}"
            );
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.is_success()).count();
        let slowest = outcomes.iter().map(|outcome| outcome.took).max().unwrap_or_default();
        eprintln!("    {} requests, {failed} failed, the slowest took {slowest:.2?}", outcomes.len());
        outcomes
    }
}
