//! Has a client read what it has written in an earlier request. A cookie says that it has, and with a position how much.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{COOKIE, HeaderValue};

use super::signed_position::Signer;
use super::written::Written;
use crate::config::OwnWrites;

/// The cookie of a window.
const WROTE: &str = "actix_pg_wrote";

/// The cookie of a position.
const POSITION: &str = "actix_pg_position";

/// The cookie of those who have written to a database. The middleware has it, and the app data of its requests.
#[derive(Debug, Clone)]
pub(super) struct WrittenCookie {
    name: String,
    says: Says,
}

#[derive(Debug, Clone)]
enum Says {
    /// That the client reads on the primary: for so many seconds. It is forgotten by itself, so that no clocks are compared.
    Window(u64),
    /// That it reads on standbys that have what it has written.
    Position(Signer),
}

impl WrittenCookie {
    /// That of a window, for the database of this name.
    pub(super) fn window(window: Duration, database: Option<&str>) -> Option<Self> {
        if window.is_zero() {
            return None;
        }
        // Browsers count whole seconds.
        let seconds = window.as_secs().saturating_add(u64::from(window.subsec_nanos() > 0));
        Some(Self { name: name(WROTE, database), says: Says::Window(seconds) })
    }

    /// As the option says.
    pub(super) fn configured(option: &OwnWrites, database: Option<&str>) -> Option<Self> {
        match option {
            OwnWrites::Off => None,
            OwnWrites::Window(window) => Self::window(*window, database),
            OwnWrites::Position { key, unknown } => {
                let says = Says::Position(Signer::new(key, *unknown));
                Some(Self { name: name(POSITION, database), says })
            }
        }
    }

    /// Whether a server is asked how far it is when a request has written.
    pub(super) fn is_by_position(&self) -> bool {
        matches!(self.says, Says::Position(_))
    }

    /// What the client of a request has written of late, as its cookies say.
    pub(super) fn of(&self, req: &ServiceRequest) -> Option<Written> {
        let mut values = cookies(req, &self.name);
        match &self.says {
            Says::Window(_) => values.next().map(|_| Written::Somewhere),
            Says::Position(signer) => signer.read_all(values, SystemTime::now()),
        }
    }

    /// The value of `Set-Cookie` for a client that has written. One that came by HTTPS sends it by nothing else.
    pub(super) fn set(&self, written: Written, by_https: bool) -> HeaderValue {
        let (value, seconds) = match &self.says {
            Says::Window(seconds) => (Cow::Borrowed("1"), *seconds),
            Says::Position(signer) => {
                let signed = signer.sign(written, SystemTime::now());
                (Cow::Owned(signed), signer.lifetime(written).as_secs())
            }
        };
        let (name, secure) = (&self.name, if by_https { "; Secure" } else { "" });
        let cookie = format!("{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(cookie).expect("no character is strange")
    }
}

/// The name of a cookie, with that of the database behind it: each has a cookie of its own.
fn name(cookie: &str, database: Option<&str>) -> String {
    let mut name = cookie.to_owned();
    if let Some(database) = database {
        name.push('.');
        for character in database.replace("::", ".").chars() {
            match character {
                '.' | '_' => name.push(character),
                _ if character.is_ascii_alphanumeric() => name.push(character),
                // A cookie's name has few characters, and no two databases have one name.
                _ => name.push_str(&format!("-{:x}-", u32::from(character))),
            }
        }
    }
    name
}

/// The values of the cookies of that name.
fn cookies<'r>(req: &'r ServiceRequest, name: &'r str) -> impl Iterator<Item = &'r str> {
    let headers = req.headers().get_all(COOKIE);
    headers.flat_map(|value| value.as_bytes().split(|byte| *byte == b';')).filter_map(move |cookie| {
        // Those of others may be in any encoding.
        let cookie = str::from_utf8(cookie).ok()?.trim();
        let (own, value) = cookie.split_once('=').unwrap_or((cookie, ""));
        (own == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn the_name_of_a_database_is_one_of_a_cookie() {
        assert_eq!(name("wrote", None), "wrote");
        assert_eq!(name("wrote", Some("shop::Reports")), "wrote.shop.Reports");
        assert_eq!(name("wrote", Some("shop::Of<Jahr2, &é>")), "wrote.shop.Of-3c-Jahr2-2c--20--26--e9--3e-");
    }
}
