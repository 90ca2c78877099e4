//! Whose the names of prepared statements are, behind a pooler that gives each transaction another backend.
//!
//! An older pooler passes them on: they are the backend's, and the next transaction meets them there or not. A newer one (PgBouncer since
//! 1.21) keeps them for its client. It prepares each text under a name of its own, on whichever backend needs it. Statements
//! that clear the backend would clear its notes, too. So the session is asked at its login, in two round trips:
//!
//! ```text
//!   BEGIN; the driver prepares a text  ──> under which name does it stand on the server?  Close; COMMIT
//! ```

use futures_util::future::join;

use crate::tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Whose the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Names {
    /// The backend's. None may outlive its transaction.
    #[default]
    Backend,
    /// The pooler's, which keeps those of the driver. What SQL prepares stays with the backend until this statement.
    Pooler { clear: &'static str },
}

/// A text that nobody else prepares.
const TEXT: &str = "SELECT 'whose name does this statement have?'";

/// Its names, and whether the login may run a block of [`CLEAR`].
const NAMES: &str = "SELECT name, (SELECT pg_catalog.has_language_privilege(oid, 'USAGE') FROM pg_catalog.pg_language \
    WHERE lanname = 'plpgsql') FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql \
    AND statement = 'SELECT ''whose name does this statement have?'''";

/// Removes what SQL has prepared, and nothing else: a pooler that sees `DEALLOCATE ALL` forgets what it has prepared for its clients.
const CLEAR: &str = "DO LANGUAGE plpgsql $$DECLARE one pg_catalog.text; BEGIN \
    FOR one IN SELECT pg_catalog.format('DEALLOCATE %I', name) FROM pg_catalog.pg_prepared_statements WHERE from_sql \
    LOOP EXECUTE one; END LOOP; END$$";

impl Names {
    /// Asks a session that nobody has used.
    pub(super) async fn of(client: &Client) -> Result<Self, Error> {
        let (begun, prepared) = join(client.batch_execute("BEGIN"), client.prepare(TEXT)).await;
        begun?;
        // A name that is there already, or a server without that view, fails the transaction: no pooler keeps names there.
        let prepared =
            prepared.map(Some).or_else(|err| if err.code().is_some() { Ok(None) } else { Err(err) })?;
        let end = async {
            // The driver removes the name, behind the question and before another backend.
            drop(prepared);
            client.batch_execute("COMMIT").await
        };
        let (found, ended) = join(client.simple_query(NAMES), end).await;
        ended?;
        let mut names = Self::Backend;
        for message in found.unwrap_or_default() {
            let SimpleQueryMessage::Row(row) = message else { continue };
            if row.try_get(0)?.is_some_and(is_of_driver) {
                // What a pooler has kept before it ceased to is still there.
                return Ok(Self::Backend);
            }
            names = Self::Pooler { clear: if row.try_get(1)? == Some("t") { CLEAR } else { "" } };
        }
        Ok(names)
    }
}

/// Whether the driver gives such a name: `s` and a number.
pub(super) fn is_of_driver(name: &str) -> bool {
    name.strip_prefix('s').is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
}
