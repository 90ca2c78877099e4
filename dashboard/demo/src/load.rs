//! Requests, sent as others would send them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::rt;
use actix_web::web::Data;

/// How long a load goes on.
const LOAD: Duration = Duration::from_secs(10);

/// How long a client reads before its next request.
const PAUSE: Duration = Duration::from_millis(8);

/// Longer than any request of ours takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sends requests to the application. The workers share it.
pub(crate) struct Load {
    address: SocketAddr,
    runs: AtomicBool,
    sent: AtomicU64,
}

impl Load {
    pub(crate) fn on(address: SocketAddr) -> Self {
        Self { address, runs: AtomicBool::new(false), sent: AtomicU64::new(0) }
    }

    /// Sends one request many times at once, and does not wait for the answers.
    pub(crate) fn send(&self, method: &Method, path: &str, times: u32) {
        let client = client();
        for _ in 0..times {
            let request = client.request(method.clone(), format!("http://{}{path}", self.address)).send();
            rt::spawn(async move { request.await.map(drop) });
        }
    }

    /// Has that many clients shop for ten seconds. `false` if others do so already.
    pub(crate) fn shop(load: &Data<Self>, clients: u32) -> bool {
        if load.runs.swap(true, Ordering::SeqCst) {
            return false;
        }
        let (client, end) = (Rc::new(client()), Instant::now() + LOAD);
        for _ in 0..clients {
            let (load, client) = (load.clone(), Rc::clone(&client));
            rt::spawn(async move {
                while Instant::now() < end {
                    let _ = load.next(&client).await;
                    rt::time::sleep(PAUSE).await;
                }
            });
        }
        let load = load.clone();
        rt::spawn(async move {
            rt::time::sleep(LOAD).await;
            load.runs.store(false, Ordering::SeqCst);
        });
        true
    }

    /// Mostly looks at products; every now and then somebody searches, orders, or orders what was ordered before.
    async fn next(&self, client: &awc::Client) -> Result<(), awc::error::SendRequestError> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let url = |path: String| format!("http://{}{path}", self.address);
        let request = match number % 40 {
            7 | 27 => client.get(url(format!("/search?name={}", number % 97))),
            11 | 19 | 33 => client.post(url(format!("/orders?product={}", number % 5000 + 1))),
            39 if number % 400 == 399 => client.post(url("/orders?product=1&reference=twice".into())),
            3 | 23 => client.get(url("/welcome".into())),
            _ => client.get(url(format!("/products/{}", number % 5000 + 1))),
        };
        let _ = request.send().await?.body().await;
        Ok(())
    }
}

fn client() -> awc::Client {
    awc::Client::builder().timeout(PATIENCE).connector(awc::Connector::new().limit(0)).finish()
}
