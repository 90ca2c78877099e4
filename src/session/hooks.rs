//! The application's own steps in the life of a session.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::lag::LagBound;
use super::password::PasswordSource;
use crate::tokio_postgres::{Client, Error};

type AfterConnect = dyn for<'a> Fn(&'a Client) -> BoxFuture<'a, Result<(), Error>> + Send + Sync;
type Accepts = dyn Fn(&Client) -> bool + Send + Sync;

/// The hooks of a database. The connector holds them.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) password: Option<Arc<PasswordSource>>,
    pub(crate) after_connect: Option<Arc<AfterConnect>>,
    pub(crate) before_acquire: Option<Arc<Accepts>>,
    pub(crate) after_release: Option<Arc<Accepts>>,
    /// How far a standby may be behind. It is no hook of the application's, but stands beside them: it too refuses a session.
    pub(crate) lag: Option<Arc<LagBound>>,
}

/// How a hook after the login, or after a reset, has failed.
#[derive(Debug)]
pub(crate) enum HookFailed {
    Postgres(Error),
    /// It panicked, or took too long.
    Interrupted,
}

impl Hooks {
    /// Sets up a session that has been opened or reset. A hook that panics has failed.
    pub(crate) async fn set_up(&self, client: &Client, bound: Duration) -> Result<(), HookFailed> {
        let Some(hook) = &self.after_connect else {
            return Ok(());
        };
        let running = AssertUnwindSafe(async { hook(client).await }).catch_unwind();
        match timeout(bound, running).await {
            Ok(Ok(done)) => done.map_err(HookFailed::Postgres),
            Ok(Err(_)) | Err(_) => Err(HookFailed::Interrupted),
        }
    }

    /// Whether the session may be lent, if there is a hook that says so.
    pub(crate) fn accepts_acquire(&self, client: &Client) -> Option<bool> {
        let hook = self.before_acquire.as_deref()?;
        Some(accepts(Some(hook), client))
    }

    /// Whether the session may go back to the pool.
    pub(crate) fn accepts_release(&self, client: &Client) -> bool {
        accepts(self.after_release.as_deref(), client)
    }
}

/// A hook that panics refuses.
fn accepts(hook: Option<&Accepts>, client: &Client) -> bool {
    hook.is_none_or(|hook| catch_unwind(AssertUnwindSafe(|| hook(client))).unwrap_or(false))
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("password", &self.password.is_some())
            .field("after_connect", &self.after_connect.is_some())
            .field("before_acquire", &self.before_acquire.is_some())
            .field("after_release", &self.after_release.is_some())
            .finish()
    }
}
