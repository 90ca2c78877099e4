//! Whether a statement may run on a session that several requests share.

use super::builtins::VOLATILE;
use super::tokens::{Token, tokens};
use super::{QUERIES, only_reads};

/// Names that tell one session from another, or the transaction of one from that of another.
const OF_SESSIONS: &[&str] =
    &["current_setting", "pg_cursors", "pg_locks", "pg_my_temp_schema", "pg_prepared_statements", "pg_temp"];

/// The beginnings of more such names.
const OF_SESSIONS_ALL: &[&str] =
    &["inet_client_", "pg_backend_", "pg_current_", "pg_snapshot_", "pg_stat", "pg_visible_in_", "txid_"];

/// Whether `sql` is one query that only reads, says the same on every session, and calls only immutable and stable built-ins.
///
/// A name counts wherever it stands, as a column too: a statement that is not shared is only slower.
pub(crate) fn is_shareable(sql: &str) -> bool {
    only_reads(sql)
        && tokens(sql).is_some_and(|tokens| {
            let first = tokens.iter().find(|token| !token.is("("));
            first.is_some_and(|first| first.is_one_of(QUERIES))
                && !tokens
                    .iter()
                    .any(|token| token.is(";") || tells_sessions_apart(token) || is_volatile(token))
        })
}

fn tells_sessions_apart(token: &Token<'_>) -> bool {
    OF_SESSIONS.iter().any(|name| token.names(name))
        || token.is_name() && {
            let name = token.name().as_bytes();
            let begins = |with: &&str| {
                name.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
            };
            OF_SESSIONS_ALL.iter().any(begins)
        }
}

fn is_volatile(token: &Token<'_>) -> bool {
    VOLATILE.split_whitespace().any(|name| token.names(name))
}

#[cfg(test)]
mod tests {
    use super::is_shareable;

    #[test]
    fn what_only_reads_is_shareable() {
        for sql in [
            "SELECT name FROM users WHERE id = $1",
            "(SELECT 1) UNION (SELECT 2)",
            "VALUES (1), (2)",
            "TABLE users",
            "WITH old AS (SELECT id FROM users WHERE born < $1) SELECT count(*) FROM old",
            "SELECT now(), lower(name), current_database(), 'txid_current()' FROM users",
        ] {
            assert!(is_shareable(sql), "{sql}");
        }
    }

    #[test]
    fn what_writes_locks_tells_sessions_apart_or_is_unknown_is_not() {
        for sql in [
            "",
            "BEGIN",
            "SHOW search_path",
            "SELECT 1; SELECT 2",
            "INSERT INTO users VALUES (1) RETURNING id",
            "WITH new AS (INSERT INTO users VALUES (1) RETURNING id) SELECT id FROM new",
            "SELECT 1 FROM users FOR UPDATE",
            "SELECT 1 FROM users FOR NO KEY UPDATE",
            "SELECT 1 FROM users FOR SHARE",
            "SELECT 1 FROM users FOR KEY SHARE",
            "SELECT id INTO copy FROM users",
            "SELECT set_config('a.b', 'c', false)",
            "SELECT nextval('users_id_seq')",
            "SELECT my_function()",
            "SELECT pg_backend_pid()",
            "SELECT PG_BACKEND_PID()",
            "SELECT \"pg_backend_pid\"()",
            "SELECT pg_catalog.pg_backend_pid()",
            "SELECT current_setting('app.tenant')",
            "SELECT txid_current()",
            "SELECT pg_current_xact_id()",
            "SELECT pg_current_snapshot()",
            "SELECT pg_snapshot_xmin($1)",
            "SELECT inet_client_addr()",
            "SELECT pg_my_temp_schema()",
            "SELECT pid FROM pg_stat_activity",
            "SELECT pid FROM pg_catalog.pg_stat_activity",
            "SELECT count(*) FROM pg_locks",
            "SELECT name FROM pg_cursors",
            "SELECT name FROM pg_prepared_statements",
            "SELECT name FROM \"pg_prepared_statements\"",
            "TABLE pg_stat_ssl",
            "SELECT pg_sleep(1)",
            "SELECT random()",
            "SELECT id FROM pg_temp.cart",
        ] {
            assert!(!is_shareable(sql), "{sql}");
        }
    }
}
