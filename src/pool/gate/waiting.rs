//! A wait in the queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::Id;
use tokio::sync::oneshot;

use super::{Gate, Grant, Refusal};

/// The wait of one borrower. `None` when the gate has been closed.
///
/// Cancellation safety: its drop leaves the queue. A session that it was given already goes to the next in line.
#[derive(Debug)]
pub(crate) struct Waiting<S> {
    gate: Arc<Gate<S>>,
    lane: Option<Id>,
    number: u64,
    waits: bool,
    called: oneshot::Receiver<Result<Grant<S>, Refusal>>,
}

impl<S> Waiting<S> {
    pub(super) fn new(
        gate: &Arc<Gate<S>>,
        lane: Option<Id>,
        number: u64,
        called: oneshot::Receiver<Result<Grant<S>, Refusal>>,
    ) -> Self {
        Self { gate: Arc::clone(gate), lane, number, waits: true, called }
    }
}

impl<S> Future for Waiting<S> {
    type Output = Option<Result<Grant<S>, Refusal>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let called = ready!(Pin::new(&mut self.called).poll(cx));
        self.waits = false;
        Poll::Ready(called.ok())
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        let left = self.gate.state().lanes.leave(self.lane, self.number);
        drop(left);
        // It may have been called before, or be called now.
        self.called.close();
        if let Ok(Ok(grant)) = self.called.try_recv() {
            grant.pass_on();
        }
    }
}
