//! Texts that a pooler must not answer with what it has prepared before.
//!
//! A pooler that keeps prepared statements takes two clients' statements with one text for the same, for as long as its server connection
//! lives. When a table has changed, the server refuses to describe the old one, each time. So the text is changed, too: a
//! comment with a number is put behind it.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// So many texts have a number. One that has lost it gets another when it is refused.
const MOST: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// A text that fails each time is changed once in this time: each change stays in the pooler's memory.
const PAUSE: Duration = Duration::from_secs(10);

/// The numbers of texts, and since when they have them. The sessions of a database share it.
#[derive(Debug)]
pub(super) struct Changed(Mutex<LruCache<Box<str>, (u32, Instant)>>);

impl Default for Changed {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Changed {
    /// The text as it is to be prepared.
    pub(super) fn text<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        match self.texts().get(sql) {
            None => Cow::Borrowed(sql),
            Some((number, _)) => Cow::Owned(numbered(sql, *number)),
        }
    }

    /// Changes the text, unless somebody else has done so since it was prepared as `refused`.
    pub(super) fn change(&self, sql: &str, refused: &str) {
        let mut texts = self.texts();
        let is_changed = match texts.peek(sql) {
            None => sql != refused,
            Some((number, _)) => numbered(sql, *number) != refused,
        };
        if !is_changed {
            texts.put(sql.into(), new());
        }
    }

    /// Changes the text, unless that has been done of late. The pooler's statement may be out of date, or the text may be wrong.
    pub(super) fn doubt(&self, sql: &str) {
        let mut texts = self.texts();
        if texts.peek(sql).is_none_or(|(_, since)| since.elapsed() >= PAUSE) {
            texts.put(sql.into(), new());
        }
    }

    fn texts(&self) -> MutexGuard<'_, LruCache<Box<str>, (u32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By chance: no two processes choose the same.
fn new() -> (u32, Instant) {
    (rand::random(), Instant::now())
}

/// On a line of its own, because the last one may end with a comment.
fn numbered(sql: &str, number: u32) -> String {
    format!("{sql}\n-- {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_are_refused_one_changes_the_text() {
        let (changed, sql) = (Changed::default(), "SELECT 1 -- one");
        assert_eq!(changed.text(sql), sql);
        changed.change(sql, sql);
        let first = changed.text(sql);
        assert!(
            first.strip_prefix("SELECT 1 -- one\n-- ").is_some_and(|number| number.parse::<u32>().is_ok())
        );
        changed.change(sql, sql);
        assert_eq!(changed.text(sql), first);
        changed.change(sql, &first);
        assert_ne!(changed.text(sql), first);
        assert_eq!(changed.text("SELECT 2"), "SELECT 2");
    }

    #[test]
    fn a_text_that_fails_each_time_is_changed_once() {
        let (changed, sql) = (Changed::default(), "SELECT nothing()");
        changed.doubt(sql);
        let first = changed.text(sql);
        assert_ne!(first, sql);
        changed.doubt(sql);
        assert_eq!(changed.text(sql), first);
    }
}
