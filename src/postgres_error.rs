//! What the server or the driver said, as it may be shown.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::Utf8Error;

use crate::text::{Chain, Escaped};
use crate::tokio_postgres;
use crate::tokio_postgres::error::{DbError, ErrorPosition, Severity, SqlState};
use crate::tokio_postgres::types::{WasNull, WrongType};

/// What the server or the driver reported about a statement, in a form that may be shown: [`Error::postgres`](crate::Error::postgres).
///
/// `Display` and `Debug` are one line: severity, message and SQLSTATE. They leave out what may hold the data of rows: the
/// server's DETAIL, HINT, CONTEXT and internal query. [`as_db_error`](Self::as_db_error) has those. In a message about a value (SQLSTATE
/// class 22) an `…` replaces numbers and what stands in quotes, unless `echo = true`. There is no [`source`](Error::source).
///
/// Names are shown, also one that a parameter gives (`$1::regclass`). So is the text of a `RAISE`: the author of the function
/// decides what it says.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database().await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// let err = conn.query("SELECT $1::text::integer", &[&"secret"]).await.unwrap_err();
/// let said = err.postgres().expect("an answer of the server");
/// assert_eq!(said.to_string(), "ERROR: invalid input syntax for type integer: … (SQLSTATE 22P02)");
/// # Ok(())
/// # }
/// ```
pub struct PostgresError(Box<Said>);

/// Boxed, so that a `Result` stays small.
struct Said {
    driver: tokio_postgres::Error,
    message: String,
    sql: Option<String>,
    /// A write was refused, as far as is known because the server takes none for now.
    of_read_only_server: bool,
    /// The statement was refused for its session, and has not run.
    of_session: bool,
}

impl PostgresError {
    /// Returns the severity, if it was the server that said it: `ERROR`, or `FATAL` where the server has hung up after it.
    pub fn severity(&self) -> Option<Severity> {
        self.as_db_error().and_then(DbError::parsed_severity)
    }

    /// Returns the [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html), if it was the server that said it.
    pub fn code(&self) -> Option<&SqlState> {
        self.as_db_error().map(DbError::code)
    }

    /// Returns the message on one line, with `…` for the values in it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the name of the constraint that does not hold.
    pub fn constraint(&self) -> Option<&str> {
        self.as_db_error().and_then(DbError::constraint)
    }

    /// Returns the name of the table that the error is about.
    pub fn table(&self) -> Option<&str> {
        self.as_db_error().and_then(DbError::table)
    }

    /// Returns the name of the column that the error is about.
    pub fn column(&self) -> Option<&str> {
        self.as_db_error().and_then(DbError::column)
    }

    /// Returns the statement that failed: one line of at most a thousand characters, with `?` for every literal.
    ///
    /// `None` for what this crate sends by itself, such as COMMIT, and for a driver's error that was converted with `?`.
    pub fn sql(&self) -> Option<&str> {
        self.0.sql.as_deref()
    }

    /// Returns everything that the server said. Its `Display` has several lines, and may have the data of rows in them.
    pub fn as_db_error(&self) -> Option<&DbError> {
        self.0.driver.as_db_error()
    }

    /// Whether the statement failed because the connection was closed already.
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

    pub(crate) fn of_session(mut self) -> Self {
        self.0.of_session = true;
        self
    }

    /// Whether the statement was refused for its session, and has not run.
    pub(crate) fn is_of_session(&self) -> bool {
        self.0.of_session
    }

    pub(crate) fn of_read_only_server(mut self) -> Self {
        self.0.of_read_only_server = true;
        self
    }

    pub(crate) fn is_of_read_only_server(&self) -> bool {
        self.0.of_read_only_server
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
        Self(Box::new(Said { driver, message, sql: None, of_read_only_server: false, of_session: false }))
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
        Some(said) => {
            let of_sent = matches!(said.position(), Some(ErrorPosition::Original(_)));
            without_values(said.code(), of_sent, &Escaped(said.message()).to_string())
        }
        None => of_driver(driver),
    }
}

/// Class 22 is about values. A syntax error quotes a piece of the SQL that was sent, or of a value that the server reads as SQL,
/// a type or a path: all is hidden but a word or a symbol of what was sent.
fn without_values(code: &SqlState, of_sent: bool, message: &str) -> String {
    let (fixed, rest) = message.split_at(name_of_a_setting(message));
    match code.code().as_bytes() {
        [b'2', b'2', ..] => format!("{fixed}{}", without_numbers(&without_quoted(rest))),
        b"42601" if !(of_sent && ends_in_a_word(message)) => {
            let shown = without_quoted(message);
            shown.split_once(": ").map(|(what, _)| format!("{what}: …")).unwrap_or(shown)
        }
        _ => message.to_owned(),
    }
}

fn is_mark(c: char) -> bool {
    "\"'«»„“”‘’「」".contains(c)
}

/// From the first quotation mark to the last: a value may have some in it.
fn without_quoted(text: &str) -> String {
    let (Some(start), Some(end)) = (text.find(is_mark), text.rfind(is_mark)) else {
        return text.to_owned();
    };
    let after: String = text[end..].chars().skip(1).collect();
    format!("{}…{after}", &text[..start])
}

/// Numbers, dates and bytes stand without quotes. The `(5)` of a type stays.
fn without_numbers(text: &str) -> String {
    let is_number =
        |word: &str| word.trim_start_matches(|c: char| !c.is_alphanumeric()).starts_with(char::is_numeric);
    text.split(' ').map(|word| if is_number(word) { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// `syntax error at or near "SELEC"`, and not `syntax error at or near "ada" of jsonpath input`.
fn ends_in_a_word(message: &str) -> bool {
    let (Some(start), Some(end)) = (message.find(is_mark), message.rfind(is_mark)) else {
        return false;
    };
    let quoted = message[start..end].trim_start_matches(is_mark);
    message[end..].chars().count() == 1
        && (quoted.chars().all(|c| c.is_alphabetic() || c == '_') || quoted.len() == 1)
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
    text += ": ";
    text += &match cause.is::<io::Error>() && !is_conversion {
        true => Chain(cause).to_string(),
        false => cause_of_conversion(cause),
    };
    text
}

/// Why a value could not be converted, if the text is known to tell no value.
pub(crate) fn cause_of_conversion(cause: &(dyn Error + 'static)) -> String {
    let tells_no_value = cause.is::<WrongType>() || cause.is::<WasNull>() || cause.is::<Utf8Error>();
    if tells_no_value { Chain(cause).to_string() } else { "…".to_owned() }
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
            ("date field value out of range: 1987-13-45", "date field value out of range: …"),
            (
                "invalid byte sequence for encoding \"UTF8\": 0xe9 0x63 0x72",
                "invalid byte sequence for encoding …: … … …",
            ),
            ("index 98765 out of valid range, 0..23", "index … out of valid range, …"),
            (
                "7 kB is outside the valid range for parameter \"work_mem\" (64 kB .. 99 kB)",
                "… kB is outside the valid range for parameter … … kB .. … kB)",
            ),
            ("value too long for type character varying(5)", "value too long for type character varying(5)"),
        ] {
            assert_eq!(without_values(&data, true, message), shown);
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
            (
                "syntax error at or near \"ada\" of jsonpath input",
                "syntax error at or near … of jsonpath input",
            ),
            (
                "syntax error in hstore, near \"a\" at position 3",
                "syntax error in hstore, near … at position 3",
            ),
            (
                "improper relation name (too many dotted names): ada.a.b.c",
                "improper relation name (too many dotted names): …",
            ),
            (
                "cannot insert multiple commands into a prepared statement",
                "cannot insert multiple commands into a prepared statement",
            ),
        ] {
            assert_eq!(without_values(&SqlState::SYNTAX_ERROR, true, message), shown);
        }
        let word = "syntax error at or near \"ada\"";
        assert_eq!(without_values(&SqlState::SYNTAX_ERROR, false, word), "syntax error at or near …");
        let unique = "duplicate key value violates unique constraint \"users_pkey\"";
        assert_eq!(without_values(&SqlState::UNIQUE_VIOLATION, true, unique), unique);
    }
}
