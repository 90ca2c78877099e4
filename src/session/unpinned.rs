//! Statements of a session that has another backend in each transaction.
//!
//! A name that a transaction gives on its backend would meet others there, so none outlives it. So a text is prepared in a transaction, and
//! [`Texts`] keeps its types: from then on it needs no name. A text with types that are not built in is prepared each time.
//!
//! ```text
//!   DEALLOCATE ALL; PREPARE s7 …; ──> the text is prepared ──> look-ups, if its types are new ──> … ──> DEALLOCATE ALL; COMMIT
//!   (what others have left; what the driver believes to be there)
//! ```
//!
//! The driver looks a type up with statements of its own, which it prepares once and believes in from then on. They are remembered
//! by the names that it gave them, and put back whenever a text is prepared.
//!
//! A pooler that keeps the [names](super::names) of its clients needs none of that: what the driver has prepared is there, whatever the
//! backend.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;

use super::names::{Names, is_of_driver};
use super::statement_errors::{is_of_text, is_out_of_date, may_be_out_of_date};
use super::texts::{Texts, is_built_in};
use crate::tokio_postgres::types::{Oid, Type};
use crate::tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};

/// What removes every named statement of the backend.
const DEALLOCATE: &str = "DEALLOCATE ALL";

/// The driver's statements for looking a type up. All have one parameter, the number of a type or a table.
const LOOK_UPS: &str = "SELECT name, statement FROM pg_catalog.pg_prepared_statements WHERE statement ~ \
    '^SELECT (t\\.typname, t\\.typtype|enumlabel\\s+FROM pg_catalog\\.pg_enum|attname, atttypid\\s+FROM pg_catalog\\.pg_attribute)'";

/// What a session with a backend for each transaction knows. The session holds it.
#[derive(Debug)]
pub(crate) struct Unpinned {
    texts: Arc<Texts>,
    /// Held by the one who prepares.
    look_ups: tokio::sync::Mutex<LookUps>,
    /// In the transaction that is open, names have been given.
    named: AtomicBool,
    /// In the transaction that was begun last, a number may have been drawn from a sequence.
    drawn: AtomicBool,
    names: Names,
    /// Somebody left in the middle of a look-up: nobody knows what the driver believes.
    is_lost: AtomicBool,
}

#[derive(Debug, Default)]
struct LookUps {
    /// What prepares the driver's statements under the names that it knows.
    statements: Vec<String>,
    /// The types that the driver has looked up.
    types: HashSet<Oid>,
}

impl Unpinned {
    pub(super) fn new(texts: &Arc<Texts>, names: Names) -> Self {
        Self {
            texts: Arc::clone(texts),
            look_ups: tokio::sync::Mutex::default(),
            named: AtomicBool::new(false),
            drawn: AtomicBool::new(false),
            names,
            is_lost: AtomicBool::new(false),
        }
    }

    /// Forgets what is known of a text, here and in the pooler: its tables may have changed.
    pub(crate) fn forget(&self, sql: &str) {
        self.texts.forget(sql);
        if self.keeps_names() {
            self.texts.changed.doubt(sql);
        }
    }

    /// Whether names outlive their transactions, and with them what the pooler has prepared of old.
    pub(crate) fn keeps_names(&self) -> bool {
        self.names != Names::Backend
    }

    /// Whether nobody knows what the driver believes, so that the session has to end. Not while something is being prepared.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Records that the driver has looked up a type on its own account.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// Prepares a text, in a transaction that is open. It may be run until that ends. `None` if the session is lost. `learns` keeps its types
    /// for the other sessions.
    ///
    /// What the pooler has prepared of old may be refused for a change of its tables. The next time it is prepared anew.
    ///
    /// Cancel safety: dropped, the session is lost.
    pub(crate) async fn prepare(
        &self,
        client: &Client,
        sql: &str,
        learns: bool,
    ) -> Result<Option<Statement>, Error> {
        let mut look_ups = self.look_ups.lock().await;
        if self.is_lost.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let prepared = if self.keeps_names() {
            let text = self.texts.changed.text(sql);
            let prepared = client.prepare(&text).await;
            match &prepared {
                Err(err) if is_out_of_date(err) => self.texts.changed.change(sql, &text),
                Err(err) if may_be_out_of_date(err) => self.texts.changed.doubt(sql),
                _ => {}
            }
            prepared
        } else if self.named.swap(true, Ordering::AcqRel) {
            client.prepare(sql).await
        } else {
            let others = [DEALLOCATE.to_owned()].into_iter().chain(look_ups.statements.iter().cloned());
            let restore = others.collect::<Vec<_>>().join(";");
            // One round trip. What fails first fails the transaction.
            let (restored, prepared) = join(client.batch_execute(&restore), client.prepare(sql)).await;
            restored.and(prepared)
        };
        let statement = prepared.inspect_err(|err| {
            self.is_lost.store(!is_of_text(err), Ordering::Release);
        })?;
        if learns {
            self.texts.learn(sql, &statement);
        }
        if !types(&statement).all(is_built_in)
            && !self.keeps_names()
            && !types(&statement).all(|of| look_ups.types.contains(&of.oid()))
        {
            look_ups.types.extend(types(&statement).map(Type::oid));
            self.remember(client, &mut look_ups).await?;
        }
        self.is_lost.store(false, Ordering::Release);
        Ok(Some(statement))
    }

    async fn remember(&self, client: &Client, look_ups: &mut LookUps) -> Result<(), Error> {
        for message in client.simple_query(LOOK_UPS).await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let (Some(name), Some(statement)) = (row.try_get(0)?, row.try_get(1)?) else { continue };
            if is_of_driver(name) {
                let prepare = format!("PREPARE {name} (pg_catalog.oid) AS {statement}");
                // It may have been found before, in the same transaction.
                if !look_ups.statements.contains(&prepare) {
                    look_ups.statements.push(prepare);
                }
            }
        }
        Ok(())
    }

    /// What removes the names that have been given in the open transaction, here or perhaps by SQL. Empty if there are none.
    pub(crate) fn deallocate(&self, perhaps_by_sql: bool) -> &'static str {
        match self.names {
            Names::Backend if perhaps_by_sql || self.named.load(Ordering::Acquire) => DEALLOCATE,
            Names::Pooler { clear } if perhaps_by_sql => clear,
            Names::Backend | Names::Pooler { .. } => "",
        }
    }

    /// Whether a number may have been drawn from a sequence in the open transaction.
    pub(crate) fn has_drawn(&self) -> bool {
        self.drawn.load(Ordering::Acquire)
    }

    /// Records that a number may be drawn.
    pub(crate) fn draws(&self) {
        self.drawn.store(true, Ordering::Release);
    }

    /// Records that a transaction is about to begin.
    pub(crate) fn transaction_begins(&self) {
        self.drawn.store(false, Ordering::Release);
    }

    /// Records that the transaction has ended.
    pub(crate) fn transaction_ended(&self) {
        self.named.store(false, Ordering::Release);
    }
}

fn types(statement: &Statement) -> impl Iterator<Item = &Type> {
    statement.params().iter().chain(statement.columns().iter().map(|column| column.type_()))
}
