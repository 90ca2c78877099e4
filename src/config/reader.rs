//! Takes from the option `reader` where the standbys are, and checks how far they may be behind.

use std::time::Duration;

use super::dsn::Parameters;
use super::{ConfigError, OptionSource};

/// The word for the standbys among the writer's own hosts.
pub(super) const PREFER_STANDBY: &str = "prefer-standby";

/// What the reader asks of a server where its DSN does not say it. The writer serves while there is none, so a primary is not taken.
const TARGET: &str = "standby";

/// The primary is asked four times in this time.
const LEAST_LAG: Duration = Duration::from_millis(100);

/// The writer's parameters, and over them those of the reader's DSN.
///
/// A DSN with a host replaces all hosts, and one with a user the password too.
pub(super) fn parameters(reader: &str, writer: &Parameters) -> Result<Parameters, ConfigError> {
    let mut parameters = writer.clone();
    parameters.take("target_session_attrs");
    if reader != PREFER_STANDBY {
        let own = Parameters::of_dsn(reader)?;
        let given = |name| own.has(name);
        let mut replaced = Vec::new();
        if given("host") || given("hostaddr") {
            replaced.extend(["host", "hostaddr", "port"]);
        }
        if given("user") {
            replaced.push("password");
        }
        for name in replaced {
            parameters.take(name);
        }
        parameters.replace(own);
    }
    if !parameters.has("target_session_attrs") {
        parameters.give_option("target_session_attrs", TARGET)?;
    }
    Ok(parameters)
}

/// The error about the option, which says what is wrong in its DSN.
pub(super) fn refused(err: &ConfigError) -> ConfigError {
    let problem = match err.option() {
        OptionSource::Option(name) if name == "dsn" => {
            format!("must be `{PREFER_STANDBY}` or a DSN, which {}", err.problem())
        }
        _ => format!("cannot be used: {err}"),
    };
    ConfigError::new(OptionSource::option("reader"), err.kind(), problem)
}

/// Refuses a bound of the lag that is too short to be measured, or that bounds nothing.
pub(super) fn lag_bound(bound: Option<Duration>, has_reader: bool) -> Result<Option<Duration>, ConfigError> {
    let source = OptionSource::option("reader_max_lag");
    match bound {
        Some(_) if !has_reader => Err(ConfigError::conflict(source, "has no effect without `reader`")),
        Some(bound) if bound < LEAST_LAG => {
            Err(ConfigError::invalid(source, format!("must be at least {LEAST_LAG:?}, not {bound:?}")))
        }
        bound => Ok(bound),
    }
}
