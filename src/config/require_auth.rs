//! The ways in which the server may ask who logs in: libpq's `require_auth`.

use std::fmt;

use super::value::{FromValue, Value};

/// A way in which a server asks a client to prove who it is, or that it does not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    None,
    Password,
    Md5,
    Gss,
    Sspi,
    ScramSha256,
    Oauth,
}

/// The methods that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequireAuth(Vec<AuthMethod>);

impl AuthMethod {
    const ALL: [Self; 7] =
        [Self::None, Self::Password, Self::Md5, Self::Gss, Self::Sspi, Self::ScramSha256, Self::Oauth];

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::ScramSha256 => "scram-sha-256",
            Self::Oauth => "oauth",
        }
    }
}

/// What the server has asked for.
impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no authentication"),
            method => write!(f, "authentication by `{}`", method.word()),
        }
    }
}

impl RequireAuth {
    pub(crate) fn allows(&self, method: AuthMethod) -> bool {
        self.0.contains(&method)
    }
}

/// Reads methods with commas between them: those that are allowed, or each with a `!`, those that are not.
impl FromValue for RequireAuth {
    fn from_value(value: Value) -> Result<Self, String> {
        let expected =
            || format!("some of {}, with commas, each once; with a `!` before all of them or none", words());
        let Value::Text(text) = &value else { return value.refused(expected()) };
        let entries: Vec<_> = text.split(',').collect();
        let negative = entries.iter().all(|entry| entry.starts_with('!'));
        let mut named = Vec::new();
        for entry in entries {
            let word = if negative { &entry[1..] } else { entry };
            match AuthMethod::ALL.into_iter().find(|method| method.word() == word) {
                Some(method) if !named.contains(&method) => named.push(method),
                _ => return value.refused(expected()),
            }
        }
        let all = AuthMethod::ALL.into_iter();
        Ok(Self(all.filter(|method| named.contains(method) != negative).collect()))
    }
}

fn words() -> String {
    AuthMethod::ALL.map(AuthMethod::word).join(", ")
}
