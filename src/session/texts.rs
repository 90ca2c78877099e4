//! The types of texts that are sent without a name.
//!
//! Only a named statement says which types a text has. So a text is prepared once for all sessions of a database, its statement is closed, and
//! its types are kept. From then on it goes out with them, in one message, on any session. That works only where the driver knows all types
//! without a look-up: it would look up in the middle of the answer. A text with another type is prepared each time.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::changed::Changed;
use crate::row::KeptColumn;
use crate::sql::has_types_of_its_own;
use crate::tokio_postgres::types::Type;
use crate::tokio_postgres::{Column, Statement};

/// The bytes of a description: a column without its name, and a parameter.
const COLUMN: usize = 19;
const PARAM: usize = 4;

/// The longest description. The server's buffer has 8 KiB, and a table may get more columns.
const LONGEST: usize = 6 * 1024;

/// A text is prepared anew after this time. A parameter may have got another type, to which the server converts the old one, so that
/// nothing is refused. A statement that a session keeps would be as old for as long as the session lives.
const AGE: Duration = Duration::from_secs(10 * 60);

/// The longest text whose types are kept, in bytes.
const LONGEST_TEXT: usize = 64 * 1024;

/// The texts whose types are known and all built in, and those that a pooler is to prepare anew. The sessions of a database share it.
#[derive(Debug)]
pub(crate) struct Texts {
    known: Mutex<LruCache<Box<str>, Arc<Types>>>,
    pub(super) changed: Changed,
}

/// The types of a text: those of its parameters, and its columns.
#[derive(Debug)]
pub(crate) struct Types {
    params: Box<[Type]>,
    columns: Box<[KeptColumn]>,
    since: Instant,
}

impl Texts {
    /// Keeps so many. The one that was used least recently makes room.
    pub(super) fn new(size: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { known: Mutex::new(LruCache::new(size)), changed: Changed::default() })
    }

    /// The types of a text, if they are known.
    pub(super) fn get(&self, sql: &str) -> Option<Arc<Types>> {
        self.get_at(sql, Instant::now())
    }

    fn get_at(&self, sql: &str, now: Instant) -> Option<Arc<Types>> {
        let types = self.known().get(sql).cloned();
        types.filter(|types| now.saturating_duration_since(types.since) < AGE)
    }

    /// Keeps the types of a text that was prepared, if all are built in.
    pub(super) fn learn(&self, sql: &str, statement: &Statement) {
        if sql.len() <= LONGEST_TEXT
            && has_types_of_its_own(sql)
            && let Some(types) = Types::of(statement)
        {
            self.known().put(sql.into(), Arc::new(types));
        }
    }

    pub(super) fn forget(&self, sql: &str) {
        drop(self.known().pop(sql));
    }

    fn known(&self) -> MutexGuard<'_, LruCache<Box<str>, Arc<Types>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Types {
    /// Those of a statement. `None` if the driver would have to look one of them up, or if the description is too long.
    fn of(statement: &Statement) -> Option<Self> {
        let is_known = statement.params().iter().all(is_built_in) && are_built_in(statement.columns());
        (is_known && comes_at_once(statement)).then(|| Self {
            params: statement.params().into(),
            columns: statement.columns().iter().map(KeptColumn::from).collect(),
            since: Instant::now(),
        })
    }

    pub(crate) fn params(&self) -> &[Type] {
        &self.params
    }

    pub(crate) fn columns(&self) -> &[KeptColumn] {
        &self.columns
    }

    /// Whether these are the columns of an answer.
    pub(crate) fn are_of(&self, columns: &[Column]) -> bool {
        let same = |(kept, column): (&KeptColumn, &Column)| kept.is(column);
        self.columns.len() == columns.len() && self.columns.iter().zip(columns).all(same)
    }
}

/// Whether the server sends the description of an answer at once: it waits for the rows behind what fills its buffer.
fn comes_at_once(statement: &Statement) -> bool {
    let columns = statement.columns();
    let names = columns.iter().map(|column| column.name().len()).sum::<usize>();
    columns.is_empty() || names + columns.len() * COLUMN + statement.params().len() * PARAM <= LONGEST
}

/// Whether the driver knows the types of columns without a look-up.
pub(crate) fn are_built_in(columns: &[Column]) -> bool {
    columns.iter().all(|column| is_built_in(column.type_()))
}

pub(super) fn is_built_in(of: &Type) -> bool {
    Type::from_oid(of.oid()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

    fn put(texts: &Texts, sql: &str, since: Instant) {
        let types = Types { params: [Type::INT4].into(), columns: [].into(), since };
        texts.known().put(sql.into(), Arc::new(types));
    }

    #[test]
    fn so_many_are_kept_and_for_so_long() {
        let (texts, now) = (Texts::new(TWO), Instant::now());
        for sql in ["one", "two"] {
            put(&texts, sql, now);
        }
        assert_eq!(texts.get_at("one", now).map(|types| types.params().to_vec()), Some(vec![Type::INT4]));
        put(&texts, "three", now);
        assert!(texts.get_at("two", now).is_none() && texts.get_at("one", now).is_some());
        assert!(texts.get_at("one", now + AGE - Duration::from_millis(1)).is_some());
        assert!(texts.get_at("one", now + AGE).is_none());
        put(&texts, "one", now + AGE);
        assert!(texts.get_at("one", now + AGE).is_some());
        texts.forget("one");
        assert!(texts.get_at("one", now).is_none());
    }
}
