//! The settings of a request: recorded at once, applied to every session that the request borrows.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::join;
use smallvec::SmallVec;

use super::state::SettingsSent;
use crate::session::{Session, apply_many};
use crate::sql::is_seed;
use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{self, Client};
use crate::{Error, Result};

/// The settings after which the server refuses to write.
const READ_ONLY: [&str; 2] = ["default_transaction_read_only", "transaction_read_only"];

/// The search path, and what may have one of its own in it: `"$user"`.
const SEARCH_PATH: [&str; 3] = ["search_path", "role", "session_authorization"];

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

    /// Whether one of them is what makes a session read-only.
    pub(crate) fn ask_for_read_only(&self) -> bool {
        self.have_one_of(&READ_ONLY)
    }

    /// Whether one of them may change which table a name in a text means.
    pub(crate) fn may_change_names(&self) -> bool {
        self.version() > 0 && self.have_one_of(&SEARCH_PATH)
    }

    fn have_one_of(&self, names: &[&str]) -> bool {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.iter().any(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
    }

    /// Applies the settings, after a reset of what an earlier request has left on the session, and returns the version. `restore` is run
    /// behind a reset.
    pub(crate) async fn apply(&self, session: &Session, how: SettingsSent, restore: &str) -> Result<u64> {
        let (version, settings) = self.versioned();
        let (client, left) = (session.client(), session.settings_left());
        let all: SmallVec<[_; 4]> = pairs(&settings).collect();
        let reset = async { if how.resets_left { left.reset(client, &all, restore).await } else { Ok(()) } };
        let apply = left.apply(client, &all, how.keeps && session.keeps_statements());
        // The one that is polled first is sent first.
        let (reset, applied) = join(reset, apply).await;
        match reset.and(applied) {
            Ok(()) => Ok(version),
            Err(err) => {
                if err.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME) {
                    session.retire();
                }
                Err(refused(err))
            }
        }
    }

    /// Applies the settings to the transaction that is open, and returns their version.
    pub(crate) async fn apply_to_transaction(&self, client: &Client) -> Result<u64> {
        let (version, settings) = self.versioned();
        if settings.iter().any(|(name, _)| is_seed(name)) {
            return Err(Error::NeedsSession("the setting `seed`, which stays on its backend,"));
        }
        let all: SmallVec<[_; 4]> = pairs(&settings).collect();
        apply_many(client, &all, true).await.map_err(refused)?;
        Ok(version)
    }

    fn versioned(&self) -> (u64, Vec<(String, String)>) {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version(), settings.clone())
    }

    /// Leaves the settings, which are in force, on a session for its next borrower to reset. Says whether they may stay there until then.
    #[must_use]
    pub(crate) fn leave(&self, session: &mut Session) -> bool {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        session.settings_left_mut().replace(settings.iter().map(|(name, _)| name.as_str()))
    }
}

/// Without the values, which may be secrets of a tenant.
impl fmt::Debug for RequestSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSettings").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// Settings as they are applied.
fn pairs(settings: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn refused(err: tokio_postgres::Error) -> Error {
    if err.as_db_error().is_some() { Error::Setting(err.into()) } else { err.into() }
}

/// What PostgreSQL takes for the name of a setting: identifiers, with dots between them.
fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$')
    })
}
