//! What of a `Config` may be shown: its `Debug`, without passwords.

use std::fmt;

use super::reader::PREFER_STANDBY;
use super::{Config, dsn, names};

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        shown.password = masked("password", &self.password).into();
        shown.read_your_writes_key = masked("password", &self.read_your_writes_key).into();
        for name in [&mut shown.driver, &mut shown.host, &mut shown.user, &mut shown.database] {
            *name = masked("host", name).into();
        }
        shown.dsn = self.dsn.as_deref().map(masked_dsn);
        shown.reader = self.reader.as_deref().map(|reader| match reader {
            PREFER_STANDBY => reader.to_owned(),
            dsn => masked_dsn(dsn),
        });
        for (name, value) in &mut shown.driver_options {
            *value = masked(name, value).into();
        }
        shown.debug(f)
    }
}

/// Shows the DSN as pairs without the password, and nothing of one that is refused: any part of that may be the password.
pub(super) fn masked_dsn(dsn: &str) -> String {
    let (Ok(pairs), Ok(_)) = (dsn::parse(dsn), Config::from_dsn(dsn)) else {
        return "***".into();
    };
    let shown = pairs.iter().map(|(name, value)| format!("{name}={}", masked(name, value)));
    shown.collect::<Vec<_>>().join(" ")
}

/// Hides a password, a URL in the place of a name, and the value of an unknown parameter.
fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    let is_known = names::is_parameter(name) || names::DSN_PARAMETERS.contains(&name);
    if value.is_empty() || (is_known && name != "password" && !names::is_url(value)) { value } else { "***" }
}
