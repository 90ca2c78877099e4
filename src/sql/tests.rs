mod clean;
mod dirty;

use proptest::prelude::*;

use self::clean::CLEAN;
use self::dirty::DIRTY;
use super::{SideEffects, only_reads, side_effects};

#[test]
fn everyday_statements_are_clean() {
    for sql in CLEAN {
        assert_eq!(side_effects(sql), SideEffects::CLEAN, "{sql}");
    }
}

#[test]
fn what_may_change_the_session_is_not_clean() {
    for sql in DIRTY {
        assert!(side_effects(sql).session, "{sql}");
    }
}

#[test]
fn a_lock_anywhere_in_a_clean_statement_is_seen() {
    for sql in CLEAN {
        for (place, parameter) in sql.match_indices('$').map(|(place, _)| (place, sql.get(place..place + 2)))
        {
            if parameter.is_some_and(|parameter| parameter.ends_with(|digit: char| digit.is_ascii_digit())) {
                let locking = format!("{}pg_advisory_lock(1){}", &sql[..place], &sql[place + 2..]);
                assert!(side_effects(&locking).session, "{locking}");
            }
        }
    }
}

#[test]
fn a_name_in_place_of_any_called_built_in_is_seen() {
    for sql in CLEAN {
        for name in ["count", "now", "lower", "unnest", "jsonb_agg", "generate_series", "sum", "coalesce"] {
            let calling = sql.replace(&format!("{name}("), "my_function(");
            assert!(calling == *sql || side_effects(&calling).session, "{calling}");
        }
    }
}

#[test]
fn transaction_commands_leave_nothing_but_the_transaction() {
    let only_transaction =
        SideEffects { transaction: true, control: true, read_only: true, ..SideEffects::CLEAN };
    for sql in [
        "BEGIN",
        "begin isolation level serializable, read only",
        "START TRANSACTION",
        "COMMIT",
        "COMMIT AND CHAIN",
        "END",
        "ROLLBACK",
        "ROLLBACK TO SAVEPOINT a",
        "ABORT",
        "SAVEPOINT a",
        "RELEASE a",
        "PREPARE TRANSACTION 'a'",
        "COMMIT PREPARED 'a'",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "/* x */ BEGIN; INSERT INTO t (id) VALUES (1); COMMIT",
        "SELECT 1; BEGIN",
    ] {
        assert_eq!(side_effects(sql), only_transaction, "{sql}");
    }
}

#[test]
fn other_commands_leave_no_transaction() {
    for sql in [
        "SET a = 1",
        "PREPARE transaction AS SELECT 1",
        "DO $$BEGIN COMMIT; END$$",
        "CALL p()",
        "SELECT f()",
        "DISCARD ALL",
    ] {
        assert!(!side_effects(sql).transaction, "{sql}");
    }
}

#[test]
fn what_is_not_understood_may_leave_anything() {
    for sql in ["FROBNICATE", "SELECT 'a", "SELECT 1; SELECT /*", "(BEGIN)", "SELECT '\\'"] {
        assert_eq!(side_effects(sql), SideEffects::UNKNOWN, "{sql}");
    }
    let both = side_effects("BEGIN; SET a = 1");
    assert!(both.session && both.transaction);
}

#[test]
fn what_begins_or_ends_a_transaction_is_seen_among_everything_else() {
    for other in
        ["SELECT 1", "SET search_path = app", "FROBNICATE", "COPY t TO 'f'", "SELECT '\\'", "/* ; */"]
    {
        for command in ["BEGIN", "commit", "END", "ROLLBACK AND CHAIN", "ABORT", "PREPARE TRANSACTION 'a'"] {
            for sql in [format!("{other}; {command}"), format!("{command};{other}")] {
                assert!(side_effects(&sql).control, "{sql}");
            }
        }
        assert!(!side_effects(other).control, "{other}");
    }
}

#[test]
fn what_may_be_a_copy_is_seen() {
    for sql in
        ["COPY t FROM STDIN", "/* */ copy (SELECT 1) TO STDOUT", "SELECT 1; COPY t TO 'f'", "SELECT '\\'"]
    {
        assert!(side_effects(sql).copies, "{sql}");
    }
    for sql in ["SELECT 'COPY'", "SET a = 1", "BEGIN", "SELECT copy FROM t"] {
        assert!(!side_effects(sql).copies, "{sql}");
    }
}

#[test]
fn only_a_query_without_a_change_anywhere_only_reads() {
    for sql in [
        "SELECT 1",
        "(SELECT lower(a) FROM t);",
        "VALUES (1)",
        "TABLE t",
        "WITH a AS (SELECT 1) SELECT * FROM a",
    ] {
        assert!(only_reads(sql), "{sql}");
    }
    for sql in [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1 RETURNING a",
        "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
        "SELECT a FROM t FOR UPDATE",
        "SELECT f()",
        "SELECT nextval('s')",
        "SELECT 1; UPDATE t SET a = 1",
        "CALL p()",
        "SELECT '\\'",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
    ] {
        assert!(!only_reads(sql), "{sql}");
    }
}

#[test]
fn thrown_away_statements_are_seen() {
    for sql in [
        "DISCARD ALL",
        "deallocate all",
        "DEALLOCATE PREPARE ALL",
        "DEALLOCATE s12",
        "DEALLOCATE \"s1\"",
        "SELECT 1; DISCARD /**/ ALL;",
    ] {
        assert!(side_effects(sql).statements, "{sql}");
    }
    for sql in ["DISCARD PLANS", "DEALLOCATE stock", "SELECT 'DISCARD ALL'", "DISCARD", "DEALLOCATE"] {
        assert!(!side_effects(sql).statements, "{sql}");
    }
}

#[test]
fn long_and_deep_statements_are_read_in_linear_time() {
    let long = 200_000;
    for sql in [
        "(".repeat(long),
        "/*".repeat(long),
        "$a".repeat(long),
        "$a$b".repeat(long),
        "a.".repeat(long) + "(",
        format!("SELECT {}1{}", "(".repeat(long), ")".repeat(long)),
        format!("SELECT 1{}", ", lower($1)".repeat(long)),
    ] {
        let _ = side_effects(&sql);
    }
}

/// Pieces that mean the most to the scanner, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "'", "''", "\"", "E'", "U&\"", "U&'", "\\", "\\'", "$", "$$", "$a$", "$1", "--", "/*", "*/",
            "\n", "\r", " ", ";", ":", "::", ".", ",", "(", ")", "[", "]", "1", "1.5e", "+", "-", "*", "=",
            "é", "SELECT", "INTO", "INSERT", "WITH", "AS", "lower", "f", "ON", "CONFLICT", "DO", "BEGIN",
            "SET", "VALUES", "OVER", "DISCARD", "ALL",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn any_sql() -> impl Strategy<Value = String> {
    let known = prop::sample::select([CLEAN, DIRTY].concat()).prop_map(str::to_owned);
    prop_oneof![known, soup()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>(), soup in soup(), cut in any::<prop::sample::Index>()) {
        side_effects(&text);
        side_effects(&soup);
        let statement = CLEAN[cut.index(CLEAN.len())];
        let end = cut.index(statement.len() + 1);
        side_effects(statement.get(..end).unwrap_or_default());
    }

    #[test]
    fn blanks_and_comments_between_tokens_change_nothing(
        sql in any_sql(),
        gaps in prop::collection::vec(prop::sample::select(vec![" ", "\n", "\t\r\n", " /* ' */ ", " -- \"\n", " /*/**/;*/ "]), 1..8),
    ) {
        if let Some(tokens) = super::tokens(&sql) {
            let gaps = gaps.iter().cycle();
            let spaced: String = tokens.iter().zip(gaps).flat_map(|(token, gap)| [*gap, token.text]).collect();
            prop_assert_eq!(super::tokens(&spaced), Some(tokens));
            prop_assert_eq!(side_effects(&spaced), side_effects(&sql));
        }
    }
}
