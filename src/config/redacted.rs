//! What of a `Config` may be shown.

use std::fmt;

use super::{Config, dsn, names};

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        shown.password = masked("password", &self.password).into();
        for name in [&mut shown.driver, &mut shown.host, &mut shown.user, &mut shown.database] {
            *name = masked("host", name).into();
        }
        shown.dsn = self.dsn.as_deref().map(masked_dsn);
        for (name, value) in &mut shown.driver_options {
            *value = masked(name, value).into();
        }
        shown.debug(f)
    }
}

/// The DSN as pairs without the password, or nothing of it where it is refused.
pub(super) fn masked_dsn(dsn: &str) -> String {
    let (Ok(pairs), Ok(_)) = (dsn::parse(dsn), Config::from_dsn(dsn)) else {
        return "***".into();
    };
    let shown = pairs.iter().map(|(name, value)| format!("{name}={}", masked(name, value)));
    shown.collect::<Vec<_>>().join(" ")
}

/// The value as it may be shown: hidden if it is a password, a whole URL in the place of a name, or if nobody knows what it is.
fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    let is_known = names::is_parameter(name) || names::DSN_PARAMETERS.contains(&name);
    if value.is_empty() || (is_known && name != "password" && !names::is_url(value)) { value } else { "***" }
}
