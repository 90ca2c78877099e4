//! Which user the server runs as: PostgreSQL refuses root.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// Tried in this order when we are root.
const SUBSTITUTES: [&str; 2] = ["postgres", "nobody"];

/// The user and the group the server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Ourselves,
    Other { user: u32, group: u32 },
}

impl Owner {
    pub(crate) fn find() -> Result<Self, Error> {
        let ours = id(&["-u"]).map_err(|source| Error::Program { program: "id".into(), source })?;
        if ours != Some(0) {
            return Ok(Self::Ourselves);
        }
        SUBSTITUTES.into_iter().find_map(Self::named).ok_or(Error::NoUser)
    }

    pub(crate) fn ids(self) -> Option<(u32, u32)> {
        match self {
            Self::Ourselves => None,
            Self::Other { user, group } => Some((user, group)),
        }
    }

    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { user, group } => chown(path, Some(user), Some(group)),
        }
    }

    fn named(name: &str) -> Option<Self> {
        let id = |option| id(&[option, name]).ok().flatten().filter(|&id| id != 0);
        Some(Self::Other { user: id("-u")?, group: id("-g")? })
    }
}

/// `None` when there is no such user.
fn id(arguments: &[&str]) -> io::Result<Option<u32>> {
    let output = Command::new("id").args(arguments).output()?;
    Ok(String::from_utf8(output.stdout).ok().and_then(|text| text.trim().parse().ok()))
}
