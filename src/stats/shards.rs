//! One cell for each thread, as far as there are enough.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many cells there are. More threads than this share them.
const SHARDS: usize = 8;

/// Cells that threads write to without disturbing one another.
#[derive(Debug, Default)]
pub(super) struct Shards<T>([Padded<T>; SHARDS]);

/// A cell that shares its cache line with no other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T> Shards<T> {
    /// The cell of this thread.
    pub(super) fn own(&self) -> &T {
        &self.0[shard()].0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|cell| &cell.0)
    }
}

fn shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    // A thread that is ending has lost its own.
    SHARD
        .try_with(|own| match own.get() {
            Some(shard) => shard,
            None => {
                let shard = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
                own.set(Some(shard));
                shard
            }
        })
        .unwrap_or(0)
}
