//! A look-up of a type that waits behind the answer which it is for.
//!
//! The driver looks up a type that it meets in the description of an answer, and reads the rows later. A large answer fills the driver's
//! queue meanwhile, so that neither goes on. Types that are known do not come to that, unless a table has got a new one since.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::timeout;

use crate::session::{is_of_analysis, is_of_parameter};
use crate::{Error, tokio_postgres};

/// How long a look-up may take for a statement that can run again. It is a few round trips.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for another statement, whose answer is lost then.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// Why a statement was not begun.
#[derive(Debug)]
pub(in crate::lease) enum Failure {
    Driver(tokio_postgres::Error),
    /// The driver waits for a look-up, in vain. The statement has run, or runs.
    Stuck {
        only_reads: bool,
    },
}

impl From<tokio_postgres::Error> for Failure {
    fn from(err: tokio_postgres::Error) -> Self {
        Self::Driver(err)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Driver(err) => err.into(),
            Failure::Stuck { only_reads: true } => Self::SessionLost,
            Failure::Stuck { only_reads: false } => Self::OutcomeUnknown(Box::new(Self::SessionLost)),
        }
    }
}

impl Failure {
    /// Whether nothing was sent.
    pub(in crate::lease) fn is_of_parameter(&self) -> bool {
        matches!(self, Self::Driver(err) if is_of_parameter(err))
    }

    /// Whether the statement can run again: it was refused before it ran, or does nothing but read.
    pub(in crate::lease) fn can_run_again(&self) -> bool {
        match self {
            Self::Driver(err) => is_of_parameter(err) || is_of_analysis(err),
            Self::Stuck { only_reads } => *only_reads,
        }
    }
}

/// Waits for the description of an answer, and gives up if the driver has it but cannot look its types up.
pub(in crate::lease) async fn unless_stuck<T>(
    sent: impl Future<Output = Result<T, tokio_postgres::Error>>,
    only_reads: bool,
) -> Result<T, Failure> {
    let mut sent = pin!(sent);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let described = poll_fn(|cx| {
        woken.task.register(cx.waker());
        // Only the answer wakes it. What is left to wait for then is the answer to a look-up.
        let has_come = woken.by_answer.load(Ordering::Acquire);
        match sent.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(described) => Poll::Ready(Some(described)),
            Poll::Pending if has_come => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    if let Some(described) = described.await {
        return Ok(described?);
    }
    let patience = if only_reads { PATIENCE } else { LONG_PATIENCE };
    // Boxed, because that is rare.
    match Box::pin(timeout(patience, sent)).await {
        Ok(described) => Ok(described?),
        Err(_) => Err(Failure::Stuck { only_reads }),
    }
}

#[derive(Default)]
struct Woken {
    by_answer: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.by_answer.store(true, Ordering::Release);
        self.task.wake();
    }
}
