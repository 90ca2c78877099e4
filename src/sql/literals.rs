//! SQL as it may be logged.

use super::tokens::{Kind, Scanner};
use crate::text::Escaped;

/// How many characters of a statement are shown.
const MOST: usize = 1000;

/// The statement on one line, without comments and with `?` for every literal. Ends in `…` where the rest is too long.
///
/// Where it cannot be read, a string may have ended too early, as in `'O'Brien'`: what follows the first one is left out.
pub(crate) fn without_literals(sql: &str) -> String {
    let mut shown = String::new();
    let mut left = MOST;
    let mut scanner = Scanner::new(sql);
    let mut first_string = None;
    let mut follows_string = false;
    loop {
        let end = scanner.at();
        let token = match scanner.next_token() {
            Some(Some(token)) => token,
            Some(None) => return shown,
            None => return cut(shown, first_string),
        };
        let is_apart = scanner.at() - token.text.len() > end;
        if follows_string && !is_apart && token.kind != Kind::Symbol {
            return cut(shown, first_string);
        }
        follows_string = token.kind == Kind::Literal && token.text.ends_with('\'');
        if follows_string {
            first_string.get_or_insert(shown.len());
        }
        let text = if token.kind == Kind::Literal && !is_parameter(token.text) { "?" } else { token.text };
        if is_apart && !shown.is_empty() {
            shown.push(' ');
            left = left.saturating_sub(1);
        }
        let text = if text.len() > 4 * left { None } else { Some(Escaped(text).to_string()) };
        match text.filter(|text| text.chars().count() <= left) {
            Some(text) => {
                left -= text.chars().count();
                shown += &text;
            }
            None => return shown + "…",
        }
    }
}

/// Whether the statement has a parameter, such as `$1`. Its values are elsewhere then.
pub(crate) fn has_parameters(sql: &str) -> bool {
    let mut scanner = Scanner::new(sql);
    while let Some(Some(token)) = scanner.next_token() {
        if token.kind == Kind::Literal && is_parameter(token.text) {
            return true;
        }
    }
    false
}

fn is_parameter(literal: &str) -> bool {
    literal.starts_with('$') && !literal.ends_with('$')
}

fn cut(mut shown: String, first_string: Option<usize>) -> String {
    shown.truncate(first_string.unwrap_or(shown.len()));
    shown + " …"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_replaced_and_names_stay() {
        for (sql, shown) in [
            (
                "SELECT * FROM users WHERE name = 'ada''s' AND id=$1",
                "SELECT * FROM users WHERE name = ? AND id=$1",
            ),
            (
                "INSERT INTO t VALUES (1, -2.5e3,\n\t'x'), (E'\\'', b'1', X'ff', U&'\\0041')",
                "INSERT INTO t VALUES (?, -?, ?), (?, ?, ?, ?)",
            ),
            ("DO $do$ BEGIN secret(); END $do$", "DO ?"),
            (
                "SELECT $$secret$$, $1::text -- secret\n/* secret */ FROM \"a b\"",
                "SELECT ?, $1::text FROM \"a b\"",
            ),
            ("SELECT 1;\n\nSELECT 2", "SELECT ?; SELECT ?"),
            ("SELEC x", "SELEC x"),
            ("SELECT 'secret", "SELECT …"),
            ("SELECT 'it\\'s secret'", "SELECT …"),
            ("SELECT 12secret", "SELECT …"),
            ("SELECT \"a\n\u{202e}b\"", "SELECT \"a\\n\\u{202e}b\""),
            ("'secret", " …"),
            ("SELECT * FROM t WHERE name = 'O'Brien secret' AND b = 'x'", "SELECT * FROM t WHERE name = …"),
            ("SELECT * FROM t WHERE name = 'O' Brien secret'", "SELECT * FROM t WHERE name = …"),
            ("SELECT U&'it\\'s secret'", "SELECT …"),
            ("SELECT 'a'::text||'b', 'c' AS c", "SELECT ?::text||?, ? AS c"),
            ("", ""),
        ] {
            assert_eq!(without_literals(sql), shown, "{sql}");
        }
    }

    #[test]
    fn a_long_statement_is_cut_off() {
        let shown = without_literals(&format!("SELECT {}", "column, ".repeat(10_000)));
        assert!(shown.ends_with('…') && shown.len() < 1300, "{}", shown.len());
        assert_eq!(without_literals(&format!("SELECT {}", "x".repeat(2000))), "SELECT …");
        for piece in ["x ", "\"\u{1}\" "] {
            let shown = without_literals(&piece.repeat(1000));
            assert!(shown.chars().count() <= MOST + 1, "{}", shown.chars().count());
        }
    }
}
