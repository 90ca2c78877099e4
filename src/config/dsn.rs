//! libpq's parameters, given by a DSN, which is taken apart here, or by options.
//!
//! `url` cannot read several hosts, and the driver's own parser refuses `verify-full`, reads an `@`
//! in a parameter as the end of a password, and hands out neither the roots nor the certificates.
//! An error quotes nothing of the DSN but names that are publicly known: with a misplaced quote or slash, any
//! part of it could be the password.

use std::collections::BTreeMap;
use std::mem::discriminant;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::value::{FromValue, Value, pairs, push_once};
use super::{ConfigError, ConfigErrorKind, OptionSource, names};

const SCHEMES: [&str; 3] = ["postgres", "postgresql", "asyncpg"];

const HINT: &str = "; in a user name or password, `:` `/` `?` `@` `%` have to be percent-encoded";

/// The parameters that were given. Each is taken out when it is applied, so that the rest can be refused.
#[derive(Clone, Default)]
pub(super) struct Parameters(BTreeMap<String, Given>);

/// The value of a parameter, with the place where it was given.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) source: OptionSource,
}

impl Parameters {
    pub(super) fn of_dsn(text: &str) -> Result<Self, ConfigError> {
        let refused = |problem: String| ConfigError::invalid(OptionSource::option("dsn"), problem);
        let mut parameters = Self::default();
        for (name, value) in parse(text).map_err(refused)? {
            if !names::DSN_PARAMETERS.contains(&&*name) && !names::is_parameter(&name) {
                return Err(unknown(name));
            }
            let source = OptionSource::Dsn(name.clone());
            // As libpq: `ssl=true` comes from JDBC.
            let value = if name == "ssl" && value == "true" { "require" } else { &value };
            parameters.give(&name, value, source)?;
        }
        Ok(parameters)
    }

    /// Adds a parameter. An option replaces one of the DSN; two names of the same parameter in one place are refused.
    pub(super) fn give(&mut self, name: &str, value: &str, source: OptionSource) -> Result<(), ConfigError> {
        let name = match name {
            "keepalives_retries" => "keepalives_count",
            "ssl" => "sslmode",
            name => name,
        };
        if value.contains('\0') {
            return Err(ConfigError::invalid(source, "must not contain a NUL character"));
        }
        match self.0.get(name) {
            Some(other) if discriminant(&other.source) == discriminant(&source) => {
                Err(ConfigError::twice(source, other.source.name()))
            }
            _ => {
                self.0.insert(name.to_owned(), Given { value: value.to_owned(), source });
                Ok(())
            }
        }
    }

    pub(super) fn give_option(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        self.give(name, value, OptionSource::option(name))
    }

    /// Refuses values that the server would quote in its answer and in its log.
    pub(super) fn refuse(
        &self,
        names: &[&str],
        is_wrong: impl Fn(&str) -> bool,
        problem: &str,
    ) -> Result<(), ConfigError> {
        let wrong = names.iter().filter_map(|name| self.0.get(*name)).find(|given| is_wrong(&given.value));
        wrong.map_or(Ok(()), |given| Err(ConfigError::invalid(given.source.clone(), problem)))
    }

    /// Adds those of another list, which replace those of the same names.
    pub(super) fn replace(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Given> {
        self.0.remove(name)
    }

    /// Takes out a text. An empty one is as good as none, as in libpq.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|given| given.value).filter(|value| !value.is_empty())
    }

    pub(super) fn take_as<T: FromValue>(
        &mut self,
        name: &str,
    ) -> Result<Option<(T, OptionSource)>, ConfigError> {
        self.take(name).map(Given::read).transpose()
    }

    /// Refuses the parameters that nobody has taken.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        match self.0.into_iter().next() {
            Some((name, given)) => Err(ConfigError::unknown(given.source, names::nearest(&name))),
            None => Ok(()),
        }
    }
}

impl Given {
    /// Reads the value by its type. The error quotes no value of a DSN: it may be a piece of a password with a space in it.
    pub(super) fn read<T: FromValue>(self) -> Result<(T, OptionSource), ConfigError> {
        let value = Value::Text(self.value);
        let quoted = format!(", not {value}");
        T::from_value(value).map(|value| (value, self.source.clone())).map_err(|problem| {
            let problem = match &self.source {
                OptionSource::Dsn(_) => {
                    problem.strip_suffix(&quoted).unwrap_or("has a wrong value").to_owned()
                }
                _ => problem,
            };
            ConfigError::invalid(self.source, problem)
        })
    }
}

/// The error about an unknown name. One that is not publicly known may be a piece of a password, and is not quoted.
fn unknown(name: String) -> ConfigError {
    let meant = names::nearest_in_dsn(&name);
    if names::is_public(&name) {
        return ConfigError::unknown(OptionSource::Dsn(name), meant);
    }
    let hint = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let problem = format!("has a parameter that is unknown{hint}");
    ConfigError::new(OptionSource::option("dsn"), ConfigErrorKind::Unknown, problem)
}

/// Takes apart `postgres://…` in any of its spellings, or `key=value` pairs.
///
/// A parameter behind the `?` replaces what stands before it, as in `postgres://localhost/db?host=/run/postgresql`. Other
/// repetitions are refused. The error is the rest of a sentence about the DSN.
pub(super) fn parse(dsn: &str) -> Result<Vec<(String, String)>, String> {
    match scheme_of(dsn) {
        Some((scheme, rest)) => {
            let base = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
            if !SCHEMES.contains(&&*base) {
                return Err("must begin with postgres:// or postgresql://".into());
            }
            url(rest)
        }
        _ if !dsn.contains('=') => {
            Err("must be a URL such as postgres://user@host/database, or key=value pairs".into())
        }
        _ => pairs(dsn),
    }
}

/// The scheme of a URL, and what follows it.
fn scheme_of(dsn: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = dsn.split_once("://")?;
    (!scheme.contains(|c: char| c == '=' || c.is_whitespace())).then_some((scheme, rest))
}

/// Adds parameters to a DSN that can be read and has none of them.
pub(super) fn with_parameters(mut dsn: String, missing: &[(&str, &str)]) -> String {
    let is_url = scheme_of(&dsn).is_some();
    for (name, value) in missing {
        dsn += &if is_url {
            let separator = if dsn.contains('?') { '&' } else { '?' };
            format!("{separator}{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        } else {
            format!(" {name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
        };
    }
    dsn
}

fn url(rest: &str) -> Result<Vec<(String, String)>, String> {
    let (authority, path, query) = split(rest);
    // A password with a raw `/` or `?` in it reaches up to here.
    if path.contains('@') || (query.contains('@') && authority.contains(':')) {
        return Err(format!("has an `@` after the host{HINT}"));
    }
    let mut given = Vec::new();
    let hosts = match authority.rsplit_once('@') {
        None => authority,
        Some((credentials, hosts)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            given.push(("user".to_owned(), decode(user)?));
            given.push(("password".to_owned(), decode(password)?));
            hosts
        }
    };
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for server in hosts.split(',') {
        let (name, port) = host_and_port(server)?;
        names.push(decode(name)?);
        ports.push(port);
    }
    given.push(("host".to_owned(), names.join(",")));
    if ports.iter().any(|port| !port.is_empty()) {
        given.push(("port".to_owned(), ports.join(",")));
    }
    given.push(("dbname".to_owned(), decode(path)?));
    given.retain(|(_, value)| !value.is_empty());
    for (name, value) in query_pairs(query)? {
        given.retain(|(known, _)| *known != name);
        given.push((name, value));
    }
    Ok(given)
}

/// Splits `host:port/path?query` into the three.
fn split(rest: &str) -> (&str, &str, &str) {
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (authority, path.strip_prefix('/').unwrap_or(path), query)
}

fn host_and_port(server: &str) -> Result<(&str, &str), String> {
    let (name, port) = match server.strip_prefix('[') {
        Some(bracketed) => {
            let (name, rest) = bracketed.split_once(']').ok_or("has a `[` without a `]`")?;
            match rest.strip_prefix(':') {
                Some(port) => (name, port),
                None if rest.is_empty() => (name, ""),
                None => return Err("has something else than a port after a `]`".into()),
            }
        }
        None => server.split_once(':').unwrap_or((server, "")),
    };
    if port.contains(':') {
        return Err(format!("has several `:` in a host (an IPv6 address needs brackets){HINT}"));
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(format!("has a port that is no number from 1 to 65535{HINT}"));
    }
    Ok((name, port))
}

fn query_pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("has a parameter without a `=`")?;
        push_once(&mut pairs, decode(name)?, decode(value)?)?;
    }
    Ok(pairs)
}

fn decode(text: &str) -> Result<String, String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("has percent-encoding that is not UTF-8".into()),
    }
}
