//! What is known of each statement, once for the whole application.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::Operation;
use super::figures::Figures;
use super::sharing::Sharing;
use crate::sql::{self, SideEffects};

/// The most statements that are known at a time. The one that was prepared longest ago is forgotten, of those that no session
/// has in its cache any more: a statement that runs all the time is prepared once, and its figures are the ones that matter.
const MOST: NonZeroUsize = NonZeroUsize::new(5_000).expect("not zero");

/// So many statements are looked at to find one that no session has.
const MOST_LOOKS: usize = 500;

/// The longest text that is kept, in bytes. What is longer is read anew whenever a session prepares it.
const LONGEST: usize = 16 * 1024;

/// The statements of an application, by their text. The pool holds it.
#[derive(Debug)]
pub(crate) struct Register {
    known: Mutex<LruCache<Box<str>, Arc<StatementInfo>>>,
    watchers: AtomicUsize,
    since: Instant,
}

/// What is known of a statement. The sessions' caches share it.
#[derive(Debug)]
pub(crate) struct StatementInfo {
    sql: Box<str>,
    side_effects: SideEffects,
    only_reads: OnceLock<bool>,
    may_draw: OnceLock<bool>,
    shareable: OnceLock<bool>,
    sharing: Arc<Sharing>,
    summary: OnceLock<Box<str>>,
    fingerprint: OnceLock<u64>,
    figures: OnceLock<Box<Figures>>,
    operation: OnceLock<Arc<dyn Operation>>,
}

impl Default for Register {
    fn default() -> Self {
        Self { known: Mutex::new(LruCache::new(MOST)), watchers: AtomicUsize::new(0), since: Instant::now() }
    }
}

impl Register {
    /// What is known of a statement. Reads its text, if it has not been seen before.
    pub(crate) fn get(&self, sql: &str) -> Arc<StatementInfo> {
        if sql.len() > LONGEST {
            return Arc::new(StatementInfo::new(sql));
        }
        if let Some(known) = self.known().get(sql) {
            return Arc::clone(known);
        }
        // Read without the lock: a text may be long.
        let info = Arc::new(StatementInfo::new(sql));
        let mut known = self.known();
        if known.len() == MOST.get() && !known.contains(sql) {
            make_room(&mut known);
        }
        Arc::clone(known.get_or_insert(sql.into(), || info))
    }

    /// All statements that are known.
    pub(crate) fn all(&self) -> Vec<Arc<StatementInfo>> {
        self.known().iter().map(|(_, info)| Arc::clone(info)).collect()
    }

    /// Whether somebody reads the figures, so that they have to be kept.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Has the figures kept from now on, until [`unwatch`](Self::unwatch).
    pub(crate) fn watch(&self) {
        self.watchers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unwatch(&self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }

    /// The time since the register was made.
    pub(crate) fn age_at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, LruCache<Box<str>, Arc<StatementInfo>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets one that no session has. If there is none among the first, the next one that is added pushes out the oldest.
fn make_room(known: &mut LruCache<Box<str>, Arc<StatementInfo>>) {
    for _ in 0..MOST_LOOKS {
        match known.pop_lru() {
            Some((sql, info)) if Arc::strong_count(&info) > 1 => known.push(sql, info),
            _ => return,
        };
    }
}

impl StatementInfo {
    fn new(sql: &str) -> Self {
        Self {
            sql: sql.into(),
            side_effects: sql::side_effects(sql),
            only_reads: OnceLock::new(),
            may_draw: OnceLock::new(),
            shareable: OnceLock::new(),
            sharing: Arc::default(),
            summary: OnceLock::new(),
            fingerprint: OnceLock::new(),
            figures: OnceLock::new(),
            operation: OnceLock::new(),
        }
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    pub(crate) fn side_effects(&self) -> SideEffects {
        self.side_effects
    }

    /// Whether the statement changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        *self.only_reads.get_or_init(|| sql::only_reads(&self.sql))
    }

    /// Whether the statement may draw a number from a sequence.
    pub(crate) fn may_draw(&self) -> bool {
        *self.may_draw.get_or_init(|| sql::may_draw(&self.sql))
    }

    /// Whether the text says that the statement may run on a session that several requests share.
    pub(crate) fn is_shareable(&self) -> bool {
        *self.shareable.get_or_init(|| sql::is_shareable(&self.sql))
    }

    /// What its runs say about sharing.
    pub(crate) fn sharing(&self) -> &Arc<Sharing> {
        &self.sharing
    }

    /// The statement in a few words, for spans and metrics.
    pub(crate) fn summary(&self) -> &str {
        self.summary.get_or_init(|| sql::summary(&self.sql).into())
    }

    /// A number that stands for the text. Unlike an address, no other text gets it when this one is forgotten.
    pub(crate) fn fingerprint(&self) -> u64 {
        static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        *self.fingerprint.get_or_init(|| STATE.hash_one(&self.sql))
    }

    /// What takes the durations for the application's metrics. Found at the first run.
    ///
    /// Two threads may look for it at once: one that waited for the other would wait for the application's recorder.
    pub(super) fn operation(&self, find: impl FnOnce(&str) -> Arc<dyn Operation>) -> &dyn Operation {
        if self.operation.get().is_none() {
            let _ = self.operation.set(find(self.summary()));
        }
        &**self.operation.get().expect("set just now")
    }

    /// The figures, to be written to.
    pub(crate) fn figures(&self) -> &Figures {
        self.figures.get_or_init(Box::default)
    }

    /// The figures, if anything has been written to them.
    pub(crate) fn recorded(&self) -> Option<&Figures> {
        self.figures.get().map(|figures| &**figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once_and_the_number_of_texts_is_bounded() {
        let register = Register::default();
        let first = register.get("SELECT 1 FROM users");
        assert!(Arc::ptr_eq(&first, &register.get("SELECT 1 FROM users")));
        assert_eq!((first.summary(), first.only_reads()), ("SELECT users", true));
        for number in 0..2 * MOST.get() {
            register.get(&format!("SELECT {number}"));
        }
        assert_eq!(register.all().len(), MOST.get());
        assert!(Arc::ptr_eq(&first, &register.get("SELECT 1 FROM users")), "it is in use");
        let known = Arc::downgrade(&first);
        drop(first);
        let in_use: Vec<_> =
            (0..2 * MOST.get()).map(|number| register.get(&format!("SELECT -{number}"))).collect();
        assert_eq!(register.all().len(), MOST.get());
        assert!(known.upgrade().is_none() && in_use.len() == 2 * MOST.get());
        let long = format!("SELECT 1 -- {}", "x".repeat(LONGEST));
        assert!(!Arc::ptr_eq(&register.get(&long), &register.get(&long)));
    }
}
