//! A real server with several workers, and real clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_pg::{Connection, Database, Result};
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{rt, web};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Serves an `App` on that many workers: `listen!(4, || App::new())`, with more calls on the `HttpServer` behind it.
#[macro_export]
macro_rules! listen {
    ($workers:expr, $app:expr $(, $option:ident($($value:expr),*))* $(,)?) => {{
        let server = ::actix_web::HttpServer::new($app)
            .workers($workers)
            .disable_signals()
            .shutdown_timeout(20)
            $(.$option($($value),*))*
            .bind(("127.0.0.1", 0))
            .expect("a free port");
        let address = server.addrs()[0];
        $crate::TestApp::of(address, server.run())
    }};
}
/// An application on a port of its own.
pub struct TestApp {
    address: SocketAddr,
    handle: ServerHandle,
    server: rt::task::JoinHandle<std::io::Result<()>>,
    client: awc::Client,
}

impl TestApp {
    /// Routes behind the middleware, on four workers.
    pub fn start(
        db: &Database,
        routes: impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        Self::with_workers(4, db, routes)
    }

    /// Routes behind the middleware, on as many workers.
    pub fn with_workers(
        workers: usize,
        db: &Database,
        routes: impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let db = db.clone();
        crate::listen!(workers, move || actix_web::App::new().wrap(db.middleware()).configure(routes.clone()))
    }

    /// A server that listens on `address`; started here.
    pub fn of(address: SocketAddr, server: Server) -> Self {
        let handle = server.handle();
        let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
        Self { address, handle, server: rt::spawn(server), client }
    }

    /// The address of a route.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops and pauses the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Sends a GET, and fails the test where there is no response.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("a response")
    }

    /// Sends a GET.
    pub async fn try_get(&self, path: &str) -> std::result::Result<Answer, awc::error::SendRequestError> {
        Answer::of(self.client.get(self.url(path)).send()).await
    }

    /// Sends a POST with JSON, and fails the test where there is no response.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        Answer::of(self.client.post(self.url(path)).send_json(body)).await.expect("a response")
    }

    /// Stops accepting, answers what was accepted, and returns when every worker has ended.
    pub async fn stop(self) {
        let Self { handle, server, client, .. } = self;
        drop(client);
        handle.stop(true).await;
        server.await.expect("a joined server").expect("a server that ended well");
    }
}

/// Three routes: `/` asks for a number, `/tenant` leaves a setting behind, and `/slow` takes 5 ms.
pub fn routes(config: &mut web::ServiceConfig) {
    let clean = async |conn: Connection| -> Result<String> {
        Ok(conn.query_one_scalar::<i32>("SELECT 1", &[]).await?.to_string())
    };
    let dirty = async |conn: Connection| -> Result<String> {
        conn.set_config("app.tenant", "ada")?;
        conn.query_one_scalar("SELECT current_setting('app.tenant')", &[]).await
    };
    let slow = async |conn: Connection| -> Result<String> {
        conn.query("SELECT pg_sleep(0.005)", &[]).await?;
        Ok(String::new())
    };
    config.route("/", web::get().to(clean));
    config.route("/tenant", web::get().to(dirty));
    config.route("/slow", web::get().to(slow));
}

/// Waits until the first of the [`routes`] answers (P14): the next attempt comes at most 1.2 s after the last; the login takes
/// the rest.
pub async fn serves_again(app: &TestApp) {
    let back = Instant::now();
    while app.get("/").await.status != StatusCode::OK {
        assert!(back.elapsed() < Duration::from_millis(1500), "no answer within 1.5 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the client saw.
#[derive(Debug)]
pub struct Answer {
    /// The status line.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    async fn of(request: awc::SendClientRequest) -> std::result::Result<Self, awc::error::SendRequestError> {
        let mut response = request.await?;
        let body = response.body().limit(64 << 20).await.expect("a body");
        Ok(Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// The body, from JSON.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.body))
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.body
    }
}

/// One connection of a client: its requests go to one worker, and it may hang up whenever it likes.
pub struct Wire(TcpStream);

impl Wire {
    /// Connects to an application.
    pub async fn to(app: &TestApp) -> Self {
        Self(TcpStream::connect(app.address()).await.expect("a connection"))
    }

    /// Sends a GET without reading the answer.
    pub async fn send(&mut self, path: &str) {
        self.try_send(path).await.expect("a request");
    }

    /// Fails if the server has hung up.
    pub async fn try_send(&mut self, path: &str) -> std::io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.0.write_all(request.as_bytes()).await
    }

    /// Reads until `part` has come.
    pub async fn read_until(&mut self, part: &str) -> String {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(part) {
            assert!(self.0.read_buf(&mut text).await.expect("more") > 0, "ended at {text:?}");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends a request and reads a 200 with a body that is not chunked.
    pub async fn get(&mut self, path: &str) -> String {
        self.send(path).await;
        self.answer().await.expect("an answer")
    }

    /// The body of a 200, or `None` if the server hung up without an answer.
    pub async fn answer(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
                assert!(head.starts_with("HTTP/1.1 200"), "{so_far}");
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
                });
                let length: usize = length.expect("a length").parse().expect("a number");
                if body.len() >= length {
                    return Some(body.to_owned());
                }
            }
            match self.0.read_buf(&mut text).await {
                Ok(1..) => {}
                Ok(0) | Err(_) if text.is_empty() => return None,
                ended => panic!("{ended:?} within an answer: {so_far}"),
            }
        }
    }
}
