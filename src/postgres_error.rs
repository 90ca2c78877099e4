//! What the server or the driver said, as it may be shown.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::Utf8Error;

use crate::text::{Chain, Escaped};
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, Severity, SqlState};
use crate::tokio_postgres::types::{WasNull, WrongType};

/// What the server or the driver said.
///
/// `Display` and `Debug` are one line: severity, message and SQLSTATE. They leave out what may hold the data of rows: the
/// server's DETAIL, HINT, CONTEXT and internal query, which [`as_db_error`](Self::as_db_error) has. In a message about a
/// value (SQLSTATE class 22) an `…` replaces what stands in quotes, unless `echo = true`. There is no
/// [`source`](Error::source).
///
/// ```
/// # fn is_taken(err: &actix_pg::Error) -> bool {
/// err.postgres().is_some_and(|said| said.constraint() == Some("users_email_key"))
/// # }
/// ```
pub struct PostgresError(Box<Said>);

/// Boxed, so that a `Result` stays small.
struct Said {
    driver: tokio_postgres::Error,
    message: String,
    sql: Option<String>,
}

impl PostgresError {
    /// How bad it is, if the server said it.
    pub fn severity(&self) -> Option<Severity> {
        self.as_db_error().and_then(DbError::parsed_severity)
    }

    /// The [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html), if the server said it.
    pub fn code(&self) -> Option<&SqlState> {
        self.as_db_error().map(DbError::code)
    }

    /// The message on one line, with `…` for the values in it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The constraint that does not hold.
    pub fn constraint(&self) -> Option<&str> {
        self.as_db_error().and_then(DbError::constraint)
    }

    /// The table that it is about.
    pub fn table(&self) -> Option<&str> {
        self.as_db_error().and_then(DbError::table)
    }

    /// The column that it is about.
    pub fn column(&self) -> Option<&str> {
        self.as_db_error().and_then(DbError::column)
    }

    /// The statement that failed: one line of at most a thousand characters, with `?` for every literal.
    ///
    /// `None` for what this crate sends by itself, and for an error of the driver's that was converted.
    pub fn sql(&self) -> Option<&str> {
        self.0.sql.as_deref()
    }

    /// Everything that the server said. Its `Display` has several lines, and the data of rows in them.
    pub fn as_db_error(&self) -> Option<&DbError> {
        self.0.driver.as_db_error()
    }

    /// Whether the connection was closed already.
    pub fn is_closed(&self) -> bool {
        self.0.driver.is_closed()
    }

    /// Whether the server has hung up after it.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self.severity(), Some(Severity::Fatal | Severity::Panic))
    }

    pub(crate) fn driver(&self) -> &tokio_postgres::Error {
        &self.0.driver
    }

    pub(crate) fn with_sql(mut self, sql: String) -> Self {
        self.0.sql = Some(sql);
        self
    }

    /// Shows the values in the message: those of an operator, or `echo` asks for them.
    pub(crate) fn with_values(mut self) -> Self {
        self.0.message = match self.as_db_error() {
            Some(said) => Escaped(said.message()).to_string(),
            None => Chain(&self.0.driver).to_string(),
        };
        self
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(driver: tokio_postgres::Error) -> Self {
        let message = message(&driver);
        Self(Box::new(Said { driver, message, sql: None }))
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(self.driver(), self.message()))
    }
}

impl fmt::Debug for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for PostgresError {}

/// An error of the driver's as this type shows it.
pub(crate) fn shown(driver: &tokio_postgres::Error) -> String {
    line(driver, &message(driver))
}

fn line(driver: &tokio_postgres::Error, message: &str) -> String {
    match driver.as_db_error() {
        Some(said) => {
            let (severity, code) = (Escaped(said.severity()), Escaped(said.code().code()));
            format!("{severity}: {message} (SQLSTATE {code})")
        }
        None => message.to_owned(),
    }
}

fn message(driver: &tokio_postgres::Error) -> String {
    match driver.as_db_error() {
        Some(said) => without_values(said.code(), &Escaped(said.message()).to_string()),
        None => of_driver(driver),
    }
}

/// From the first quotation mark to the last: a value may have some in it.
fn without_values(code: &SqlState, message: &str) -> String {
    let is_mark = |c: char| "\"'«»„“”‘’「」".contains(c);
    let (fixed, rest) = message.split_at(name_of_a_setting(message));
    let (Some(start), Some(end)) = (rest.find(is_mark), rest.rfind(is_mark)) else {
        return message.to_owned();
    };
    let quoted = rest[start..end].trim_start_matches(is_mark);
    let hides = match code.code().as_bytes() {
        [b'2', b'2', ..] => true,
        // A syntax error quotes a piece of the SQL: a word, a symbol, or a literal.
        b"42601" => !quoted.chars().all(|c| c.is_alphabetic() || c == '_') && quoted.len() != 1,
        _ => false,
    };
    if !hides {
        return message.to_owned();
    }
    let after: String = rest[end..].chars().skip(1).collect();
    format!("{fixed}{}…{after}", &rest[..start])
}

/// Where the quoted name of a setting ends, which comes before its value.
fn name_of_a_setting(message: &str) -> usize {
    let begin = "invalid value for parameter \"";
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    match message.strip_prefix(begin).and_then(|rest| rest.split_once("\": ")) {
        Some((name, _)) if is_name(name) => begin.len() + name.len() + 1,
        _ => 0,
    }
}

/// Text of the driver's, with its causes as long as they are known to tell no value.
fn of_driver(driver: &tokio_postgres::Error) -> String {
    let mut text = Escaped(driver).to_string();
    let Some(cause) = driver.source() else {
        return text;
    };
    let is_conversion = text.starts_with("error serializing") || text.starts_with("error deserializing");
    let tells_no_value = cause.is::<WrongType>()
        || cause.is::<WasNull>()
        || cause.is::<Utf8Error>()
        || (cause.is::<io::Error>() && !is_conversion);
    text += ": ";
    text += &if tells_no_value { Chain(cause).to_string() } else { "…".to_owned() };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_as_small_as_with_the_drivers_error() {
        assert_eq!(size_of::<PostgresError>(), size_of::<tokio_postgres::Error>());
        assert!(size_of::<crate::Error>() <= 88, "{}", size_of::<crate::Error>());
    }

    #[test]
    fn values_are_replaced_in_whatever_quotes() {
        let data = SqlState::INVALID_TEXT_REPRESENTATION;
        for (message, shown) in [
            ("invalid input syntax for type integer: \"a@b\"", "invalid input syntax for type integer: …"),
            ("invalid input syntax for type integer: \"a\"b@c\"", "invalid input syntax for type integer: …"),
            ("ungültige Eingabesyntax für Typ integer: »a@b«", "ungültige Eingabesyntax für Typ integer: …"),
            (
                "value \"99999999999\" is out of range for type integer",
                "value … is out of range for type integer",
            ),
            (
                "invalid value for parameter \"work_mem\": \"a@b\"",
                "invalid value for parameter \"work_mem\": …",
            ),
            ("invalid value for parameter \"a@b\": \"x\"", "invalid value for parameter …"),
            ("division by zero", "division by zero"),
        ] {
            assert_eq!(without_values(&data, message), shown);
        }
        for (message, shown) in [
            ("syntax error at or near \"SELEC\"", "syntax error at or near \"SELEC\""),
            ("syntax error at or near \")\"", "syntax error at or near \")\""),
            ("syntax error at or near \"'a@b'\"", "syntax error at or near …"),
            ("syntax error at or near \"4711\"", "syntax error at or near …"),
            (
                "unterminated quoted string at or near \"'a@b FROM x\"",
                "unterminated quoted string at or near …",
            ),
        ] {
            assert_eq!(without_values(&SqlState::SYNTAX_ERROR, message), shown);
        }
        let unique = "duplicate key value violates unique constraint \"users_pkey\"";
        assert_eq!(without_values(&SqlState::UNIQUE_VIOLATION, unique), unique);
    }
}
