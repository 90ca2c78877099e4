//! An application with a dashboard, and somebody who looks at it.

use std::net::SocketAddr;
use std::time::Duration;

use actix_pg::testing::{Postgres, TestDatabase};
use actix_pg::{Config, Database};
use actix_web::dev::ServerHandle;
use actix_web::rt::{self, time::timeout};
use actix_web::web::Bytes;
use actix_web::{App, HttpServer};
use awc::error::PayloadError;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

/// Longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct TestApp {
    pub(crate) db: Database,
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    _database: Option<TestDatabase>,
}

impl TestApp {
    /// With a database of its own.
    pub(crate) async fn start(configure: impl FnOnce(Config) -> Config) -> Self {
        let database = Postgres::shared().expect("a server").database().await.expect("a database");
        let mut app = Self::on(configure(database.config())).await;
        app._database = Some(database);
        app
    }

    pub(crate) async fn on(config: Config) -> Self {
        let db = Database::connect(config).await.expect("a connection");
        let mounted = db.clone();
        let server = HttpServer::new(move || {
            App::new()
                .service(actix_pg_dashboard::scope(&mounted))
                .service(actix_pg_dashboard::scope_at("/deep/inside", &mounted))
        });
        let server = server.workers(2).disable_signals().bind(("127.0.0.1", 0)).expect("a free port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        Self { db, address, handle, _database: None }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(
        &self,
        path: &str,
    ) -> (awc::http::StatusCode, awc::http::header::HeaderMap, String) {
        let client = awc::Client::builder().disable_redirects().timeout(PATIENCE).finish();
        let mut response = client.get(self.url(path)).send().await.expect("a response");
        let body = response.body().await.expect("a body");
        (response.status(), response.headers().clone(), String::from_utf8(body.to_vec()).expect("text"))
    }

    pub(crate) async fn look(
        &self,
    ) -> Viewer<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<>> {
        self.look_again(None).await
    }

    /// Looks as a page does whose stream has ended.
    pub(crate) async fn look_again(
        &self,
        seen: Option<u64>,
    ) -> Viewer<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<>> {
        let mut request = awc::Client::new().get(self.url("/dashboard/events"));
        if let Some(seen) = seen {
            request = request.insert_header(("last-event-id", seen.to_string()));
        }
        let response = request.send().await.expect("a response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get("content-type").expect("a type"), "text/event-stream");
        assert_eq!(response.headers().get("cache-control").expect("a policy"), "no-store");
        Viewer { body: response, read: Vec::new() }
    }

    pub(crate) async fn stop(self) {
        self.handle.stop(false).await;
        self.db.close().await;
    }
}

/// Somebody who reads the events.
pub(crate) struct Viewer<S> {
    body: S,
    read: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) data: Value,
    pub(crate) bytes: usize,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Viewer<S> {
    /// The next event. `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(Event::parse(std::str::from_utf8(&event).expect("text")));
            }
            let chunk = timeout(PATIENCE, self.body.next()).await.expect("an event in time")?;
            self.read.extend_from_slice(&chunk.expect("a stream that goes on"));
        }
    }

    pub(crate) async fn sample(&mut self) -> Event {
        loop {
            let event = self.next().await.expect("a stream that goes on");
            if event.name == "sample" {
                return event;
            }
        }
    }

    /// The first sample that is as expected.
    pub(crate) async fn sample_where(&mut self, expected: impl Fn(&Value) -> bool) -> Event {
        let wait = async {
            loop {
                let event = self.sample().await;
                if expected(&event.data) {
                    return event;
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("a sample that is as expected")
    }
}

impl Event {
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name}: {text}"))
        };
        Self {
            name: field("event").into(),
            id: field("id").parse().expect("a number"),
            data: serde_json::from_str(field("data")).expect("JSON"),
            bytes: text.len(),
        }
    }
}
