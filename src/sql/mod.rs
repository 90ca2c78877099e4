//! What a statement may leave behind on its session, read from its SQL.
//!
//! The reader is made to err on one side: a statement is clean only if it is one of the forms below, down to the last name
//! before a parenthesis. A false alarm costs a reset; the other mistake would hand one request's role to the next.
//!
//! - **Clean**: SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE and WITH, calling only [built-ins](builtins) without effect
//!   on the session. Row locks and changed data belong to the transaction and are no trace. Several of them in one string
//!   run in one implicit transaction, which ends with the string, and are clean together.
//! - **Transaction**: BEGIN, START TRANSACTION, COMMIT, END, ROLLBACK, ABORT, SAVEPOINT, RELEASE, PREPARE TRANSACTION and SET
//!   TRANSACTION. All they touch ends with the transaction, so when every other statement was clean, a plain ROLLBACK
//!   makes the session pristine, and nothing has to be sent if the transaction is known to have ended.
//! - **Session**: all other commands. None opens a transaction block that outlives it, CALL and DO included: a procedure
//!   may commit, but what it begins ends with the CALL.
//! - **Unknown**: what cannot be read, and commands this reader has not heard of.
//!
//! SET LOCAL counts as a trace of the session although its value ends with the transaction: some settings keep more than
//! their value (`seed`, those of extensions).
//!
//! # What cannot be seen
//!
//! Serve an application that relies on any of these to change its session with `reset = "always"`:
//!
//! - triggers (deferred ones too, which run at COMMIT), rules, views, column defaults, generated columns and row security;
//! - operators, casts, domains, collations and index expressions that call a user's function;
//! - a built-in that is replaced or overloaded through `search_path`: `lower(x)` is taken to be `pg_catalog.lower(x)`;
//! - functional notation, `row.name` for `name(row)`: no built-in that changes the session can be called so;
//! - foreign tables, whose connections stay open on the server's side under any reset.
//!
//! An INSERT that fills a serial or identity column moves what `currval` and `lastval` would answer, and is clean all the same:
//! the next borrower could learn the last number drawn, no more, and reading it takes a call that is itself not clean.
//! Calling `nextval` by name is a trace.
//!
//! `standard_conforming_strings` may be off, so a plain string with a backslash is not read at all.

mod tokens;
mod query;
mod builtins;
mod literals;
mod shareable;
mod seed;
mod sequences;
mod session_state;
mod summary;
#[cfg(test)]
mod tests;

pub(crate) use literals::{has_parameters, without_literals};
pub(crate) use seed::is_seed;
pub(crate) use sequences::{Within, may_draw};
pub(crate) use session_state::needs_session;
pub(crate) use shareable::is_shareable;
pub(crate) use summary::summary;
use tokens::{Kind, Scanner, Token, tokens};

/// What a statement may leave behind on its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct SideEffects {
    /// May change the session: settings, role, locks, temporary objects, cursors, listens, prepared names; or is not known
    /// not to.
    pub(crate) session: bool,
    /// May leave a transaction open, or have ended one that was open.
    pub(crate) transaction: bool,
    /// Is seen to throw away prepared statements of the protocol.
    pub(crate) statements: bool,
    /// Begins or ends a transaction, whatever else it does.
    pub(crate) control: bool,
    /// May be a COPY: tokio-postgres can lose count of the answers to it.
    pub(crate) copies: bool,
    /// May have asked that nothing is written from now on.
    pub(crate) read_only: bool,
}

impl SideEffects {
    /// Leaves nothing behind.
    pub(crate) const CLEAN: Self = Self {
        session: false,
        transaction: false,
        statements: false,
        control: false,
        copies: false,
        read_only: false,
    };
    /// Could not be read.
    pub(crate) const UNKNOWN: Self = Self { transaction: true, copies: true, ..Self::SESSION };

    const SESSION: Self = Self { session: true, read_only: true, ..Self::CLEAN };
    const TRANSACTION: Self = Self { transaction: true, control: true, read_only: true, ..Self::CLEAN };

    /// What both may leave behind together.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self {
            session: self.session || other.session,
            transaction: self.transaction || other.transaction,
            statements: self.statements || other.statements,
            control: self.control || other.control,
            copies: self.copies || other.copies,
            read_only: self.read_only || other.read_only,
        }
    }
}

/// Reads what `sql`, one statement or several, may leave behind.
pub(crate) fn side_effects(sql: &str) -> SideEffects {
    let Some(tokens) = tokens(sql) else {
        return SideEffects { control: mentions_control(sql), ..SideEffects::UNKNOWN };
    };
    tokens.split(|token| token.is(";")).map(statement).fold(SideEffects::CLEAN, SideEffects::union)
}

/// Whether `sql` changes nothing: neither its session nor any data. Row locks count as a change.
pub(crate) fn only_reads(sql: &str) -> bool {
    side_effects(sql) == SideEffects::CLEAN
        && tokens(sql)
            .is_some_and(|tokens| !tokens.iter().any(|token| token.is_one_of(CHANGES) || token.is("SHARE")))
}

/// Whether a statement has its own columns and parameters, and not those of a cursor or of a statement that SQL has prepared.
pub(crate) fn has_types_of_its_own(sql: &str) -> bool {
    let mut scanner = Scanner::new(sql);
    while let Some(Some(token)) = scanner.next_token() {
        if !token.is("(") {
            return token.is_one_of(QUERIES) || token.is_one_of(CHANGES);
        }
    }
    false
}

/// Whether SQL that cannot be read has a word in it that begins or ends transactions.
fn mentions_control(sql: &str) -> bool {
    sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|word| TRANSACTIONS.iter().chain(&["PREPARE"]).any(|command| word.eq_ignore_ascii_case(command)))
}

const QUERIES: &[&str] = &["SELECT", "VALUES", "TABLE", "WITH"];
const CHANGES: &[&str] = &["INSERT", "UPDATE", "DELETE", "MERGE"];
const TRANSACTIONS: &[&str] =
    &["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"];
const MODES: &[&str] = &["ISOLATION", "READ", "NOT", "DEFERRABLE", "SNAPSHOT"];
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "ALTER", "ANALYSE", "ANALYZE", "CALL", "CHECKPOINT", "CLOSE", "CLUSTER", "COMMENT", "COPY", "CREATE", "DEALLOCATE",
    "DECLARE", "DISCARD", "DO", "DROP", "EXECUTE", "EXPLAIN", "FETCH", "GRANT", "IMPORT", "LISTEN", "LOAD", "LOCK", "MOVE",
    "NOTIFY", "PREPARE", "REASSIGN", "REFRESH", "REINDEX", "RESET", "REVOKE", "SECURITY", "SET", "SHOW", "TRUNCATE",
    "UNLISTEN", "VACUUM",
];

fn statement(tokens: &[Token<'_>]) -> SideEffects {
    let parens = tokens.iter().take_while(|token| token.is("(")).count();
    let [first, rest @ ..] = &tokens[parens..] else {
        return if parens == 0 { SideEffects::CLEAN } else { SideEffects::UNKNOWN };
    };
    let first_is = |words: &[&str]| first.is_one_of(words);

    if first_is(QUERIES) || parens == 0 && first_is(CHANGES) {
        return if query::is_inert(tokens) { SideEffects::CLEAN } else { SideEffects::SESSION };
    }
    if parens > 0 {
        return SideEffects::UNKNOWN;
    }
    match rest {
        // `PREPARE transaction AS …` and `SET transaction.name = …` only share the first two words.
        [second, third, ..]
            if first_is(&["PREPARE"]) && second.is("TRANSACTION") && third.kind == Kind::Literal =>
        {
            SideEffects::TRANSACTION
        }
        [second, third, ..] if first_is(&["SET"]) && second.is("TRANSACTION") && third.is_one_of(MODES) => {
            SideEffects::TRANSACTION
        }
        [second, ..] if first_is(&["DISCARD"]) => {
            SideEffects { statements: second.is("ALL"), ..SideEffects::SESSION }
        }
        [.., last] if first_is(&["DEALLOCATE"]) => {
            SideEffects { statements: last.is("ALL") || may_name_a_statement(last), ..SideEffects::SESSION }
        }
        _ if first_is(&["COPY"]) => SideEffects { copies: true, ..SideEffects::SESSION },
        _ if first_is(TRANSACTIONS) => SideEffects::TRANSACTION,
        _ if first_is(COMMANDS) => SideEffects::SESSION,
        _ => SideEffects::UNKNOWN,
    }
}

/// The driver calls its statements `s0`, `s1`, …
fn may_name_a_statement(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::Word | Kind::Quoted => token
            .name()
            .strip_prefix(['s', 'S'])
            .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())),
        Kind::Escaped | Kind::Literal | Kind::Symbol => true,
    }
}
