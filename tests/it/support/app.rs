//! A real server with several workers, and real clients.

use std::net::SocketAddr;
use std::time::Duration;

use actix_pg::Database;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{rt, web};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Serves an `App` on that many workers: `listen!(4, || App::new())`, with more calls on the `HttpServer` behind it.
macro_rules! listen {
    ($workers:expr, $app:expr $(, $option:ident($($value:expr),*))* $(,)?) => {{
        let server = actix_web::HttpServer::new($app)
            .workers($workers)
            .disable_signals()
            .shutdown_timeout(20)
            $(.$option($($value),*))*
            .bind(("127.0.0.1", 0))
            .expect("a free port");
        let address = server.addrs()[0];
        $crate::support::TestApp::of(address, server.run())
    }};
}
pub(crate) use listen;

/// An application on a port of its own.
pub(crate) struct TestApp {
    address: SocketAddr,
    handle: ServerHandle,
    server: rt::task::JoinHandle<std::io::Result<()>>,
    client: awc::Client,
}

impl TestApp {
    /// Routes behind the middleware, on four workers.
    pub(crate) fn start(
        db: &Database,
        routes: impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        Self::with_workers(4, db, routes)
    }

    pub(crate) fn with_workers(
        workers: usize,
        db: &Database,
        routes: impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let db = db.clone();
        listen!(workers, move || actix_web::App::new().wrap(db.middleware()).configure(routes.clone()))
    }

    pub(crate) fn of(address: SocketAddr, server: Server) -> Self {
        let handle = server.handle();
        let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
        Self { address, handle, server: rt::spawn(server), client }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("a response")
    }

    pub(crate) async fn try_get(&self, path: &str) -> Result<Answer, awc::error::SendRequestError> {
        Answer::of(self.client.get(self.url(path)).send()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        Answer::of(self.client.post(self.url(path)).send_json(body)).await.expect("a response")
    }

    /// Stops accepting, answers what was accepted, and returns when every worker has ended.
    pub(crate) async fn stop(self) {
        let Self { handle, server, client, .. } = self;
        drop(client);
        handle.stop(true).await;
        server.await.expect("a joined server").expect("a server that ended well");
    }
}

/// What the client saw.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    async fn of(request: awc::SendClientRequest) -> Result<Self, awc::error::SendRequestError> {
        let mut response = request.await?;
        let body = response.body().limit(64 << 20).await.expect("a body");
        Ok(Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.body))
    }

    /// The body of a 200.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.body
    }
}

/// One connection of a client: its requests go to one worker, and it may hang up whenever it likes.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn to(app: &TestApp) -> Self {
        Self(TcpStream::connect(app.address()).await.expect("a connection"))
    }

    pub(crate) async fn send(&mut self, path: &str) {
        self.try_send(path).await.expect("a request");
    }

    /// Fails if the server has hung up.
    pub(crate) async fn try_send(&mut self, path: &str) -> std::io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.0.write_all(request.as_bytes()).await
    }

    /// Reads until `part` has come.
    pub(crate) async fn read_until(&mut self, part: &str) -> String {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(part) {
            assert!(self.0.read_buf(&mut text).await.expect("more") > 0, "ended at {text:?}");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends a request and reads a 200 with a body that is not chunked.
    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(path).await;
        self.answer().await.expect("an answer")
    }

    /// The body of a 200, or `None` if the server hung up without an answer.
    pub(crate) async fn answer(&mut self) -> Option<String> {
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
