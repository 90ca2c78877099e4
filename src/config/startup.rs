//! Server settings -> the start-up `options`, which `RESET ALL` comes back to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::enums::Choice;
use super::parameters::Parameters;
use super::{ConfigError, IsolationLevel, OptionSource};

/// The server settings by name, each with the option that gave it.
pub(super) type Startup = BTreeMap<String, (OptionSource, String)>;

/// What the options ask of the server, checked.
pub(super) fn settings(
    server_settings: &BTreeMap<String, String>,
    statement_timeout: Option<Duration>,
    isolation_level: Option<IsolationLevel>,
) -> Result<Startup, ConfigError> {
    let source = OptionSource::option("server_settings");
    let mut settings = Startup::new();
    for (name, value) in server_settings {
        let refused = |problem| Err(ConfigError::invalid(source.clone(), problem));
        if !is_name(name) {
            return refused(format!("has `{}`, which is no name of a setting", name.escape_debug()));
        }
        if value.contains('\0') {
            return refused(format!("has a NUL character in `{name}`"));
        }
        if name.eq_ignore_ascii_case("client_encoding") {
            return refused("must not contain `client_encoding`: the driver speaks UTF-8 only".into());
        }
        settings.insert(name.clone(), (source.clone(), value.clone()));
    }
    let mut add = |option, name: &str, value| match settings
        .insert(name.into(), (OptionSource::option(option), value))
    {
        Some(_) => Err(ConfigError::twice(OptionSource::option(option), &format!("server_settings.{name}"))),
        None => Ok(()),
    };
    if let Some(timeout) = statement_timeout {
        // Zero milliseconds would be no bound at all.
        let milliseconds = timeout.as_millis().clamp(1, i32::MAX as u128);
        add("statement_timeout", "statement_timeout", milliseconds.to_string())?;
    }
    if let Some(level) = isolation_level {
        add("isolation_level", "default_transaction_isolation", level.word().replace('-', " "))?;
    }
    Ok(settings)
}

/// A user's own `options`, then `-c name=value` for each setting, which thus wins.
pub(super) fn options(parameters: &mut Parameters, startup: &Startup) -> Result<String, ConfigError> {
    let mut options = Vec::new();
    if let Some(own) = parameters.take("options").filter(|own| !own.value.is_empty()) {
        let backslashes = own.value.len() - own.value.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            return Err(ConfigError::invalid(own.source, "must not end in a single backslash"));
        }
        options.push(own.value);
    }
    options.extend(startup.iter().map(|(name, (_, value))| format!("-c {name}={}", escaped(value))));
    Ok(options.join(" "))
}

/// The server's `pg_split_opts` splits at C's `isspace`, and takes what follows a backslash as it
/// is.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    })
}
