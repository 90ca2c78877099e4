//! Which user the server runs as: PostgreSQL refuses root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use super::Error;

/// Tried in this order when we are root.
const SUBSTITUTES: [&str; 2] = ["postgres", "nobody"];

/// The user and the group the server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Ourselves,
    Other { user: u32, group: u32 },
}

impl Owner {
    /// `ours` is anything that we made: its owner is who we are.
    pub(super) fn for_files_like(ours: &Path) -> Result<Self, Error> {
        if fs::metadata(ours).map_err(Error::Folder)?.uid() != 0 {
            return Ok(Self::Ourselves);
        }
        SUBSTITUTES.into_iter().find_map(Self::named).ok_or(Error::NoUser)
    }

    pub(super) fn ids(self) -> Option<(u32, u32)> {
        match self {
            Self::Ourselves => None,
            Self::Other { user, group } => Some((user, group)),
        }
    }

    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { user, group } => chown(path, Some(user), Some(group)),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(Self::Other { user: id("-u", name)?, group: id("-g", name)? })
    }
}

fn id(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([option, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok().filter(|&id| id != 0)
}
