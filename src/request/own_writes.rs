//! Has a client read what it has written in an earlier request. A cookie says that it has, and with a position how much.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{COOKIE, HeaderValue};

use super::signed_position::Signer;
use super::written::Written;
use crate::config;

/// The cookie of a window.
const WROTE: &str = "actix_pg_wrote";

/// The cookie of a position.
const POSITION: &str = "actix_pg_position";

/// How a client reads what it has written. The middleware has it, and the app data of its requests.
#[derive(Debug, Clone)]
pub(super) enum OwnWrites {
    /// On the primary, as long as it has the cookie: for so many seconds. It is forgotten by itself, so that no clocks are compared.
    Window(u64),
    /// On standbys that have what it has written.
    Position(Signer),
}

impl OwnWrites {
    pub(super) fn window(window: Duration) -> Option<Self> {
        if window.is_zero() {
            return None;
        }
        // Browsers count whole seconds.
        let seconds = window.as_secs().saturating_add(u64::from(window.subsec_nanos() > 0));
        Some(Self::Window(seconds))
    }

    /// As the option says.
    pub(super) fn configured(option: &config::OwnWrites) -> Option<Self> {
        match option {
            config::OwnWrites::Off => None,
            config::OwnWrites::Window(window) => Self::window(*window),
            config::OwnWrites::Position { key, unknown } => Some(Self::Position(Signer::new(key, *unknown))),
        }
    }

    /// Whether a server is asked how far it is when a request has written.
    pub(super) fn is_by_position(&self) -> bool {
        matches!(self, Self::Position(_))
    }

    /// What the client of a request has written of late, as its cookies say.
    pub(super) fn of(&self, req: &ServiceRequest) -> Option<Written> {
        match self {
            Self::Window(_) => cookies(req, WROTE).next().map(|_| Written::Somewhere),
            Self::Position(signer) => signer.read_all(cookies(req, POSITION), SystemTime::now()),
        }
    }

    /// The value of `Set-Cookie` for a client that has written. One that came by HTTPS sends it by nothing else.
    pub(super) fn cookie(&self, written: Written, by_https: bool) -> HeaderValue {
        let (name, value, seconds) = match self {
            Self::Window(seconds) => (WROTE, Cow::Borrowed("1"), *seconds),
            Self::Position(signer) => {
                let signed = signer.sign(written, SystemTime::now());
                (POSITION, Cow::Owned(signed), signer.lifetime(written).as_secs())
            }
        };
        let secure = if by_https { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(cookie).expect("no character is strange")
    }
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
