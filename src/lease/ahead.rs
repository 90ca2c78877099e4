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
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture, join};

use super::admission::Due;
use super::stage::Stage;
use super::state::{Reply, SettingsSent};
use super::transaction_stack::FrameId;
use super::{Lease, probe};
use crate::{Error, Result};

/// What is sent ahead of a statement. The statement that causes it holds it.
///
/// Cancellation safety: dropped before it is answered, it is abandoned like a statement, and fails the transaction.
#[must_use = "what counts as sent has to be sent"]
pub(crate) struct Ahead(BoxFuture<'static, Result<()>>);

impl Ahead {
    /// What counts as sent, to be sent at the first poll.
    pub(crate) fn send(due: Due, lease: &Arc<Lease>) -> Self {
        let Due { settings, begin, probes, within } = due;
        let sent = |reply| Sent { lease: Arc::clone(lease), reply: Some(reply), within };
        let settings = settings.map(|settings| (sent(Reply::Whole), settings));
        let begin = begin.map(|(frame, start)| (sent(Reply::Control), frame, start));
        Self(Box::pin(carried_out(Arc::clone(lease), settings, begin, probes)))
    }

    /// Waits until it is answered.
    pub(crate) async fn answered(self) -> Result<()> {
        self.0.await
    }

    /// Sends a message behind it, and waits until both are answered.
    ///
    /// One that the driver refuses before it is sent is waited for, too.
    pub(crate) async fn along<F: Future>(self, message: F) -> Result<F::Output, Failed<F::Output>> {
        match join(self.0, message).await {
            (Ok(()), answer) => Ok(answer),
            (Err(error), answer) => Err(Failed { error, answer }),
        }
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}

async fn carried_out(
    lease: Arc<Lease>,
    settings: Option<(Sent, SettingsSent)>,
    begin: Option<(Sent, FrameId, Box<str>)>,
    probes: bool,
) -> Result<()> {
    let unpinned = lease.is_unpinned();
    let apply = settings.as_ref().map(|(_, settings)| async {
        match unpinned {
            false => {
                let restore = &lease.pool().session_settings().restore;
                lease.settings().apply(lease.session(), *settings, restore).await
            }
            true => lease.settings().apply_to_transaction(lease.session().client()).await,
        }
    });
    let apply: OptionFuture<_> = apply.into();
    let start = begin.as_ref().map(|(_, frame, start)| probe::begin(&lease, *frame, start, probes));
    let start: OptionFuture<_> = start.into();
    // The one that is polled first is sent first.
    let (applied, begun) = match unpinned {
        false => join(apply, start).await,
        true => join(start, apply).map(|(begun, applied)| (applied, begun)).await,
    };

    let failed = applied.as_ref().is_some_and(Result::is_err) || begun.as_ref().is_some_and(Result::is_err);
    if let Some((_, frame, _)) = &begin {
        // Nobody else may send before the answer to BEGIN is recorded below.
        let mut state = lease.state();
        match &begun {
            // SQL has begun one, which is not to be held up by a frame that the server does not know.
            Some(Err(Error::Busy(_))) => state.transactions.leave(*frame),
            _ if failed => state.transactions.fail(Some(*frame)),
            _ => state.transactions.stage(*frame, Stage::Open),
        }
    }
    let applied = match (settings, applied) {
        (Some((sent, settings)), Some(applied)) => {
            let applied = sent.answered(applied);
            match &applied {
                Ok(version) => lease.state().settings_applied(*version, settings),
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

/// What was sent ahead of a message has failed, so that the answer to the message does not count.
pub(crate) struct Failed<T> {
    pub(crate) error: Error,
    pub(crate) answer: T,
}
