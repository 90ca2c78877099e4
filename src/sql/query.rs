//! Tokens of a query -> whether it calls only listed built-ins and creates nothing.
//!
//! The grammar admits nothing but queries, changes of data and expressions inside a query, so a flat pass suffices: each name
//! before a parenthesis is a listed function, a construct of the grammar, or an alarm; and INTO follows INSERT or MERGE. Words that
//! are not reserved can be labels and functions too (`SELECT 1 insert INTO t`, `ON conflict(x)`): they count as the keyword only where
//! no expression can stand.

use super::builtins;
use super::tokens::{Kind, Token};

/// Whether the query leaves its session as it was.
pub(super) fn is_inert(tokens: &[Token<'_>]) -> bool {
    Reader { tokens, levels: vec![Level::new(Opening::Group)], closed: None }.read().is_some()
}

struct Reader<'query, 'sql> {
    tokens: &'query [Token<'sql>],
    /// The open parentheses and brackets, outermost first; the base is the statement itself.
    levels: Vec<Level>,
    /// What the last closed parenthesis was.
    closed: Option<Opening>,
}

struct Level {
    opening: Opening,
    selects: bool,
    /// Between WITH and the query it belongs to.
    with: bool,
    conflicts: usize,
    /// An `ON CONFLICT (…) WHERE` that needs its DO to be one.
    needs_do: bool,
}

impl Level {
    fn new(opening: Opening) -> Self {
        Self { opening, selects: false, with: false, conflicts: 0, needs_do: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// A function of the list, or what may follow its call.
    Call,
    Subquery,
    /// `ON CONFLICT (`
    Conflict,
    /// `WITH one AS (…), two (`
    CteColumns,
    /// `THEN INSERT (`
    MergeColumns,
    Bracket,
    Group,
}

/// Never the name of a function when unquoted, in any version since 13: reserved words, types and constructs of the grammar.
#[rustfmt::skip]
const CONSTRUCTS: &[&str] = &[
    "ALL", "AND", "ANY", "ARRAY", "AS", "ASYMMETRIC", "BOTH", "CASE", "CAST", "CURRENT_TIME", "CURRENT_TIMESTAMP", "DISTINCT",
    "ELSE", "EXCEPT", "FOR", "FROM", "HAVING", "IN", "INTERSECT", "LATERAL", "LEADING", "LIMIT", "LOCALTIME", "LOCALTIMESTAMP",
    "NOT", "OFFSET", "ON", "ONLY", "OR", "PLACING", "RETURNING", "SELECT", "SOME", "SYMMETRIC", "THEN", "TO", "TRAILING",
    "UNION", "USING", "VARIADIC", "WHEN", "WHERE", "WITH",
    "BETWEEN", "BIT", "CHAR", "CHARACTER", "COALESCE", "DEC", "DECIMAL", "EXISTS", "EXTRACT", "FLOAT", "GREATEST", "GROUPING",
    "INTERVAL", "LEAST", "NCHAR", "NORMALIZE", "NULLIF", "NUMERIC", "OVERLAY", "POSITION", "ROW", "SUBSTRING", "TIME",
    "TIMESTAMP", "TRIM", "VALUES", "VARCHAR", "XMLATTRIBUTES", "XMLCONCAT", "XMLELEMENT", "XMLEXISTS", "XMLFOREST",
    "XMLNAMESPACES", "XMLPARSE", "XMLPI", "XMLROOT", "XMLSERIALIZE", "XMLTABLE",
];

const JOINS: &[&str] = &["LEFT", "RIGHT", "FULL", "INNER", "OUTER", "CROSS", "NATURAL"];

impl Reader<'_, '_> {
    /// `None` is the alarm.
    fn read(&mut self) -> Option<()> {
        for (at, token) in self.tokens.iter().enumerate() {
            match token.kind {
                Kind::Escaped => return None,
                // A rule on this view turns an UPDATE into `set_config`.
                Kind::Word | Kind::Quoted if token.names("pg_settings") => return None,
                Kind::Word => self.word(at)?,
                Kind::Symbol => match token.text {
                    "(" => {
                        let opening = self.opening(at)?;
                        self.levels.push(Level::new(opening));
                    }
                    "[" => self.levels.push(Level::new(Opening::Bracket)),
                    ")" | "]" => self.close(at)?,
                    _ => {}
                },
                Kind::Quoted | Kind::Literal => {}
            }
        }
        let statement = self.levels.pop()?;
        (self.levels.is_empty() && !statement.needs_do).then_some(())
    }

    fn word(&mut self, at: usize) -> Option<()> {
        if self.is(at, &["INTO"]) && !self.names_the_target(at) {
            return None;
        }
        let starts_level = self.before(at).is_none_or(|previous| self.tokens[previous].is("("));
        let starts_with = starts_level && self.is(at, &["WITH"]);
        let selects = self.is(at, &["SELECT"]);
        let ends_with = self.is(
            at,
            &[
                "SELECT",
                "INSERT",
                "UPDATE",
                "DELETE",
                "MERGE",
                "VALUES",
                "TABLE",
                "FROM",
                "USING",
                "RETURNING",
            ],
        );
        let conflicts = self.is(at, &["CONFLICT"]);
        let decides = self.is(at, &["DO"]) && self.is(at + 1, &["NOTHING", "UPDATE"]);

        let level = self.levels.last_mut()?;
        level.selects |= selects;
        level.with = starts_with || level.with && !ends_with;
        level.needs_do &= !decides;
        level.conflicts += usize::from(conflicts);
        // With a second one it is not clear which of them is the clause and which a function or a column.
        (level.conflicts < 2).then_some(())
    }

    /// Whether this INTO belongs to an INSERT or MERGE, and not to a SELECT that creates a table.
    fn names_the_target(&self, into: usize) -> bool {
        let Some(verb) = self.before(into).filter(|&verb| self.is(verb, &["INSERT", "MERGE"])) else {
            return false;
        };
        let selects = self.levels.last().is_some_and(|level| level.selects);
        self.before(verb).is_none_or(|previous| {
            let previous = &self.tokens[previous];
            previous.is("(") || previous.is(")") && !selects
        })
    }

    /// What the parenthesis at `at` opens; `None` if it may be the call of a function that is not listed.
    fn opening(&self, at: usize) -> Option<Opening> {
        let subquery = self.is(at + 1, &["SELECT", "WITH", "TABLE"])
            || self.is(at + 1, &["VALUES"]) && self.tokens.get(at + 2).is_some_and(|token| token.is("("));
        let group = if subquery { Opening::Subquery } else { Opening::Group };

        let Some(last) = self.before(at).filter(|&last| self.tokens[last].is_name()) else {
            return Some(group);
        };
        let first = self.start_of_name(last)?;
        let qualified = first < last;

        if self.follows(first, &[&["AS"]])
            || self.follows(first, &[&["INTO"]])
            || self.follows(first, &[&["::"]])
        {
            return Some(group);
        }
        if !qualified && let Some(opening) = self.construct(last, group) {
            return Some(opening);
        }
        self.is_built_in(first, last).then_some(Opening::Call)
    }

    /// What an unqualified name before a parenthesis opens if it is not a function.
    fn construct(&self, name: usize, group: Opening) -> Option<Opening> {
        let after = |words: &[&[&str]]| self.follows(name, words);
        let after_call = after(&[&[")"]]) && matches!(self.closed, Some(Opening::Call | Opening::Subquery));
        let with = self.levels.last().is_some_and(|level| level.with);

        if self.is(name, CONSTRUCTS) {
            return Some(group);
        }
        let opening = match self.tokens[name].text.to_ascii_uppercase().as_str() {
            "FILTER" if after_call => Opening::Call,
            "GROUP" if after(&[&["WITHIN"]]) => Opening::Call,
            "CONFLICT" if after(&[&["ON"]]) => Opening::Conflict,
            "INSERT" if after(&[&["THEN"]]) => Opening::MergeColumns,
            "BY" if after(&[&["GROUP", "ORDER", "PARTITION"]]) => group,
            "CUBE" | "ROLLUP" if after(&[&["GROUP"], &["BY"]]) => group,
            "JOIN" if after(&[JOINS]) || group == Opening::Subquery => group,
            "MATERIALIZED" if after(&[&["AS"], &["NOT"]]) => group,
            // Elsewhere UPDATE may be a column: `update AND set(1)`.
            "SET" if after(&[&["UPDATE"]]) || name == 2 && self.is(0, &["UPDATE"]) => group,
            "SETS" if after(&[&["GROUPING"]]) => group,
            "VARYING" if after(&[&["BIT", "CHAR", "CHARACTER", "NCHAR"]]) => group,
            "ZONE" if after(&[&["TIME"]]) => group,
            // `f(…) OVER (…)`, and the columns of an alias: no expression follows one directly.
            _ if after_call => group,
            _ if after(&[&["WITH"]]) || after(&[&["WITH"], &["RECURSIVE", "ORDINALITY"]]) => group,
            _ if after(&[&[","]]) && with => Opening::CteColumns,
            _ => return None,
        };
        Some(opening)
    }

    fn is_built_in(&self, first: usize, last: usize) -> bool {
        let schema_fits = match last - first {
            0 => true,
            2 => self.tokens[first].names("pg_catalog"),
            _ => false,
        };
        schema_fits && builtins::lists(&self.tokens[last])
    }

    fn close(&mut self, at: usize) -> Option<()> {
        let Level { opening, needs_do, .. } = self.levels.pop()?;
        let level = self.levels.last_mut()?;
        if needs_do || self.tokens[at].is("]") != (opening == Opening::Bracket) {
            return None;
        }
        let next = |ahead: usize, words: &[&str]| {
            self.tokens.get(at + ahead).is_some_and(|token| token.is_one_of(words))
        };
        let confirmed = match opening {
            Opening::Conflict if next(1, &["WHERE"]) => {
                level.needs_do = true;
                true
            }
            Opening::Conflict => next(1, &["DO"]),
            Opening::CteColumns => next(1, &["AS"]) && next(2, &["(", "NOT", "MATERIALIZED"]),
            Opening::MergeColumns => next(1, &["VALUES", "OVERRIDING"]),
            Opening::Call | Opening::Subquery | Opening::Bracket | Opening::Group => true,
        };
        self.closed = Some(opening);
        confirmed.then_some(())
    }

    /// Where the qualified name that ends at `last` starts.
    fn start_of_name(&self, last: usize) -> Option<usize> {
        let mut first = last;
        while self.before(first).is_some_and(|dot| self.tokens[dot].is(".")) {
            first = first.checked_sub(2).filter(|&qualifier| self.tokens[qualifier].is_name())?;
        }
        Some(first)
    }

    /// Whether the tokens right before `at` are these, one set for each.
    fn follows(&self, at: usize, words: &[&[&str]]) -> bool {
        at.checked_sub(words.len())
            .is_some_and(|start| words.iter().enumerate().all(|(offset, set)| self.is(start + offset, set)))
    }

    /// Whether the token at `at` is one of these words or symbols; after a dot, a word is a name.
    fn is(&self, at: usize, words: &[&str]) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_one_of(words))
            && self.before(at).is_none_or(|previous| !self.tokens[previous].is("."))
    }

    fn before(&self, at: usize) -> Option<usize> {
        at.checked_sub(1)
    }
}
