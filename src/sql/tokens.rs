//! SQL text -> tokens, as PostgreSQL's own scanner cuts it.

/// One token, with its text as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'sql> {
    pub(super) kind: Kind,
    pub(super) text: &'sql str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An unquoted identifier or a keyword.
    Word,
    /// `"…"`
    Quoted,
    /// `U&"…"`, whose name is not decoded.
    Escaped,
    /// A string, a number, or a parameter.
    Literal,
    /// An operator or punctuation.
    Symbol,
}

impl<'sql> Token<'sql> {
    /// Whether this is the keyword or symbol `text`, which is upper case.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text.eq_ignore_ascii_case(text)
    }

    pub(super) fn is_one_of(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.is(text))
    }

    pub(super) fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    /// The name without its quotes; a doubled quote inside stays doubled.
    pub(super) fn name(&self) -> &'sql str {
        match self.kind {
            Kind::Quoted => &self.text[1..self.text.len() - 1],
            _ => self.text,
        }
    }

    /// Whether this names what is called `name`, which is lower case.
    pub(super) fn names(&self, name: &str) -> bool {
        match self.kind {
            Kind::Word => self.text.eq_ignore_ascii_case(name),
            Kind::Quoted => self.name() == name,
            _ => false,
        }
    }
}

/// The tokens of `sql` without blanks and comments; `None` if the server could cut it another way or not at all.
pub(super) fn tokens(sql: &str) -> Option<Vec<Token<'_>>> {
    let mut scanner = Scanner::new(sql);
    let mut tokens = Vec::new();
    while let Some(token) = scanner.next_token()? {
        tokens.push(token);
    }
    Some(tokens)
}

pub(super) struct Scanner<'sql> {
    sql: &'sql str,
    at: usize,
}

/// What a backslash means between two quotes.
#[derive(Clone, Copy)]
enum Backslash {
    Plain,
    Escape,
    /// Begins a character by its number: never a quote.
    Unicode,
    /// Depends on `standard_conforming_strings`.
    Unclear,
}

impl<'sql> Scanner<'sql> {
    pub(super) fn new(sql: &'sql str) -> Self {
        Self { sql, at: 0 }
    }

    /// The next token, `Some(None)` at the end, and `None` where the server could cut it another way or not at all.
    pub(super) fn next_token(&mut self) -> Option<Option<Token<'sql>>> {
        self.skip_blanks()?;
        let start = self.at;
        if start == self.sql.len() {
            return Some(None);
        }
        let kind = self.token()?;
        let text = self.sql.get(start..self.at)?;
        Some(Some(Token { kind, text }))
    }

    /// Where the next token is looked for.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn token(&mut self) -> Option<Kind> {
        match (self.peek(0)?, self.peek(1), self.peek(2)) {
            (b'\'', ..) => self.quoted(0, Backslash::Unclear, Kind::Literal),
            (b'e' | b'E', Some(b'\''), _) => self.quoted(1, Backslash::Escape, Kind::Literal),
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', Some(b'\''), _) => {
                self.quoted(1, Backslash::Unclear, Kind::Literal)
            }
            // Refused by the server unless `standard_conforming_strings` is on.
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => self.quoted(2, Backslash::Unicode, Kind::Literal),
            (b'u' | b'U', Some(b'&'), Some(b'"')) => self.quoted(2, Backslash::Plain, Kind::Escaped),
            (b'"', ..) => self.quoted(0, Backslash::Plain, Kind::Quoted),
            (b'$', Some(b'0'..=b'9'), _) => self.parameter(),
            (b'$', ..) => self.dollar_quoted(),
            (b'0'..=b'9', ..) | (b'.', Some(b'0'..=b'9'), _) => self.number(),
            (b':', Some(b':'), _) => self.symbol(2),
            (b'(' | b')' | b'[' | b']' | b',' | b';' | b':' | b'.', ..) => self.symbol(1),
            (byte, ..) if starts_name(byte) => {
                self.skip_while(continues_name);
                Some(Kind::Word)
            }
            (byte, ..) if is_operator(byte) => {
                while self.peek(0).is_some_and(is_operator) && !self.starts_comment() {
                    self.at += 1;
                }
                Some(Kind::Symbol)
            }
            _ => None,
        }
    }

    fn symbol(&mut self, length: usize) -> Option<Kind> {
        self.at += length;
        Some(Kind::Symbol)
    }

    fn quoted(&mut self, prefix: usize, backslash: Backslash, kind: Kind) -> Option<Kind> {
        self.at += prefix;
        let quote = self.peek(0)?;
        self.at += 1;
        loop {
            match (self.peek(0)?, backslash) {
                (byte, _) if byte == quote && self.peek(1) == Some(quote) => self.at += 2,
                (byte, _) if byte == quote => {
                    self.at += 1;
                    return Some(kind);
                }
                (b'\\', Backslash::Unclear) => return None,
                (b'\\', Backslash::Unicode) if self.peek(1) == Some(quote) => return None,
                (b'\\', Backslash::Escape) => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    fn dollar_quoted(&mut self) -> Option<Kind> {
        let start = self.at;
        self.at += 1;
        self.skip_while(|byte| continues_name(byte) && byte != b'$');
        if self.peek(0) != Some(b'$') {
            return None;
        }
        self.at += 1;
        let delimiter = self.sql.get(start..self.at)?;
        let length = self.sql.get(self.at..)?.find(delimiter)?;
        self.at += length + delimiter.len();
        Some(Kind::Literal)
    }

    fn parameter(&mut self) -> Option<Kind> {
        self.at += 1;
        self.skip_while(|byte| byte.is_ascii_digit());
        self.end_of_number()
    }

    fn number(&mut self) -> Option<Kind> {
        self.skip_while(|byte| byte.is_ascii_digit());
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        let exponent = match (self.peek(0), self.peek(1), self.peek(2)) {
            (Some(b'e' | b'E'), Some(b'0'..=b'9'), _) => 1,
            (Some(b'e' | b'E'), Some(b'+' | b'-'), Some(b'0'..=b'9')) => 2,
            _ => return self.end_of_number(),
        };
        self.at += exponent;
        self.skip_while(|byte| byte.is_ascii_digit());
        self.end_of_number()
    }

    /// Versions differ on where the number ends if a letter follows.
    fn end_of_number(&self) -> Option<Kind> {
        (!self.peek(0).is_some_and(starts_name)).then_some(Kind::Literal)
    }

    fn skip_blanks(&mut self) -> Option<()> {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c'));
            match (self.peek(0), self.peek(1)) {
                (Some(b'-'), Some(b'-')) => self.skip_while(|byte| !matches!(byte, b'\n' | b'\r')),
                (Some(b'/'), Some(b'*')) => self.skip_block_comment()?,
                _ => return Some(()),
            }
        }
    }

    fn skip_block_comment(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0)?, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn starts_comment(&self) -> bool {
        matches!((self.peek(0), self.peek(1)), (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*')))
    }

    fn skip_while(&mut self, accepts: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&accepts) {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.at + ahead).copied()
    }
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn continues_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}
