//! A DSN, taken apart into libpq's parameters; what they mean is
//! [`Parameters`](super::parameters::Parameters)' business.
//!
//! `url` cannot read several hosts, and the driver's own parser refuses `verify-full`, reads an `@`
//! in a parameter as the end of a password, and hands out neither the roots nor the certificates.
//! No error here quotes the DSN but for names that everybody knows: a misplaced quote or slash could make
//! any part of it the password.

use std::iter::Peekable;
use std::str::Chars;

use percent_encoding::percent_decode_str;

use super::{Config, names};

const SCHEMES: [&str; 3] = ["postgres", "postgresql", "asyncpg"];

const HINT: &str = "; in a user name or password, `:` `/` `?` `@` `%` have to be percent-encoded";

/// The parameters of `postgres://…` in any of its spellings, or of `key=value` pairs.
///
/// Later ones win over earlier ones only where a query parameter repeats what stands before the
/// `?`, as in `postgres://localhost/db?host=/run/postgresql`. The error is the rest of a sentence
/// about the DSN.
pub(super) fn parse(dsn: &str) -> Result<Vec<(String, String)>, String> {
    match dsn.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(|c: char| c == '=' || c.is_whitespace()) => {
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

fn url(rest: &str) -> Result<Vec<(String, String)>, String> {
    let (authority, path, query) = split(rest);
    // A password with a raw `/` or `?` in it goes on to here.
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

/// `host:port/path?query` without the separators.
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

/// libpq's `key=value key = 'it\'s a value'`.
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

fn push_once(pairs: &mut Vec<(String, String)>, name: String, value: String) -> Result<(), String> {
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

fn decode(text: &str) -> Result<String, String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("has percent-encoding that is not UTF-8".into()),
    }
}

/// The DSN as pairs without the password, or nothing of it where it is refused.
pub(super) fn masked(dsn: &str) -> String {
    let (Ok(pairs), Ok(_)) = (parse(dsn), Config::from_dsn(dsn)) else {
        return "***".into();
    };
    let shown = pairs.iter().map(|(name, value)| format!("{name}={}", names::masked(name, value)));
    shown.collect::<Vec<_>>().join(" ")
}
