//! The examples, run as programs: each serves what its first line says, and stops when it is told to.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use awc::http::Method;
use test_support::{eventually, soon};
use tokio::net::TcpStream;

/// An example that serves HTTP.
struct Example {
    process: Child,
    port: u16,
}

impl Example {
    /// Starts it on a free port. `None` where it has not been built, as with `cargo test --test it`.
    async fn start(name: &str) -> Option<Self> {
        let port =
            TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let mut command = command(name)?;
        let process = command.env("PORT", port.to_string()).spawn().expect("a program");
        eventually("it listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        Some(Self { process, port })
    }

    /// The status and the body of the answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
        body: &'static str,
    ) -> (u16, String) {
        let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let sent = client.request(method, url).insert_header(header).send_body(body);
        let mut answer = sent.await.expect("an answer");
        let body = answer.body().limit(256 << 20).await.expect("a body");
        (answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(Method::GET, path, ("accept", "*/*"), "").await
    }

    async fn post(&self, path: &str) -> (u16, String) {
        self.ask(Method::POST, path, ("accept", "*/*"), "").await
    }

    /// Stops it as an operator does.
    async fn stop(mut self) {
        let told = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status();
        assert!(told.expect("a signal").success());
        let ended = tokio::task::spawn_blocking(move || self.process.wait());
        let status: ExitStatus = soon("the end", ended).await.expect("no panic").expect("a status");
        assert!(status.success(), "{status}");
    }
}

/// The program that Cargo has built of an example, beside this one.
fn command(name: &str) -> Option<Command> {
    let tests = env::current_exe().expect("this program");
    let examples: PathBuf = tests.ancestors().nth(2).expect("the folder of Cargo's profile").join("examples");
    let program = examples.join(name);
    if !program.exists() {
        assert!(env::var_os("CI").is_none(), "{} has not been built", program.display());
        eprintln!("skipped: `cargo build --examples` makes {}", program.display());
        return None;
    }
    let mut command = Command::new(program);
    command.env_remove("DATABASE_URL").stdout(Stdio::null());
    Some(command)
}

#[actix_web::test]
async fn quickstart() {
    let Some(example) = Example::start("quickstart").await else { return };
    let json = ("content-type", "application/json");
    let made = example.ask(Method::POST, "/users", json, r#"{"name":"ada"}"#).await;
    assert_eq!(made, (201, r#"{"id":1,"name":"ada"}"#.to_owned()));
    assert_eq!(example.get("/users/1").await, (200, r#"{"id":1,"name":"ada"}"#.to_owned()));
    assert_eq!(example.get("/users/2").await.0, 404);
    example.stop().await;
}

#[actix_web::test]
async fn tenants() {
    let Some(example) = Example::start("tenants").await else { return };
    assert_eq!(example.get("/notes").await.0, 401);
    let (ada, grace) = (("x-tenant", "ada"), ("x-tenant", "grace"));
    assert_eq!(example.ask(Method::POST, "/notes", ada, "hers").await.0, 200);
    assert_eq!(example.ask(Method::GET, "/notes", ada, "").await, (200, r#"["hers"]"#.to_owned()));
    assert_eq!(example.ask(Method::GET, "/notes", grace, "").await, (200, "[]".to_owned()));
    example.stop().await;
}

#[actix_web::test]
async fn transactions() {
    let Some(example) = Example::start("transactions").await else { return };
    assert_eq!(example.post("/transfer/1/2/30").await, (200, "70 left\n".to_owned()));
    // The second of two statements fails, and undoes the first.
    assert_eq!(example.post("/request/1/2/1000").await.0, 500);
    assert_eq!(example.get("/balance/2").await, (200, "130\n".to_owned()));
    assert_eq!(example.post("/halve/2/1").await, (200, "135 there\n".to_owned()));
    assert_eq!(example.post("/transfer/1/3/5").await.0, 404);
    assert_eq!(example.get("/balance/1").await, (200, "135\n".to_owned()));
    example.stop().await;
}

#[actix_web::test]
async fn stream_csv() {
    let Some(example) = Example::start("stream_csv").await else { return };
    let (status, rows) = example.get("/numbers.csv").await;
    assert_eq!((status, rows.lines().count()), (200, 1_000_000));
    assert!(example.get("/copy.csv").await == (200, rows));
    example.stop().await;
}

#[cfg(feature = "metrics")]
#[actix_web::test]
async fn metrics() {
    let Some(example) = Example::start("metrics").await else { return };
    assert_eq!(example.get("/users/1").await, (200, "ada".to_owned()));
    let (status, metrics) = example.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("db_client_connection_count"), "{metrics}");
    example.stop().await;
}

#[actix_web::test]
async fn soak() {
    let Some(mut command) = command("soak") else { return };
    let ran = tokio::task::spawn_blocking(move || command.args(["--minutes", "0.05"]).status());
    assert!(ran.await.expect("no panic").expect("a status").success());
}
