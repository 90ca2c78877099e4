//! What the viewers share while there are any.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use actix_pg::{Database, Warning, Watch};
use futures_core::Stream;

/// What the viewers share while there are any.
pub(crate) struct Look {
    pub(crate) watch: Watch,
    warnings: Mutex<Pin<Box<dyn Stream<Item = Warning> + Send>>>,
}

impl Look {
    pub(crate) fn at(db: &Database) -> Self {
        let watch = db.watch();
        let warnings = Mutex::new(Box::pin(watch.warnings()) as _);
        Self { watch, warnings }
    }

    /// The warnings since the last call.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match warnings.as_mut().poll_next(&mut cx) {
            Poll::Ready(warning) => warning,
            Poll::Pending => None,
        })
        .collect()
    }
}
