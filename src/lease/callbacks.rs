//! What runs after a transaction: the callbacks that it was given, and what becomes of each.
//!
//! ```text
//!   Open ──committed──> Committed ──> runs after the commit
//!    │ │
//!    │ └──left────────> RolledBack ──its guard is dropped──> Due ──the rollback is answered──> runs after it
//!    │                     │ the attempt is repeated
//!    └── forgotten, or its savepoint is rolled back ──> Dropped
//! ```
//!
//! A callback is the application's: it is called and dropped outside of the lock under which this list is kept.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::telemetry;

/// The end of a transaction that a callback waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Commit,
    Rollback,
}

impl After {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Rollback => "rollback",
        }
    }
}

/// What the application runs after a transaction.
pub(crate) struct Callback {
    after: After,
    /// The line that has registered it.
    caller: &'static Location<'static>,
    call: Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>,
}

impl Callback {
    pub(crate) fn new<F, Fut>(after: After, caller: &'static Location<'static>, call: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self { after, caller, call: Box::new(move || call().boxed()) }
    }

    pub(crate) fn is_after(&self, after: After) -> bool {
        self.after == after
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("after", &self.after).field("caller", &self.caller).finish()
    }
}

/// Runs callbacks one after the other. One that panics is a line of the log, and the next one runs.
pub(crate) async fn run(callbacks: Vec<Callback>) {
    for Callback { after, caller, call } in callbacks {
        let call = AssertUnwindSafe(async move { call().await });
        if let Err(panic) = call.catch_unwind().await {
            drop_guarded(panic);
            telemetry::callback_panicked(after.name(), caller);
        }
    }
}

/// Drops what is the application's, which may panic.
pub(crate) fn drop_guarded<T>(theirs: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(theirs)));
}

/// The callbacks of the transactions on a lent session, in the order in which they were registered.
#[derive(Debug, Default)]
pub(crate) struct Callbacks(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    /// The identity of the transaction.
    transaction: u64,
    /// The savepoint in it whose rollback drops the callback; 0 for none.
    savepoint: usize,
    fate: Fate,
    callback: Callback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    RolledBack,
    Due,
    Dropped,
}

/// The callbacks that nothing has to be waited for any more.
#[derive(Debug)]
pub(crate) struct Decided {
    /// To be run now.
    pub(crate) due: Vec<Callback>,
    /// To be dropped outside of the lock.
    pub(crate) dropped: Vec<Callback>,
}

impl Callbacks {
    pub(crate) fn register(&mut self, transaction: u64, savepoint: usize, callback: Callback) {
        self.0.push(Entry { transaction, savepoint, fate: Fate::Open, callback });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records that a transaction was committed, or that a savepoint was released: what was registered in that belongs to what is
    /// around it.
    pub(crate) fn committed(&mut self, savepoint: usize) {
        for entry in self.open(savepoint) {
            if savepoint > 0 {
                entry.savepoint = savepoint - 1;
            } else {
                entry.fate = match entry.callback.after {
                    After::Commit => Fate::Committed,
                    After::Rollback => Fate::Dropped,
                };
            }
        }
    }

    /// Records that a transaction or a savepoint was given up. `known` says that it has not been committed.
    pub(crate) fn left(&mut self, savepoint: usize, known: bool) {
        for entry in self.open(savepoint) {
            let runs = known && entry.savepoint == 0 && entry.callback.after == After::Rollback;
            entry.fate = if runs { Fate::RolledBack } else { Fate::Dropped };
        }
    }

    fn open(&mut self, savepoint: usize) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut().filter(move |entry| entry.fate == Fate::Open && entry.savepoint >= savepoint)
    }

    /// Records that a transaction that was given up will not be repeated.
    pub(crate) fn released(&mut self, transaction: u64) {
        for entry in self.of(transaction).filter(|entry| entry.fate == Fate::RolledBack) {
            entry.fate = Fate::Due;
        }
    }

    /// Records that no callback of a transaction is to run.
    pub(crate) fn forget(&mut self, transaction: u64) {
        self.of(transaction).for_each(|entry| entry.fate = Fate::Dropped);
    }

    fn of(&mut self, transaction: u64) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut().filter(move |entry| entry.transaction == transaction)
    }

    /// Takes what runs after the commit of a transaction.
    pub(crate) fn take_committed(&mut self, transaction: u64) -> Vec<Callback> {
        self.take(|entry| entry.fate == Fate::Committed && entry.transaction == transaction)
    }

    /// Takes what is decided. `answered` says that no rollback is on its way.
    pub(crate) fn take_decided(&mut self, answered: bool) -> Decided {
        Decided {
            due: self.take(|entry| answered && entry.fate == Fate::Due),
            dropped: self.take(|entry| entry.fate == Fate::Dropped),
        }
    }

    fn take(&mut self, which: impl Fn(&Entry) -> bool) -> Vec<Callback> {
        if !self.0.iter().any(&which) {
            return Vec::new();
        }
        let (taken, left) = mem::take(&mut self.0).into_iter().partition(which);
        self.0 = left;
        let taken: Vec<Entry> = taken;
        taken.into_iter().map(|entry| entry.callback).collect()
    }
}
