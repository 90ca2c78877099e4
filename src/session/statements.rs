//! What a session knows of its statements: those that it keeps prepared, or else the types of their texts.

use std::sync::{Arc, PoisonError};

use super::Session;
use super::statement_errors::is_out_of_date;
use super::texts::Types;
use crate::stats::{Event, StatementInfo};
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Error, Statement};

/// A statement that is prepared on a session, and what is known of its text.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    pub(crate) info: Arc<StatementInfo>,
}

impl Session {
    /// Whether it keeps statements prepared.
    pub(crate) fn keeps_statements(&self) -> bool {
        self.statements.is_some()
    }

    /// The statement from the cache.
    pub(crate) fn cached(&self, sql: &str) -> Option<Prepared> {
        let mut cache = self.statements.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(sql).cloned()
    }

    /// The types of a text that can be sent without a name, if they are known. Only where no statements are kept.
    pub(crate) fn types(&self, sql: &str) -> Option<Arc<Types>> {
        self.texts.as_ref()?.get(sql)
    }

    /// Forgets the types of a text: its tables may have changed.
    pub(crate) fn forget_types(&self, sql: &str) {
        match (&self.unpinned, &self.texts) {
            (Some(unpinned), _) => unpinned.forget(sql),
            (None, Some(texts)) => texts.forget(sql),
            (None, None) => {}
        }
    }

    /// What is known of a statement, from the cache or the register.
    pub(crate) fn info(&self, sql: &str) -> Arc<StatementInfo> {
        self.cached(sql).map_or_else(|| self.stats.register.get(sql), |prepared| prepared.info)
    }

    /// Prepares a statement and keeps it for the next time, or else its types if it `learns` them.
    pub(crate) async fn prepare(&self, sql: &str, learns: bool) -> Result<Prepared, Error> {
        let statement = self.client.prepare(sql).await?;
        let prepared = Prepared { statement, info: self.stats.register.get(sql) };
        if let Some(cache) = &self.statements {
            let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(sql.into(), prepared.clone());
        } else if let Some(texts) = self.texts.as_ref().filter(|_| learns) {
            texts.learn(sql, &prepared.statement);
        }
        Ok(prepared)
    }

    /// Forgets a cached statement that the server refused to run, and says whether preparing it anew can help.
    ///
    /// Both refusals come before the statement has run: 0A000 `cached plan must not change result type` after DDL,
    /// 26000 after the statement was thrown away. A function may raise 0A000 too, when it has run; only the server's own
    /// comes from the routine that looks at a cached plan.
    pub(crate) fn forget(&self, sql: &str, err: &Error) -> bool {
        let Some(cache) = &self.statements else {
            return false;
        };
        let gone = err.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME);
        let changed = is_out_of_date(err);
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        if gone {
            self.retire();
            cache.clear();
        }
        // Another statement with the same text may have been refused just before, and have forgotten it.
        let cached = changed && cache.pop(sql).is_some();
        drop(cache);
        if cached {
            self.stats.count(Event::Renewal);
        }
        gone || changed
    }
}
