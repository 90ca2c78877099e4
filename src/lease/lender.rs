//! Who lends: the pool, or in tests a sandbox in front of it.

use std::sync::Arc;

use super::Lease;
use super::request_settings::RequestSettings;
#[cfg(feature = "testing")]
use super::sandbox::Sandbox;
use crate::pool::{AcquireError, Pool};

/// What a request borrows from.
#[derive(Debug, Clone)]
pub(crate) struct Lender {
    pool: Arc<Pool>,
    #[cfg(feature = "testing")]
    sandbox: Option<Arc<Sandbox>>,
}

impl Lender {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            #[cfg(feature = "testing")]
            sandbox: None,
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn within(&self, sandbox: Arc<Sandbox>) -> Self {
        Self { pool: Arc::clone(&self.pool), sandbox: Some(sandbox) }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        #[cfg(feature = "testing")]
        if self.sandbox.as_ref().map(Arc::as_ptr) != other.sandbox.as_ref().map(Arc::as_ptr) {
            return false;
        }
        Arc::ptr_eq(&self.pool, &other.pool)
    }

    /// Whether a session is lent for one use at a time.
    pub(crate) fn in_turns(&self) -> bool {
        #[cfg(feature = "testing")]
        return self.sandbox.is_some();
        #[cfg(not(feature = "testing"))]
        false
    }

    /// Lends a session without waiting, if that is possible.
    pub(crate) fn acquire_now(&self, settings: &Arc<RequestSettings>) -> Option<Arc<Lease>> {
        if self.in_turns() {
            return None;
        }
        let lease = Lease::new(self.pool.acquire_now()?);
        lease.configure(settings);
        Some(lease)
    }

    /// Lends a session, on which the settings are applied before the first statement.
    pub(crate) async fn acquire(&self, settings: &Arc<RequestSettings>) -> Result<Arc<Lease>, AcquireError> {
        self.pool.within_acquire_timeout(self.acquire_in_time(settings)).await?
    }

    /// The same for one who looks after the bound himself: see [`Pool::acquire_in_time`].
    pub(crate) async fn acquire_in_time(
        &self,
        settings: &Arc<RequestSettings>,
    ) -> Result<Arc<Lease>, AcquireError> {
        #[cfg(feature = "testing")]
        if let Some(sandbox) = &self.sandbox {
            let lease = sandbox.turn(settings).await?;
            lease.configure(settings);
            return Ok(lease);
        }
        let lease = Lease::new(self.pool.acquire_in_time().await?);
        lease.configure(settings);
        Ok(lease)
    }

    /// Ends the pool, or the sandbox.
    pub(crate) async fn close(&self) {
        #[cfg(feature = "testing")]
        if let Some(sandbox) = &self.sandbox {
            return sandbox.close().await;
        }
        self.pool.close().await;
    }
}
