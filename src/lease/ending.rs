//! The end of a transaction that has callbacks: its commit at home, and what runs after it.
//!
//! ```text
//!   commit() ──no callbacks──> COMMIT here
//!      │
//!      └──> a task at home: COMMIT ──answered──> the guard is dropped ──> the callbacks ──> commit() returns
//!             │ the caller is gone before COMMIT was sent: rolled back
//! ```
//!
//! The task goes on when its caller is gone. So a callback runs if, and only if, COMMIT is known to have been carried out.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::callbacks::{Callback, Decided, drop_guarded, run};
use super::health::Health;
use super::lender::Lender;
use super::{Lease, TransactionGuard};
use crate::pool::Pool;
use crate::{Error, Result};

/// A transaction that was not committed, and why.
#[derive(Debug)]
pub(crate) struct NotCommitted {
    pub(crate) err: Error,
    /// `None` if home has stopped.
    pub(crate) guard: Option<Arc<TransactionGuard>>,
}

/// Commits a transaction, and returns when what was registered to run after that has ended.
///
/// Cancellation safety: dropped before COMMIT was sent, it rolls back. After that the callbacks run when it was answered.
pub(crate) async fn commit(guard: Arc<TransactionGuard>) -> Result<(), NotCommitted> {
    let lender = guard.lender();
    if let Lender::Pool(pool) = &lender
        && guard.has_callbacks()
    {
        // Boxed, because few transactions have callbacks.
        return commit_at_home(Arc::clone(pool), guard).boxed().await;
    }
    if let Err(err) = guard.commit().await {
        return Err(NotCommitted { err, guard: Some(guard) });
    }
    let callbacks = guard.take_committed();
    drop(guard);
    if !callbacks.is_empty() {
        run_after_commit(&lender, callbacks).boxed().await;
    }
    Ok(())
}

/// Commits a transaction, unless the function that was handed it has ended it.
pub(crate) async fn finish(guard: Arc<TransactionGuard>) -> Result<(), NotCommitted> {
    if guard.is_ended() { Ok(()) } else { commit(guard).await }
}

async fn commit_at_home(pool: Arc<Pool>, guard: Arc<TransactionGuard>) -> Result<(), NotCommitted> {
    let (mut answer, answered) = oneshot::channel();
    let sent = Arc::new(AtomicBool::new(false));
    let is_sent = Arc::clone(&sent);
    let task = pool.spawn_callbacks(async move {
        let committed = {
            let mut commit = pin!(guard.commit());
            poll_fn(|cx| {
                if !is_sent.load(Ordering::Acquire) && answer.poll_closed(cx).is_ready() {
                    return Poll::Ready(None);
                }
                let committed = commit.as_mut().poll(cx);
                if guard.is_ending() || committed.is_ready() {
                    is_sent.store(true, Ordering::Release);
                }
                committed.map(Some)
            })
            .await
        };
        match committed {
            None => {}
            Some(Err(err)) => {
                let _ = answer.send(Err(NotCommitted { err, guard: Some(guard) }));
            }
            Some(Ok(())) => {
                let callbacks = guard.take_committed();
                drop(guard);
                // The callbacks cannot change it.
                let _ = answer.send(Ok(()));
                run(callbacks).await;
            }
        }
    });
    match answered.await {
        Ok(committed) => {
            // Fails if home stops meanwhile. What was committed stays so.
            let _ = task.await;
            committed
        }
        Err(_) => {
            let err = Error::Acquire(pool.stopped());
            let unknown = sent.load(Ordering::Acquire);
            let err = if unknown { Error::OutcomeUnknown(Box::new(err)) } else { err };
            Err(NotCommitted { err, guard: None })
        }
    }
}

/// Runs callbacks at home, and returns when they have ended. A sandbox keeps them, because nothing is committed in it.
///
/// Cancellation safety: from the first poll on, they run whether anybody waits or not.
pub(crate) async fn run_after_commit(lender: &Lender, callbacks: Vec<Callback>) {
    match lender {
        Lender::Pool(pool) => {
            let _ = pool.spawn_callbacks(run(callbacks)).await;
        }
        Lender::Reader(reader) => {
            let _ = reader.standbys().spawn_callbacks(run(callbacks)).await;
        }
        #[cfg(feature = "testing")]
        Lender::Sandbox(sandbox) => sandbox.keep(callbacks),
    }
}

/// Runs callbacks at home, after a rollback in which nothing had been sent.
pub(crate) fn run_after_rollback(pool: &Pool, callbacks: Vec<Callback>) {
    if !callbacks.is_empty() {
        drop(pool.spawn_callbacks(run(callbacks)));
    }
}

/// Runs what was registered to run after rollbacks that have been answered, or that the end of a broken session makes up for.
pub(super) fn run_decided(lease: &Lease, decided: Decided) {
    let Decided { due, dropped } = decided;
    drop_guarded(dropped);
    if due.is_empty() {
        return;
    }
    let pool = Arc::clone(lease.pool());
    let ended = {
        let mut state = lease.state();
        (state.health == Health::Broken).then(|| {
            let (ends, ended) = oneshot::channel();
            state.told_of_end.get_or_insert_default().push(ends);
            ended
        })
    };
    let bound = pool.session_settings().reset_timeout;
    let tracked = Arc::clone(&pool);
    drop(tracked.spawn_callbacks(async move {
        if let Some(ended) = ended {
            // A callback may hold the connection whose lease keeps the session from ending.
            let _ = timeout(bound, ended).await;
        }
        run(due).await;
    }));
}
