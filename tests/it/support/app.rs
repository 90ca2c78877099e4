//! A real server with several workers, and a real client.

use std::net::SocketAddr;

use actix_pg::Database;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{App, HttpServer, rt, web};
use serde::de::DeserializeOwned;

/// An application behind the middleware, on four workers unless told otherwise.
pub struct TestApp {
    address: SocketAddr,
    handle: ServerHandle,
    server: rt::task::JoinHandle<std::io::Result<()>>,
    client: awc::Client,
}

impl TestApp {
    pub async fn start(db: &Database, routes: fn(&mut web::ServiceConfig)) -> Self {
        Self::with_workers(4, db, routes).await
    }

    pub async fn with_workers(workers: usize, db: &Database, routes: fn(&mut web::ServiceConfig)) -> Self {
        let db = db.clone();
        Self::serve(workers, move |config| {
            config.service(web::scope("").wrap(db.middleware()).configure(routes));
        })
    }

    /// An application that is not wrapped in anything.
    pub fn serve(workers: usize, routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) -> Self {
        let server = HttpServer::new(move || App::new().configure(routes.clone()))
            .workers(workers)
            .disable_signals()
            .shutdown_timeout(10)
            .bind(("127.0.0.1", 0))
            .expect("a free port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        let client = awc::Client::builder().timeout(std::time::Duration::from_secs(30)).finish();
        Self { address, handle, server: rt::spawn(server), client }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(self.url(path)).send()).await
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        Answer::of(self.client.post(self.url(path)).send_json(body)).await
    }

    /// Stops accepting, answers what was accepted, and returns when every worker has ended.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        self.server.await.expect("a joined server").expect("a server that ended well");
    }
}

/// What the client saw.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    async fn of(request: awc::SendClientRequest) -> Self {
        let mut response = request.await.expect("a response");
        let body = response.body().limit(64 << 20).await.expect("a body");
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.body))
    }
}
