//! The settings of a request: recorded at once, applied to every session that the request borrows.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::tokio_postgres::types::Type;
use crate::tokio_postgres::{self, Client};
use crate::{Error, Result};

/// One round trip for all of them; none of them is applied when one is refused.
const APPLY: &str = "SELECT pg_catalog.set_config(name, value, false) \
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS settings (name, value)";

/// What a request wants to be set on its session.
#[derive(Default)]
pub(crate) struct RequestSettings {
    settings: Mutex<Vec<(String, String)>>,
    version: AtomicU64,
}

impl RequestSettings {
    /// Records a setting, in the place of one of the same name.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<()> {
        if !is_name(name) {
            return Err(Error::SettingName(name.to_owned()));
        }
        if name.eq_ignore_ascii_case("client_encoding") {
            return Err(Error::SettingReserved(name.to_owned()));
        }
        if value.contains('\0') {
            return Err(Error::SettingValue(name.to_owned()));
        }
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        settings.push((name.to_owned(), value.to_owned()));
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Which settings there are: 0 for none.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Applies the settings and returns their version.
    pub(crate) async fn apply(&self, client: &Client) -> Result<u64> {
        let (version, names, values) = {
            let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            let (names, values): (Vec<_>, Vec<_>) = settings.iter().cloned().unzip();
            (self.version(), names, values)
        };
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&names, Type::TEXT_ARRAY), (&values, Type::TEXT_ARRAY)];
        match client.query_typed(APPLY, &params).await {
            Ok(_) => Ok(version),
            Err(err) if err.as_db_error().is_some() => Err(Error::Setting(err.into())),
            Err(err) => Err(err.into()),
        }
    }
}

/// Without the values, which may be secrets of a tenant.
impl fmt::Debug for RequestSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSettings").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// What PostgreSQL takes for the name of a setting: identifiers, with dots between them.
fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$')
    })
}
