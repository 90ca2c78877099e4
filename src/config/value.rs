//! The value of an option as a file, a variable or a DSN gives it, and how each type is read from it.
//!
//! serde's derive would neither take `"5"` for a number, as the environment needs, nor name the option in its errors.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::names;

/// Any value of TOML, YAML, JSON or the environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(#[expect(dead_code, reason = "no option is a list")] Vec<IgnoredAny>),
    Map(BTreeMap<String, Value>),
}

/// A type that an option can have. The error is the rest of a sentence that begins with the name of the option.
pub(super) trait FromValue: Sized {
    /// Whether an optional one may be `"off"`, `"none"` or `"never"`.
    const CAN_BE_OFF: bool = false;

    fn from_value(value: Value) -> Result<Self, String>;
}

impl Value {
    pub(super) fn refused<T>(&self, expected: impl fmt::Display) -> Result<T, String> {
        Err(format!("must be {expected}, not {self}"))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "`{}`", value.escape_debug()),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a table"),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            Value::Text(word) if T::CAN_BE_OFF && matches!(&*word, "off" | "none" | "never") => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// Refuses numbers, because `password = 0123` would lose its zero. The error does not quote the value.
impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text),
            _ => Err("must be a string, in quotes".into()),
        }
    }
}

macro_rules! whole_number {
    ($($type:ty)*) => {$(
        impl FromValue for $type {
            const CAN_BE_OFF: bool = true;

            fn from_value(value: Value) -> Result<Self, String> {
                let number = match &value {
                    Value::Integer(number) => (*number).try_into().ok(),
                    Value::Text(text) => text.trim().parse().ok(),
                    _ => None,
                };
                number.map_or_else(|| value.refused(format_args!("a whole number from 0 to {}", Self::MAX)), Ok)
            }
        }
    )*};
}

whole_number!(u16 u32);

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, String> {
        match &value {
            Value::Bool(value) => Ok(*value),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            Value::Text(text) => match &*text.trim().to_ascii_lowercase() {
                "true" | "on" | "yes" | "1" => Ok(true),
                "false" | "off" | "no" | "0" => Ok(false),
                _ => value.refused("true or false"),
            },
            _ => value.refused("true or false"),
        }
    }
}

impl FromValue for Duration {
    const CAN_BE_OFF: bool = true;

    fn from_value(value: Value) -> Result<Self, String> {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        let duration = match &value {
            Value::Integer(number) => u64::try_from(*number).ok().map(Duration::from_secs),
            Value::Float(number) => seconds(*number),
            Value::Text(text) => match text.trim().parse() {
                Ok(number) => seconds(number),
                Err(_) => humantime::parse_duration(text).ok(),
            },
            _ => None,
        };
        duration.map_or_else(|| value.refused(r#"seconds, or a duration such as "500ms" or "5m""#), Ok)
    }
}

/// Reads a table, whose inner tables become dotted names, or `name=value` pairs as in a DSN.
impl FromValue for BTreeMap<String, String> {
    fn from_value(value: Value) -> Result<Self, String> {
        let mut settings = BTreeMap::new();
        match &value {
            Value::Map(map) => flatten("", map, &mut settings)?,
            Value::Text(text) => settings.extend(pairs(text)?),
            _ => return value.refused("a table or `name=value` pairs"),
        }
        Ok(settings)
    }
}

fn flatten(
    prefix: &str,
    map: &BTreeMap<String, Value>,
    into: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in map {
        match value {
            Value::Map(inner) => flatten(&format!("{prefix}{name}."), inner, into)?,
            value => {
                let text =
                    scalar(value).map_err(|problem| format!("has a `{prefix}{name}` that {problem}"))?;
                into.insert(format!("{prefix}{name}"), text);
            }
        }
    }
    Ok(())
}

/// Reads a value that is passed on as text.
pub(super) fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) => Ok(value.to_string()),
        _ => value.refused("a string, a number or a boolean"),
    }
}

/// Splits libpq's pairs, as in `key=value key = 'it\'s a value'`.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        skip_spaces(&mut chars);
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        skip_spaces(&mut chars);
        if chars.next() != Some('=') {
            return Err("has a word without a `=` (a value with spaces needs single quotes)".into());
        }
        skip_spaces(&mut chars);
        let value = value(&mut chars)?;
        push_once(&mut pairs, name, value)?;
    }
}

fn value(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
        match c {
            '\'' if quoted => return Ok(value),
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    if quoted { Err("has a quote that is not closed".into()) } else { Ok(value) }
}

fn skip_spaces(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

/// Adds a pair, unless its name is there already. The error quotes the name only if it is publicly known.
pub(super) fn push_once(
    pairs: &mut Vec<(String, String)>,
    name: String,
    value: String,
) -> Result<(), String> {
    let is_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    if name.is_empty() || !name.chars().all(is_a_name) {
        return Err("has a parameter name that is none".into());
    }
    if pairs.iter().any(|(known, _)| *known == name) {
        return Err(match names::is_public(&name) {
            true => format!("has `{name}` twice"),
            false => "has a parameter twice".into(),
        });
    }
    pairs.push((name, value));
    Ok(())
}
