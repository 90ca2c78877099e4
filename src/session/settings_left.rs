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
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS settings (name, value)";

/// Resets what requests have left. Not name by name: a library that was loaded meanwhile may have removed a name, or taken it for itself, and
/// the server would refuse to reset that one. It refuses this to nobody.
const RESET: &str = "RESET ALL";

/// The settings that requests have left on a session. The next borrower resets them, unless it sets them all itself, ahead of its own and
/// of its first statement.
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

    /// Whether some are left that are not among these.
    fn are_left_beside(&self, settings: &[(&str, &str)]) -> bool {
        let is_set = |left: &str| settings.iter().any(|(set, _)| set.eq_ignore_ascii_case(left));
        !self.names.iter().all(|left| is_set(left))
    }

    /// Records what stays behind, unless that has to be reset now: because there is too much of it, or because the next borrower could not
    /// reset it. That is known of a custom setting, one with a dot in its name.
    #[must_use]
    pub(crate) fn replace<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str> + Clone) -> bool {
        if names.len() > MOST_NAMES || !names.clone().all(|name| name.contains('.')) {
            return false;
        }
        if !self.names.iter().map(|name| &**name).eq(names.clone()) {
            self.names.clear();
            self.names.extend(names.map(Box::from));
        }
        true
    }

    /// Records that the session has been reset.
    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    /// Resets what is left, where these settings do not replace it. `restore` is run behind it.
    pub(crate) async fn reset(
        &self,
        client: &Client,
        settings: &[(&str, &str)],
        restore: &str,
    ) -> Result<(), Error> {
        match (self.are_left_beside(settings), restore) {
            (false, _) => Ok(()),
            (true, "") => client.batch_execute(RESET).await,
            (true, restore) => client.batch_execute(&format!("{RESET};{restore}")).await,
        }
    }

    /// Applies settings, in one message: all or none.
    ///
    /// The first time, `keeps` has the statement prepared behind it for the next time.
    pub(crate) async fn apply(
        &self,
        client: &Client,
        settings: &[(&str, &str)],
        keeps: bool,
    ) -> Result<(), Error> {
        if settings.is_empty() {
            return Ok(());
        }
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
    settings: &[(&str, &str)],
    to_transaction: bool,
) -> Result<(), Error> {
    let (names, values): (Vec<_>, Vec<_>) = settings.iter().copied().unzip();
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&names, Type::TEXT_ARRAY), (&values, Type::TEXT_ARRAY), (&to_transaction, Type::BOOL)];
    client.query_typed(MANY, &params).await.map(drop)
}

/// The statement that applies so many settings.
fn sql(count: usize) -> String {
    let mut sql = "SELECT".to_owned();
    for pair in 0..count {
        let comma = if pair == 0 { "" } else { "," };
        let (name, value) = (2 * pair + 1, 2 * pair + 2);
        let _ = write!(sql, "{comma} pg_catalog.set_config(${name}, ${value}, false)");
    }
    sql
}
