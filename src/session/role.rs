//! What a server is: whether it is a standby, and whether it takes writes.
//!
//! PostgreSQL 14 and later report both at the login. Older ones, and poolers that pass nothing on, are asked.

use tokio::io::{AsyncRead, AsyncWrite};

use super::connect_error::Cause;
use super::value::value;
use crate::config::TargetSessionAttrs;
use crate::tokio_postgres::{Client, Connection};

const IS_STANDBY: &str = "SELECT pg_catalog.pg_is_in_recovery()";

/// What is in force when the session has set nothing itself: `reset_val` is what a `RESET` would go back to.
const TAKES_WRITES: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'off' ELSE \
    (SELECT CASE reset_val WHEN 'on' THEN 'off' ELSE 'on' END \
    FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only') END";

/// What a server has reported at the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    is_standby: bool,
    is_read_only: bool,
}

impl Role {
    /// `None` where the server, or a pooler in between, has not reported it.
    pub(super) fn reported<S, T>(connection: &Connection<S, T>) -> Option<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let is_on = |name| connection.parameter(name).map(|value| value == "on");
        let (is_standby, by_default) = (is_on("in_hot_standby")?, is_on("default_transaction_read_only")?);
        Some(Self { is_standby, is_read_only: is_standby || by_default })
    }

    fn fits(self, wanted: TargetSessionAttrs) -> bool {
        match wanted {
            TargetSessionAttrs::Any => true,
            TargetSessionAttrs::ReadWrite => !self.is_read_only,
            TargetSessionAttrs::ReadOnly => self.is_read_only,
            TargetSessionAttrs::Primary => !self.is_standby,
            TargetSessionAttrs::Standby | TargetSessionAttrs::PreferStandby => self.is_standby,
        }
    }

    /// Whether a session at this server is expected to write. With `any` one is that could when it was opened.
    pub(super) fn writes(reported: Option<Self>, wanted: TargetSessionAttrs) -> bool {
        let takes_writes = reported.map(|role| !role.is_read_only);
        match wanted {
            TargetSessionAttrs::ReadWrite => true,
            TargetSessionAttrs::Primary => takes_writes.unwrap_or(true),
            TargetSessionAttrs::Any => takes_writes.unwrap_or(false),
            TargetSessionAttrs::ReadOnly
            | TargetSessionAttrs::Standby
            | TargetSessionAttrs::PreferStandby => false,
        }
    }
}

/// Checks that the server is what is wanted. Asks it, where it has not reported that.
pub(super) async fn check(
    client: &Client,
    reported: Option<Role>,
    wanted: TargetSessionAttrs,
) -> Result<(), Cause> {
    let fits = match (reported, wanted) {
        (_, TargetSessionAttrs::Any) => true,
        (Some(role), _) => role.fits(wanted),
        (None, TargetSessionAttrs::ReadWrite | TargetSessionAttrs::ReadOnly) => {
            let is_read_only = value(client, "SHOW transaction_read_only").await?.as_deref() == Some("on");
            is_read_only == (wanted == TargetSessionAttrs::ReadOnly)
        }
        (None, _) => {
            let is_standby = value(client, IS_STANDBY).await?.as_deref() == Some("t");
            Role { is_standby, is_read_only: is_standby }.fits(wanted)
        }
    };
    if fits { Ok(()) } else { Err(Cause::WrongTarget) }
}

/// Whether the server itself is not what is wanted any more, or with `any` takes no writes any more, whatever the session has set. No
/// transaction may be open.
pub(super) async fn was_demoted(client: &Client, wanted: TargetSessionAttrs) -> bool {
    match wanted {
        // One that is read-only by default will do.
        TargetSessionAttrs::Primary => {
            value(client, IS_STANDBY).await.is_ok_and(|is| is.as_deref() == Some("t"))
        }
        _ => value(client, TAKES_WRITES).await.is_ok_and(|takes| takes.as_deref() == Some("off")),
    }
}
