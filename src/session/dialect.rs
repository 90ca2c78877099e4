//! What a server understands of a reset.
//!
//! PostgreSQL understands all of it. Others that speak its protocol lack parts: cursors, `LISTEN`, advisory locks. They are told from
//! PostgreSQL by what they say of themselves at the login, so that PostgreSQL is asked nothing. On one of the others each part is
//! tried once, on the first session of the pool, where it does no harm.

use std::borrow::Cow;

use crate::tokio_postgres::error::SqlState;
use crate::tokio_postgres::{Client, Error};

/// What [`DISCARD ALL`](https://www.postgresql.org/docs/current/sql-discard.html) does, but for prepared statements: the
/// cache needs those of the protocol, and a reset removes those made with SQL's `PREPARE`.
///
/// `RESET ROLE` comes on top: a role given as a start-up setting is in force again afterwards.
const RESET: &str = "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// Its parts that are never left out: a role or a setting would be the next borrower's.
const NEEDED: [&str; 2] = ["RESET ROLE", "RESET ALL"];

/// What removes the prepared statements of SQL, in a second column. A `DO` block would need the right to use a language.
const DEALLOCATE: &str = ", pg_catalog.string_agg(pg_catalog.concat('DEALLOCATE ', pg_catalog.quote_ident(name)), ';') \
    FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/// The oldest version of PostgreSQL that is spoken to. Others take an older one for theirs.
const OLDEST: u32 = 13;

/// The statements that reset a session on its server.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    reset: Cow<'static, str>,
    deallocate: &'static str,
}

impl Default for Dialect {
    /// That of PostgreSQL.
    fn default() -> Self {
        Self { reset: Cow::Borrowed(RESET), deallocate: DEALLOCATE }
    }
}

impl Dialect {
    /// Whether it is known to have all parts of a reset.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.reset, Cow::Borrowed(_))
    }

    /// The statements that leave nothing behind of what was done on a session.
    pub(crate) fn reset(&self) -> &str {
        &self.reset
    }

    /// The second column of a question: what removes the prepared statements of SQL, or NULL if there are none.
    pub(crate) fn deallocate(&self) -> &'static str {
        self.deallocate
    }

    /// Tries the parts of a reset on a session that nobody has used, and leaves out those that the server does not know.
    pub(super) async fn of(client: &Client) -> Result<Self, Error> {
        let mut known = Vec::new();
        for part in RESET.split("; ") {
            if NEEDED.contains(&part) || knows(client, part).await? {
                known.push(part);
            }
        }
        let prepares = knows(client, &format!("SELECT ''{DEALLOCATE}")).await?;
        let deallocate = if prepares { DEALLOCATE } else { ", NULL" };
        Ok(Self { reset: Cow::Owned(known.join("; ")), deallocate })
    }
}

/// Whether a server is PostgreSQL, by the parameters that it reports at the login. One that reports no version is taken for it.
pub(super) fn is_postgres<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> bool {
    let Some(version) = parameter("server_version") else {
        return parameter("crdb_version").is_none();
    };
    let major = version.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    let is_current = major.parse::<u32>().is_ok_and(|major| major >= OLDEST);
    is_current && !version.contains("-YB-") && parameter("crdb_version").is_none()
}

/// Whether a server knows a statement. Fails with an error that says nothing about that.
async fn knows(client: &Client, sql: &str) -> Result<bool, Error> {
    const UNKNOWN: [SqlState; 6] = [
        SqlState::SYNTAX_ERROR,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_OBJECT,
    ];
    match client.simple_query(sql).await {
        Ok(_) => Ok(true),
        Err(err) if err.code().is_some_and(|code| UNKNOWN.contains(code)) => Ok(false),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_from_postgresql_by_what_it_reports() {
        let says = |version: &'static str, cockroach: Option<&'static str>| {
            is_postgres(|name| match name {
                "server_version" => Some(version),
                "crdb_version" => cockroach,
                _ => None,
            })
        };
        for version in ["13.0", "15.8 (Debian 15.8-0+deb12u1)", "16beta1", "17devel", "18.1"] {
            assert!(says(version, None), "{version}");
        }
        assert!(is_postgres(|_| None));
        for version in ["11.2-YB-2.18.0.0-b0", "15.12-YB-2025.1.0.0-b0", "8.0.2", "9.5.0", "", "unknown"] {
            assert!(!says(version, None), "{version}");
        }
        assert!(!says("13.0.0", Some("CockroachDB CCL v24.1.0")));
    }

    #[test]
    fn what_is_needed_is_part_of_a_reset() {
        assert!(NEEDED.iter().all(|part| RESET.split("; ").any(|one| one == *part)));
    }
}
