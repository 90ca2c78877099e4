//! What is sent ahead of a statement: the settings of the request, and the beginning of a transaction that was put off.
//!
//! ```text
//!   settings ─> START TRANSACTION ─> a statement that changes nothing     one round trip
//!   settings ─> START TRANSACTION ─────answered────> another statement    two
//! ```
//!
//! A statement behind something that fails is carried out all the same, by itself. So its answer does not count then, and a
//! transaction that was to be begun can only be rolled back. What may be sent so: [`admission`](super::admission).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, OptionFuture, join};
use pin_project_lite::pin_project;

use super::Lease;
use super::admission::Due;
use super::state::Reply;
use super::transaction_stack::{FrameId, Stage};
use crate::{Error, Result};

/// What is sent ahead of a statement, if anything is. The statement that causes it holds it.
///
/// Cancellation safety: dropped before it is answered, it is abandoned like a statement, and fails the transaction.
#[must_use = "what counts as sent has to be sent"]
pub(crate) struct Ahead(Option<Box<BoxFuture<'static, Result<()>>>>);

impl Ahead {
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// What counts as sent, to be sent at the first poll.
    pub(crate) fn send(due: Due, lease: &Arc<Lease>) -> Self {
        let Due { settings, begin, within } = due;
        let sent = |reply| Sent { lease: Arc::clone(lease), reply: Some(reply), within };
        let settings = settings.map(|generation| (sent(Reply::Whole), generation));
        let begin = begin.map(|(frame, start)| (sent(Reply::Control), frame, start));
        // In a box of a box, because most statements have nothing ahead of them and the futures of all have room for this.
        Self(Some(Box::new(Box::pin(carried_out(Arc::clone(lease), settings, begin)))))
    }

    /// Waits until it is answered.
    pub(crate) async fn answered(self) -> Result<()> {
        match self.0 {
            Some(ahead) => ahead.await,
            None => Ok(()),
        }
    }

    /// Sends a message behind it, and waits until both are answered.
    pub(crate) fn along<F: Future>(self, message: F) -> Along<F> {
        let behind = |ahead| Box::new(Behind { ahead: Some(ahead), failed: None, answer: None });
        Along { behind: self.0.map(behind), message }
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ahead").field(&self.0.is_some()).finish()
    }
}

async fn carried_out(
    lease: Arc<Lease>,
    settings: Option<(Sent, u64)>,
    begin: Option<(Sent, FrameId, Box<str>)>,
) -> Result<()> {
    let client = lease.session().client();
    let apply: OptionFuture<_> = settings.is_some().then(|| lease.settings().apply(client)).into();
    let start: OptionFuture<_> = begin.as_ref().map(|(_, _, start)| client.batch_execute(start)).into();
    let (applied, begun) = join(apply, start).await;
    let begun = begun.map(|begun| begun.map_err(|err| Error::Begin(err.into())));

    let failed = applied.as_ref().is_some_and(Result::is_err) || begun.as_ref().is_some_and(Result::is_err);
    if let Some((_, frame, _)) = &begin {
        // Nobody else may send before the answer to BEGIN is recorded below.
        let mut state = lease.state();
        match failed {
            true => state.transactions.fail(Some(*frame)),
            false => state.transactions.stage(*frame, Stage::Open),
        }
    }
    let applied = match (settings, applied) {
        (Some((sent, generation)), Some(applied)) => {
            let applied = sent.answered(applied);
            match &applied {
                Ok(version) => lease.state().settings_applied(*version, generation),
                Err(_) => lease.state().settings_refused(lease.settings().version()),
            }
            applied.map(drop)
        }
        _ => Ok(()),
    };
    let begun = match (begin, begun) {
        (Some((sent, ..)), Some(begun)) => sent.answered(begun),
        _ => Ok(()),
    };
    applied.and(begun)
}

/// A message that is accounted for until it is answered.
struct Sent {
    lease: Arc<Lease>,
    /// `None` when it has been answered.
    reply: Option<Reply>,
    within: Option<FrameId>,
}

impl Sent {
    fn answered<T>(mut self, answer: Result<T>) -> Result<T> {
        if let Some(reply) = self.reply.take() {
            self.lease.answered(reply, &answer);
        }
        answer
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            self.lease.abandoned(reply, self.within, self.lease.state());
        }
    }
}

pin_project! {
    /// A message behind what is sent ahead of it. An `async fn` would contain `message` twice.
    pub(crate) struct Along<F: Future> {
        behind: Option<Box<Behind<F::Output>>>,
        #[pin]
        message: F,
    }
}

/// How far a message and what is sent ahead of it have come.
struct Behind<T> {
    /// `None` when it has been answered.
    ahead: Option<Box<BoxFuture<'static, Result<()>>>>,
    failed: Option<Error>,
    /// The answer to a message that the driver has refused before it was sent.
    answer: Option<T>,
}

/// What was sent ahead of a message has failed, so that the answer to the message does not count.
pub(crate) struct Failed<T> {
    pub(crate) error: Error,
    pub(crate) answer: T,
}

impl<F: Future> Future for Along<F> {
    type Output = Result<F::Output, Box<Failed<F::Output>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(behind) = this.behind else {
            return this.message.poll(cx).map(Ok);
        };
        if let Some(ahead) = &mut behind.ahead
            && let Poll::Ready(went) = ahead.as_mut().as_mut().poll(cx)
        {
            behind.ahead = None;
            behind.failed = went.err();
        }
        let answer = match behind.answer.take() {
            Some(answer) => answer,
            None => ready!(this.message.poll(cx)),
        };
        if behind.ahead.is_some() {
            behind.answer = Some(answer);
            return Poll::Pending;
        }
        Poll::Ready(match behind.failed.take() {
            None => Ok(answer),
            Some(error) => Err(Box::new(Failed { error, answer })),
        })
    }
}
