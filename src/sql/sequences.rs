//! Whether SQL asks which number its session has drawn last, and whether it may draw one itself.
//!
//! A backend that belonged to another session answers with that one's number, so whoever asks must have drawn one in the same
//! transaction. The reader errs on the side of what may draw: it knows neither defaults nor triggers.

use super::query::is_inert;
use super::tokens::{Kind, Token, tokens};
use super::{CHANGES, QUERIES};

/// Where SQL runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// In no transaction but its own.
    Nothing,
    /// In one in which numbers may have been `drawn` from sequences before.
    Transaction { drawn: bool },
}

const ASK: [&str; 2] = ["currval", "lastval"];

/// Functions that no reader takes for clean, and that draw nothing.
const QUIET: [&str; 3] = ["set_config", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared"];

/// Commands that draw nothing.
const STILL: [&str; 7] = ["SET", "SHOW", "LOCK", "NOTIFY", "CLOSE", "DECLARE", "TRUNCATE"];

/// Whether running `sql`, one statement or several, may draw a number from a sequence.
pub(crate) fn may_draw(sql: &str) -> bool {
    tokens(sql).is_none_or(|tokens| tokens.split(|token| token.is(";")).any(statement_may_draw))
}

/// A question for a number that the transaction has not drawn.
pub(super) fn number(tokens: &[Token<'_>], within: &mut Within) -> Option<&'static str> {
    match within {
        _ if !asks(tokens) => {}
        Within::Nothing => {
            return Some("`currval` or `lastval` outside of a transaction (there is `RETURNING`)");
        }
        Within::Transaction { drawn: false } if !statement_may_draw(tokens) => {
            return Some(
                "`currval` or `lastval` in a transaction that has drawn no number (there is `RETURNING`)",
            );
        }
        Within::Transaction { .. } => {}
    }
    if let Within::Transaction { drawn } = within {
        *drawn |= statement_may_draw(tokens);
    }
    None
}

/// Whether one statement asks for the number that was drawn last.
fn asks(statement: &[Token<'_>]) -> bool {
    let calls = statement.iter().zip(statement.iter().skip(1)).filter(|(_, next)| next.is("("));
    calls.into_iter().any(|(name, _)| ASK.iter().any(|ask| name.names(ask)))
}

fn statement_may_draw(statement: &[Token<'_>]) -> bool {
    let Some(first) = statement.iter().find(|token| !token.is("(")) else {
        return false;
    };
    if first.is_one_of(&STILL) {
        return false;
    }
    if !first.is_one_of(QUERIES) || statement.iter().any(|token| token.is_one_of(CHANGES)) {
        return true;
    }
    let quiet = |token: &Token<'_>| ASK.iter().chain(&QUIET).any(|name| token.names(name));
    let known = Token { kind: Kind::Word, text: "now" };
    let others: Vec<_> = statement.iter().map(|token| if quiet(token) { known } else { *token }).collect();
    !is_inert(&others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::needs_session;

    #[test]
    fn what_surely_draws_nothing_is_known() {
        for sql in [
            "",
            "SELECT 1",
            "(SELECT id FROM t)",
            "SELECT lastval(), pg_catalog.currval('s')",
            "SELECT set_config('app.tenant', $1, true)",
            "SELECT pg_advisory_xact_lock(1)",
            "SET LOCAL work_mem = '1MB'; SHOW work_mem",
        ] {
            assert!(!may_draw(sql), "{sql}");
        }
        for sql in [
            "INSERT INTO t DEFAULT VALUES",
            "UPDATE t SET id = DEFAULT",
            "WITH new AS (INSERT INTO t DEFAULT VALUES RETURNING id) SELECT lastval()",
            "SELECT nextval('s'), lastval()",
            "SELECT 1; SELECT \"nextval\"('s')",
            "SELECT my_function()",
            "MERGE INTO t USING u ON true WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
            "CALL p()",
            "DO $$ BEGIN END $$",
            "COPY t FROM STDIN",
            "SELECT '\\'",
        ] {
            assert!(may_draw(sql), "{sql}");
        }
    }

    /// A stranger's number is the answer where none was drawn before.
    #[test]
    fn who_asks_for_a_number_has_drawn_one() {
        let undrawn = |sql| needs_session(sql, Within::Transaction { drawn: false }, true);
        for sql in [
            "SELECT lastval()",
            "SELECT pg_catalog.currval('s') FROM t",
            "SELECT 1; SELECT \"lastval\" ()",
            "SET LOCAL work_mem = '1MB'; SELECT lastval()",
            "SELECT lastval(); INSERT INTO t DEFAULT VALUES",
            "SELECT set_config('a.b', lastval()::text, true)",
        ] {
            assert!(undrawn(sql).is_some(), "{sql}");
            assert_eq!(needs_session(sql, Within::Transaction { drawn: true }, true), None, "{sql}");
        }
        for sql in [
            "INSERT INTO t DEFAULT VALUES; SELECT lastval()",
            "INSERT INTO t (copy) VALUES (currval('t_id_seq'))",
            "SELECT nextval('s'), lastval()",
            "SELECT lastval, my_function() FROM t",
            "SELECT my_function(); SELECT lastval()",
        ] {
            assert_eq!(undrawn(sql), None, "{sql}");
        }
    }
}
