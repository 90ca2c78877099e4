//! SQL as it may be logged.

use super::tokens::{Kind, Scanner};
use crate::text::Escaped;

/// How many characters of a statement are shown.
const MOST: usize = 1000;

/// The statement on one line, without comments and with `?` for every literal. Ends in `…` where the rest is too long, or
/// cannot be read: a piece of it could be a literal.
pub(crate) fn without_literals(sql: &str) -> String {
    let mut shown = String::new();
    let mut left = MOST;
    let mut scanner = Scanner::new(sql);
    loop {
        let end = scanner.at();
        let token = match scanner.next_token() {
            Some(Some(token)) => token,
            Some(None) => return shown,
            None => return shown + " …",
        };
        if !shown.is_empty() && scanner.at() - token.text.len() > end {
            shown.push(' ');
        }
        let is_parameter = token.text.starts_with('$') && !token.text.ends_with('$');
        let text = if token.kind == Kind::Literal && !is_parameter { "?" } else { token.text };
        let length = text.chars().count();
        if length > left {
            return shown + "…";
        }
        left -= length;
        shown += &Escaped(text).to_string();
    }
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
    }
}
