//! What a statement does, in a few words: OpenTelemetry's
//! [`db.query.summary`](https://opentelemetry.io/docs/specs/semconv/database/database-spans/#generating-a-summary-of-the-query).
//!
//! The summary has the operations and their targets in the order in which they stand in the text: `SELECT users`,
//! `INSERT shipping_details SELECT orders`. It has no literal, no column and no alias, so it groups statements and shows no value.

use super::tokens::{Kind, Scanner, Token};
use crate::text::Escaped;

/// The most characters of a summary, as the conventions say.
const MOST: usize = 255;

/// The most words that are read: a statement may be megabytes long.
const MOST_WORDS: usize = 64;

/// Summarizes one statement or several. Empty for a text without a statement.
pub(crate) fn summary(sql: &str) -> String {
    let mut reader = Reader::new(sql);
    let first = reader.statement();
    let (mut several, mut same) = (false, true);
    while !reader.at_end {
        let next = reader.statement();
        if !next.is_empty() {
            several = true;
            same &= next == first;
        }
    }
    match (several, same) {
        (false, _) => shortened(&first),
        (true, true) => shortened(&[vec!["BATCH".to_owned()], first].concat()),
        (true, false) => "BATCH".to_owned(),
    }
}

/// Leaves out the words at the end that would be too much, and none in part.
fn shortened(words: &[String]) -> String {
    let mut summary = String::new();
    for word in words {
        let word = Escaped(word).to_string();
        let space = usize::from(!summary.is_empty());
        if summary.chars().count() + space + word.chars().count() > MOST {
            break;
        }
        if space > 0 {
            summary.push(' ');
        }
        summary += &word;
    }
    summary
}

/// One level of parentheses.
#[derive(Default)]
struct Level {
    /// The operation has been read.
    operation: bool,
    /// The names of a WITH clause are being read.
    with: bool,
    /// A FROM clause, in which commas separate targets.
    from: bool,
}

struct Reader<'sql> {
    scanner: Scanner<'sql>,
    ahead: Option<Token<'sql>>,
    at_end: bool,
}

impl<'sql> Reader<'sql> {
    fn new(sql: &'sql str) -> Self {
        let mut reader = Self { scanner: Scanner::new(sql), ahead: None, at_end: false };
        reader.advance();
        reader
    }

    /// Takes a token. What cannot be read ends the text.
    fn advance(&mut self) -> Option<Token<'sql>> {
        let next = self.scanner.next_token().flatten();
        std::mem::replace(&mut self.ahead, next)
    }

    /// The words of the next statement.
    fn statement(&mut self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let mut levels = vec![Level::default()];
        // A target is expected, and the word before.
        let (mut expected, mut before) = (false, None::<Token<'sql>>);
        loop {
            let Some(token) = self.advance() else {
                self.at_end = true;
                return words;
            };
            if token.is(";") || words.len() >= MOST_WORDS {
                return words;
            }
            let level = levels.last_mut().expect("the outermost level is never left");
            let was_expected = std::mem::take(&mut expected);
            let after = |words: &[&str]| before.is_some_and(|before| before.is_one_of(words));
            if token.is("(") {
                levels.push(Level::default());
            } else if token.is(")") {
                if levels.len() > 1 {
                    levels.pop();
                }
            } else if was_expected
                && token.is_one_of(&["ONLY", "LATERAL", "TABLE", "IF", "NOT", "EXISTS", "INTO"])
            {
                expected = true;
            } else if was_expected && token.kind != Kind::Literal && token.kind != Kind::Symbol {
                let name = self.dotted(token);
                let is_function = level.from && self.ahead.is_some_and(|next| next.is("("));
                if !is_function && !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                    words.push(name);
                }
            } else if token.is("WITH") && !level.operation {
                level.with = true;
            } else if level.with
                && !level.operation
                && token.is_name()
                && after(&["WITH", "RECURSIVE", ","])
                && !token.is("RECURSIVE")
            {
                names.push(token.text);
            } else if token.is("SELECT") {
                *level = Level { operation: true, ..Level::default() };
                words.push("SELECT".into());
            } else if !level.operation && token.is_one_of(&["INSERT", "DELETE", "MERGE", "VALUES"]) {
                level.operation = true;
                words.push(token.text.to_ascii_uppercase());
            } else if !level.operation && token.is_one_of(&["UPDATE", "TABLE"]) {
                level.operation = true;
                expected = true;
                words.push(token.text.to_ascii_uppercase());
            } else if level.operation && token.is("FROM") && !after(&["DISTINCT"]) {
                level.from = true;
                expected = true;
            } else if level.operation && token.is_one_of(&["JOIN", "INTO", "USING"]) && !level_ends(before) {
                // `JOIN … USING (column)` names no target: a parenthesis follows.
                level.from |= !token.is("INTO");
                expected = !(token.is("USING") && self.ahead.is_some_and(|next| next.is("(")));
            } else if level.operation && token.is_one_of(ENDS_FROM) {
                level.from = false;
            } else if level.from && token.is(",") {
                expected = true;
            } else if !level.operation && !level.with && levels.len() == 1 && token.kind == Kind::Word {
                levels[0].operation = true;
                expected = self.command(token, &mut words);
            }
            before = Some(token);
        }
    }

    /// A command other than a query. Says whether its target follows.
    fn command(&mut self, first: Token<'sql>, words: &mut Vec<String>) -> bool {
        let verb = first.text.to_ascii_uppercase();
        match verb.as_str() {
            "CREATE" | "DROP" | "ALTER" => {
                words.push(verb);
                while let Some(kind) = self.ahead.filter(|next| next.kind == Kind::Word) {
                    self.advance();
                    if OBJECTS.iter().any(|object| kind.is(object)) {
                        words.push(kind.text.to_ascii_uppercase());
                        if self.ahead.is_some_and(|next| next.is("CONCURRENTLY")) {
                            self.advance();
                        }
                        return !kind.is("INDEX") || !self.ahead.is_some_and(|next| next.is("ON"));
                    }
                }
                false
            }
            // `COPY (SELECT …)` has a query in it.
            "COPY" if self.ahead.is_some_and(|next| next.is("(")) => {
                words.push(verb);
                false
            }
            "TRUNCATE" | "COPY" | "CALL" | "LOCK" | "REFRESH" => {
                words.push(verb);
                while self
                    .ahead
                    .is_some_and(|next| next.is_one_of(&["TABLE", "ONLY", "MATERIALIZED", "VIEW"]))
                {
                    self.advance();
                }
                if let Some(name) = self.ahead.filter(|next| next.is_name()) {
                    self.advance();
                    words.push(self.dotted(name));
                }
                self.skip();
                false
            }
            _ => {
                words.push(verb);
                self.skip();
                false
            }
        }
    }

    /// Skips the rest of the statement, which may be a value, as in `SET name = value`.
    fn skip(&mut self) {
        while self.ahead.is_some_and(|next| !next.is(";")) {
            self.advance();
        }
    }

    /// A name with its qualifiers, as written.
    fn dotted(&mut self, first: Token<'sql>) -> String {
        let mut name = first.text.to_owned();
        while self.ahead.is_some_and(|next| next.is(".")) {
            self.advance();
            name.push('.');
            if let Some(part) =
                self.ahead.filter(|part| part.kind != Kind::Literal && part.kind != Kind::Symbol)
            {
                self.advance();
                name += part.text;
            }
        }
        name
    }
}

/// `ORDER BY … USING <` names an operator.
fn level_ends(before: Option<Token<'_>>) -> bool {
    before.is_some_and(|before| before.is("BY"))
}

const ENDS_FROM: &[&str] = &[
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SET",
    "RETURNING",
    "WINDOW",
    "FOR",
    "WHEN",
];

const OBJECTS: &[&str] = &[
    "TABLE",
    "INDEX",
    "VIEW",
    "SEQUENCE",
    "SCHEMA",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "ROLE",
    "USER",
    "DATABASE",
    "EXTENSION",
    "POLICY",
    "RULE",
    "AGGREGATE",
];

#[cfg(test)]
mod tests;
