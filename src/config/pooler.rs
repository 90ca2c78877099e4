//! What a pooler in between takes away, and which options cannot hold what they promise then.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::{ConfigError, OptionSource, OwnWrites, Pooler, Reset};

/// The settings that are start-up parameters without a pooler: the name of each option, and what the server calls the setting.
pub(super) type StartupSettings = BTreeMap<String, Startup>;

/// The value of a setting, and the option that it was given by.
pub(super) struct Startup {
    pub(super) option: &'static str,
    pub(super) value: String,
}

/// Refuses what cannot be with this pooler. `options` is where the start-up parameter of that name was given, if it was.
pub(super) fn check(
    pooler: Pooler,
    reset: Reset,
    shared_reads: u32,
    options: Option<&OptionSource>,
    settings: &StartupSettings,
) -> Result<(), ConfigError> {
    if pooler == Pooler::None {
        return Ok(());
    }
    if let Some(options) = options {
        let problem =
            "cannot be passed on by a pooler (`pooler`): use `server_settings`, or `ALTER ROLE … SET`";
        return Err(ConfigError::conflict(options.clone(), problem));
    }
    if pooler == Pooler::Session {
        return Ok(());
    }
    let refused =
        |option: &str, problem: &str| Err(ConfigError::conflict(OptionSource::option(option), problem));
    if let Some(setting) = settings.values().next() {
        return refused(
            setting.option,
            "cannot be kept with `pooler = \"transaction\"`: each transaction may have another backend. Set it for the role: \
             `ALTER ROLE … SET`",
        );
    }
    if shared_reads > 0 {
        return refused(
            "shared_reads",
            "cannot be on with `pooler = \"transaction\"`: no session is the same twice",
        );
    }
    if reset == Reset::Never {
        return refused(
            "reset",
            "cannot be `never` with `pooler = \"transaction\"`: what is left behind would meet other applications",
        );
    }
    Ok(())
}

/// Refuses a reader whose sessions would have to be used in another way than those of the writer, and what is promised of a standby where
/// the next transaction may be at another one.
pub(super) fn check_reader(
    writer: Pooler,
    reader: Pooler,
    max_lag: Option<Duration>,
    own_writes: &OwnWrites,
) -> Result<(), ConfigError> {
    let refused =
        |option: &str, problem: &str| Err(ConfigError::conflict(OptionSource::option(option), problem));
    let problem = "cannot be with `pooler = \"transaction\"`: each transaction may be at another standby";
    match (reader, own_writes) {
        _ if writer != reader => refused("reader", "must have the same `pooler` as the writer"),
        (Pooler::Transaction, _) if max_lag.is_some() => refused("reader_max_lag", problem),
        (Pooler::Transaction, OwnWrites::Position { .. }) => refused("read_your_writes", problem),
        _ => Ok(()),
    }
}

/// What is done about the start-up settings by SQL.
pub(super) struct StartupSql {
    /// Sets what a login sets without a pooler. It is run behind each reset, which has undone it. Empty without a pooler, which has the
    /// server know the start-up parameters and `RESET ALL` restore them.
    pub(super) restore: String,
    /// Returns the name of a setting that should have come with the login, and is not in force as one that did: a pooler that was not
    /// declared has dropped it, or has set it in a way that a reset undoes. Empty if there are none, or with a pooler.
    pub(super) not_in_force: String,
}

impl StartupSql {
    pub(super) fn new(pooler: Pooler, settings: &StartupSettings, application_name: Option<&str>) -> Self {
        match pooler {
            Pooler::None => Self { restore: String::new(), not_in_force: not_in_force(settings) },
            _ => Self { restore: restore(settings, application_name), not_in_force: String::new() },
        }
    }
}

fn restore(settings: &StartupSettings, application_name: Option<&str>) -> String {
    let fixed = [("client_encoding", Some("UTF8")), ("application_name", application_name)];
    let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given = settings.iter().map(|(name, startup)| (&**name, &*startup.value));
    let mut sql = String::from("SELECT ");
    for (position, (name, value)) in fixed.chain(given).enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}pg_catalog.set_config({}, {}, false)", literal(name), literal(value));
    }
    sql
}

/// Whether a setting came with the login is known by its source. Those of applications (`app.tenant`), and `role`, have none that is shown, so
/// their values are compared.
fn not_in_force(settings: &StartupSettings) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let given = settings.iter().map(|(name, startup)| {
        let is_compared = name.contains('.') || name.eq_ignore_ascii_case("role");
        let value = if is_compared { literal(&startup.value) } else { "NULL".to_owned() };
        format!("({}, {value})", literal(name))
    });
    format!(
        "SELECT given.name FROM (VALUES {}) AS given (name, value) LEFT JOIN pg_catalog.pg_settings AS known \
         ON pg_catalog.lower(known.name) = pg_catalog.lower(given.name) WHERE CASE WHEN known.name IS NULL \
         THEN given.value IS NOT NULL AND pg_catalog.current_setting(given.name, true) IS DISTINCT FROM given.value \
         ELSE known.source IN ('default', 'environment variable', 'configuration file', 'command line', 'global', \
         'database', 'user', 'database user') END LIMIT 1",
        given.collect::<Vec<_>>().join(", ")
    )
}

/// A literal that means the same whatever `standard_conforming_strings` says.
fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if value.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_literal_holds_quotes_and_backslashes() {
        assert_eq!(literal("app, public"), "'app, public'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
