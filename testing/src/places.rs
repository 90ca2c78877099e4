//! Where a throwaway server's folder may be.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::owner::Owner;

/// The longest path of a Unix socket that Linux, macOS and the BSDs all allow.
const LONGEST_SOCKET: usize = 103;

/// A file system in memory, on Linux. A database is some 300 files: ext4 takes ever longer to make
/// them, up to a hundredfold, when as many have been deleted within the last minutes, as tests do.
const MEMORY: &str = "/dev/shm";

/// What has to be free there, in KiB: 1 GiB, ten times what a server with a few databases takes.
const ENOUGH_MEMORY: u64 = 1 << 20;

/// The folders to try, the best one first: the one that `TMPDIR` names, else memory, else the usual
/// one; always without those that the server could not get into, or where the path of its socket
/// would be too long.
pub(crate) fn places(owner: Owner) -> Vec<PathBuf> {
    let memory = env::var_os("TMPDIR").is_none() && free(MEMORY) >= Some(ENOUGH_MEMORY);
    let memory = memory.then(|| PathBuf::from(MEMORY));
    let usable = |place: &PathBuf| is_short(place) && (owner == Owner::Ourselves || is_open_to_all(place));
    memory.into_iter().chain([env::temp_dir()]).filter(usable).chain(["/tmp".into()]).collect()
}

/// In KiB; `None` where it cannot be known.
fn free(place: &str) -> Option<u64> {
    let output = Command::new("df").args(["-P", "-k", place]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn is_short(place: &Path) -> bool {
    place.as_os_str().len() + "/actix-pg-123456/run/.s.PGSQL.12345".len() <= LONGEST_SOCKET
}

fn is_open_to_all(place: &Path) -> bool {
    let is_open = |place: &Path| fs::metadata(place).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    fs::canonicalize(place).is_ok_and(|place| place.ancestors().all(is_open))
}
