//! What of a session a statement needs beyond its transaction, behind a pooler that gives the next transaction another backend.
//!
//! Only what is seen for certain is named here, and refused. Everything else that is not known to be
//! [clean](super::SideEffects::CLEAN) runs in a transaction at whose end the backend is reset.

use super::seed::sets_seed;
use super::sequences::{Within, number};
use super::tokens::{Kind, Token, tokens};
use super::{MODES, TRANSACTIONS, mentions_control};

/// Functions after which no reset makes a backend as it was.
const STAYS: &[&str] = &[
    "setseed",
    "dblink_connect",
    "dblink_connect_u",
    "pg_replication_origin_session_setup",
    "pg_create_physical_replication_slot",
    "pg_create_logical_replication_slot",
];

/// What `sql` needs beyond its transaction, in the words of an error. It may be several statements if it is a `batch`.
pub(crate) fn needs_session(sql: &str, within: Within, batch: bool) -> Option<&'static str> {
    match tokens(sql) {
        Some(tokens) => {
            let (in_transaction, mut within) = (within != Within::Nothing, within);
            let mut statements = tokens.split(|token| token.is(";"));
            statements.find_map(|one| statement(one, in_transaction).or_else(|| number(one, &mut within)))
        }
        None => {
            let controls = if batch { mentions_control(sql) } else { may_begin_with_control(sql) };
            controls.then_some("SQL that cannot be read, and may begin or end a transaction,")
        }
    }
}

/// Whether one statement that cannot be read, because of a literal in it, may begin or end a transaction.
fn may_begin_with_control(sql: &str) -> bool {
    let before = sql.split('\'').next().unwrap_or_default();
    tokens(before).is_none_or(|tokens| match tokens.first() {
        Some(first) => first.is_one_of(TRANSACTIONS) || first.is("PREPARE"),
        None => true,
    })
}

fn statement(tokens: &[Token<'_>], in_transaction: bool) -> Option<&'static str> {
    let is = |at: usize, words: &[&str]| tokens.get(at).is_some_and(|token| token.is_one_of(words));
    let command = |words: &[&str]| is(0, words);

    if command(TRANSACTIONS) || command(&["PREPARE"]) && is(1, &["TRANSACTION"]) {
        return Some("a transaction that SQL begins or ends (there is `Connection::transaction`)");
    }
    if command(&["PREPARE", "EXECUTE", "DEALLOCATE"]) {
        return Some("`PREPARE`");
    }
    if command(&["SET"]) && !is_local(tokens) {
        return Some("`SET` without `LOCAL`");
    }
    for (word, what) in [
        ("RESET", "`RESET`"),
        ("DISCARD", "`DISCARD`"),
        ("LISTEN", "`LISTEN`"),
        ("UNLISTEN", "`UNLISTEN`"),
        ("LOAD", "`LOAD`"),
    ] {
        if command(&[word]) {
            return Some(what);
        }
    }
    if command(&["DECLARE"]) && pairs(tokens).any(|(one, next)| one.is("WITH") && next.is("HOLD")) {
        return Some("a cursor `WITH HOLD`");
    }
    let temporary = command(&["CREATE"]) && creates_temporary(&tokens[1..])
        || pairs(tokens).any(|(one, next)| one.is("INTO") && next.is_one_of(&["TEMP", "TEMPORARY", "LOCAL"]));
    if !in_transaction && (temporary || tokens.iter().any(|token| token.names("pg_temp"))) {
        return Some("a temporary table outside of a transaction");
    }
    tokens.iter().enumerate().find_map(|(at, token)| {
        if locks_for_a_session(token) {
            Some("an advisory lock of a session (there is `pg_advisory_xact_lock`)")
        } else if token.names("set_config") && is(at + 1, &["("]) && !ends_in_true(&tokens[at + 1..]) {
            Some("`set_config` without a `true`")
        } else if STAYS.iter().any(|name| token.names(name)) {
            Some("a function whose effect on its backend cannot be undone")
        } else if sets_seed(&tokens[at..]) {
            Some("the setting `seed`, which stays on its backend,")
        } else {
            None
        }
    })
}

/// `CREATE OR REPLACE LOCAL TEMP …`, of which all but the first and the last may be missing.
fn creates_temporary(tokens: &[Token<'_>]) -> bool {
    let mut words = tokens.iter().skip_while(|token| token.is_one_of(&["OR", "REPLACE", "GLOBAL", "LOCAL"]));
    words.next().is_some_and(|kind| kind.is_one_of(&["TEMP", "TEMPORARY"]))
}

fn pairs<'t, 'sql>(tokens: &'t [Token<'sql>]) -> impl Iterator<Item = (&'t Token<'sql>, &'t Token<'sql>)> {
    tokens.iter().zip(tokens.iter().skip(1))
}

/// `SET LOCAL …`, `SET CONSTRAINTS …` and `SET TRANSACTION …`, and not a setting whose name begins with such a word.
fn is_local(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [_, second, third, ..] if second.is("TRANSACTION") => third.is_one_of(MODES),
        [_, second, third, ..] => second.is_one_of(&["LOCAL", "CONSTRAINTS"]) && third.is_name(),
        _ => false,
    }
}

/// `pg_advisory_lock`, `pg_try_advisory_lock_shared` and the like, but for those of transactions.
fn locks_for_a_session(token: &Token<'_>) -> bool {
    token.is_name() && {
        let name = token.name().to_ascii_lowercase();
        let locks = ["pg_advisory_", "pg_try_advisory_"].iter().find_map(|begin| name.strip_prefix(begin));
        locks.is_some_and(|rest| !rest.starts_with("xact_"))
    }
}

/// Whether the last argument in the parentheses that begin here is `true`.
fn ends_in_true(tokens: &[Token<'_>]) -> bool {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is("(") {
            depth += 1;
        } else if token.is(")") {
            depth -= 1;
            if depth == 0 {
                let last = tokens[..at].split_at_checked(at.saturating_sub(2)).map(|(_, last)| last);
                return matches!(last, Some([comma, value]) if comma.is(",") && value.kind == Kind::Word && value.is("TRUE"));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Within;

    /// Of a batch; what is more, of a single statement.
    fn needs_session(sql: &str, in_transaction: bool) -> Option<&'static str> {
        let drawn = Within::Transaction { drawn: true };
        super::needs_session(sql, if in_transaction { drawn } else { Within::Nothing }, true)
    }

    #[test]
    fn what_outlives_a_transaction_is_named() {
        for sql in [
            "LISTEN jobs",
            "UNLISTEN *",
            "SET work_mem = '1MB'",
            "SET ROLE app",
            "SET TIME ZONE 'UTC'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET transaction.name = 'x'",
            "SET local.name = 'x'",
            "RESET ALL",
            "DISCARD ALL",
            "LOAD 'auto_explain'",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "DEALLOCATE ALL",
            "PREPARE TRANSACTION 'x'",
            "BEGIN",
            "begin; SELECT 1; commit",
            "SELECT 1; COMMIT",
            "ROLLBACK TO SAVEPOINT a",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_catalog.pg_try_advisory_lock_shared(1)",
            "SELECT \"pg_advisory_unlock_all\"()",
            "SELECT set_config('app.tenant', $1, false)",
            "SELECT set_config('app.tenant', $1, $2)",
            "SELECT set_config('a.b', 'c', true), set_config('a.b', lower('C'), false)",
            "SELECT setseed(0.5)",
            "SET LOCAL seed = 0.5",
            "SET LOCAL \"seed\" TO 0.5",
            "SELECT set_config('Seed', $1, true)",
            "SELECT pg_catalog.set_config($$seed$$, '0.5', true)",
            "SELECT 'a\\'; COMMIT; --'",
        ] {
            assert!(needs_session(sql, true).is_some(), "{sql}");
            assert!(needs_session(sql, false).is_some(), "{sql}");
        }
    }

    #[test]
    fn temporary_tables_belong_into_a_transaction() {
        for sql in [
            "CREATE TEMP TABLE t (id int)",
            "CREATE LOCAL TEMPORARY TABLE t (id int)",
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
            "SELECT 1 INTO TEMP t",
            "CREATE TABLE pg_temp.t (id int)",
            "SELECT lastval()",
            "INSERT INTO t VALUES (currval('s'))",
        ] {
            assert!(needs_session(sql, false).is_some(), "{sql}");
            assert_eq!(needs_session(sql, true), None, "{sql}");
        }
    }

    #[test]
    fn what_ends_with_its_transaction_is_not_named() {
        for sql in [
            "SELECT 1",
            "",
            "INSERT INTO t VALUES ($1) RETURNING id",
            "SET LOCAL work_mem = '1MB'",
            "SET LOCAL ROLE app",
            "SET LOCAL seed.of = '1'",
            "SELECT set_config('app.seed', '1', true), seed FROM seed",
            "SET CONSTRAINTS ALL DEFERRED",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SELECT pg_advisory_xact_lock(1)",
            "SELECT pg_catalog.pg_try_advisory_xact_lock_shared(1)",
            "SELECT pg_catalog.set_config('app.tenant', coalesce($1, ''), true)",
            "NOTIFY jobs, 'x'",
            "DECLARE c CURSOR FOR SELECT 1",
            "CREATE TABLE t (temp int)",
            "SELECT my_function()",
            "DO $$ BEGIN PERFORM 1; END $$",
            "SELECT 'a\\b'",
        ] {
            assert_eq!(needs_session(sql, false), None, "{sql}");
        }
    }

    /// A backslash in a plain literal means one thing or another, by a setting of the server.
    #[test]
    fn one_statement_that_cannot_be_read_is_known_by_its_first_word() {
        for sql in [
            "SELECT CASE WHEN p ~ '\\d+' THEN 1 END FROM t",
            "/* all */ SELECT start FROM t WHERE p ~ '\\.png$'",
        ] {
            assert_eq!(super::needs_session(sql, Within::Nothing, false), None, "{sql}");
        }
        for sql in ["PREPARE TRANSACTION 'a\\b'", "/* it's */ COMMIT PREPARED 'a\\b'", "'\\'"] {
            assert!(super::needs_session(sql, Within::Nothing, false).is_some(), "{sql}");
        }
    }
}
