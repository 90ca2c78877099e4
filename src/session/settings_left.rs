//! The settings that requests have left on a session, and the statement that applies them.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join;
use smallvec::SmallVec;

use crate::tokio_postgres::types::{ToSql, Type};
use crate::tokio_postgres::{Client, Error, Statement};

/// So many names are remembered. Beyond them the session is reset.
const MOST_NAMES: usize = 8;

/// Up to so many settings are applied by a statement that the session keeps prepared.
const FEW: usize = 4;

/// Applies any number of settings, to the session or to the transaction alone.
const MANY: &str = "SELECT pg_catalog.set_config(name, value, $3) \
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS settings (name, value) \
    WHERE value IS NOT NULL OR pg_catalog.current_setting(name, true) IS NOT NULL";

/// The settings that requests have left on a session. The next borrower resets those that it does not set itself, together with its
/// own and before its first statement.
#[derive(Debug, Default)]
pub(crate) struct SettingsLeft {
    names: Vec<Box<str>>,
    /// What applies one setting, two, and so on.
    prepared: Mutex<[Option<Statement>; FEW]>,
}

impl SettingsLeft {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Records what stays behind, unless that has to be reset now: because there is too much of it, or because the next borrower could be
    /// refused to reset it. Anybody may reset a custom setting, one with a dot in its name.
    #[must_use]
    pub(crate) fn replace<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str> + Clone) -> bool {
        if names.len() > MOST_NAMES || !names.clone().all(|name| name.contains('.')) {
            return false;
        }
        if !self.names().eq(names.clone()) {
            self.names.clear();
            self.names.extend(names.map(Box::from));
        }
        true
    }

    /// Records that the session has been reset.
    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    /// Applies settings, in one message: all or none. `None` resets one.
    ///
    /// The first time, `keeps` has the statement prepared behind it for the next time.
    pub(crate) async fn apply(
        &self,
        client: &Client,
        settings: &[(&str, Option<&str>)],
        keeps: bool,
    ) -> Result<(), Error> {
        let Some(of_so_many) = settings.len().checked_sub(1).filter(|index| *index < FEW) else {
            return apply_many(client, settings, false).await;
        };
        let params = settings.iter().flat_map(|(name, value)| [name as &(dyn ToSql + Sync), value]);
        let prepared = self.prepared()[of_so_many].clone().filter(|_| keeps);
        if let Some(prepared) = prepared {
            let params: SmallVec<[_; 2 * FEW]> = params.collect();
            return client.query(&prepared, &params).await.map(drop);
        }
        let sql = sql(settings.len());
        let typed: SmallVec<[_; 2 * FEW]> = params.map(|param| (param, Type::TEXT)).collect();
        let types = [const { Type::TEXT }; 2 * FEW];
        let prepare = async {
            if keeps && let Ok(statement) = client.prepare_typed(&sql, &types[..typed.len()]).await {
                self.prepared()[of_so_many] = Some(statement);
            }
        };
        let (applied, ()) = join(client.query_typed(&sql, &typed), prepare).await;
        applied.map(drop)
    }

    /// Forgets what is prepared, because the server may have.
    pub(crate) fn forget(&self) {
        *self.prepared() = Default::default();
    }

    fn prepared(&self) -> MutexGuard<'_, [Option<Statement>; FEW]> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies any number of settings in one message, all or none: to the session, or `to_transaction` alone, which is open.
pub(crate) async fn apply_many(
    client: &Client,
    settings: &[(&str, Option<&str>)],
    to_transaction: bool,
) -> Result<(), Error> {
    let (names, values): (Vec<_>, Vec<_>) = settings.iter().copied().unzip();
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&names, Type::TEXT_ARRAY), (&values, Type::TEXT_ARRAY), (&to_transaction, Type::BOOL)];
    client.query_typed(MANY, &params).await.map(drop)
}

/// The statement that applies so many settings.
///
/// What is to be reset and has no value is left alone: a library that was loaded meanwhile has removed it, and the server would refuse
/// its name.
fn sql(count: usize) -> String {
    let mut sql = "SELECT".to_owned();
    for pair in 0..count {
        let comma = if pair == 0 { "" } else { "," };
        let (name, value) = (2 * pair + 1, 2 * pair + 2);
        let _ = write!(
            sql,
            "{comma} CASE WHEN ${value} IS NOT NULL OR pg_catalog.current_setting(${name}, true) IS NOT NULL \
             THEN pg_catalog.set_config(${name}, ${value}, false) END"
        );
    }
    sql
}
