//! Asks the thread that makes and drops databases.
//!
//! It has a runtime of its own: those of the tests come and go, and a drop has none to wait on.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::Error;
use crate::origin::Origin;
use crate::work::{Request, Source, Work};

/// Bound on the wait for a database of a given server to be dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle of the thread, which ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    requests: UnboundedSender<Request>,
    origin: Origin,
}

impl Keeper {
    /// Proves a given server reachable, and removes from it what others have left behind.
    pub(crate) fn start(admin: tokio_postgres::Config, origin: Origin) -> Result<Self, Error> {
        let (requests, received) = unbounded_channel();
        let (started, start) = mpsc::channel();
        let thread_error =
            |source| Error::Program { program: "the thread that makes databases".into(), source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread_error)?;
        thread::Builder::new()
            .name("actix-pg-testing".into())
            .spawn(move || {
                runtime.block_on(async {
                    let mut work = Work::new(admin, origin);
                    let _ = started.send(match origin {
                        Origin::Ours => Ok(()),
                        Origin::Given => work.drop_orphans().await,
                    });
                    work.serve(received).await;
                });
            })
            .map_err(thread_error)?;
        start.recv().unwrap_or(Err(Error::Ended))?;
        Ok(Self { requests, origin })
    }

    pub(crate) async fn create(&self) -> Result<String, Error> {
        self.request_database(Source::Nothing).await
    }

    pub(crate) async fn create_with(&self, schema: Vec<String>) -> Result<String, Error> {
        self.request_database(Source::Schema(schema)).await
    }

    pub(crate) async fn create_from(&self, template: &str) -> Result<String, Error> {
        self.request_database(Source::Database(template.to_owned())).await
    }

    pub(crate) fn drop_database(&self, name: &str) {
        let name = name.to_owned();
        match self.origin {
            Origin::Ours => drop(self.requests.send(Request::Drop(name, None))),
            Origin::Given => self.wait_for(|done| Request::Drop(name, Some(done))),
        }
    }

    /// Whether it is a server of our own.
    pub(crate) fn is_ours(&self) -> bool {
        self.origin == Origin::Ours
    }

    /// The one value that a query has, a text.
    pub(crate) fn ask(&self, action: &'static str, query: impl Into<String>) -> Result<String, Error> {
        let (reply, answer) = mpsc::channel();
        self.requests.send(Request::Ask(action, query.into(), reply)).map_err(|_| Error::Ended)?;
        answer.recv().unwrap_or(Err(Error::Ended))
    }

    /// The server is not needed any more, though some of its databases may still have an owner.
    pub(crate) fn finish(&self) {
        if self.origin == Origin::Given {
            self.wait_for(Request::Finish);
        }
    }

    async fn request_database(&self, source: Source) -> Result<String, Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Create(source, reply)).map_err(|_| Error::Ended)?;
        answer.await.unwrap_or(Err(Error::Ended))
    }

    fn wait_for(&self, request: impl FnOnce(mpsc::Sender<()>) -> Request) {
        let (done, end) = mpsc::channel();
        if self.requests.send(request(done)).is_ok() {
            let _ = end.recv_timeout(DROP_TIMEOUT);
        }
    }
}
