//! Where the PostgreSQL programs are. Depends on nothing but std: the project's `xtask` compiles
//! this file, too, and has no dependencies.

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold one folder for each version: the parent, what the version's folder begins
/// with, and what follows it.
const VERSIONED: [(&str, &str, &str); 10] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/lib64", "postgresql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/opt/local/lib", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The first of `folders` that holds a server.
pub(crate) fn find(folders: &[PathBuf]) -> Option<&Path> {
    folders
        .iter()
        .map(PathBuf::as_path)
        .find(|folder| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file()))
}

/// The folders of PATH, then where packages keep the programs, the newest version first.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    for (parent, prefix, suffix) in VERSIONED {
        folders.extend(versions(Path::new(parent), prefix).into_iter().map(|folder| folder.join(suffix)));
    }
    folders
}

fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((version(name.strip_prefix(prefix)?)?, entry.path()))
        })
        .collect();
    found.sort_by_key(|(version, _)| Reverse(version.clone()));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// `17`, `9.6`, `@17`; nothing at all is a package without a version in its name, and `latest` a
/// link to one that has it.
fn version(text: &str) -> Option<Vec<u32>> {
    let text = text.trim_start_matches('@');
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("@17") > version("9.6"));
        assert!(version("16.2") > version("16"));
        assert!(version("") < version("13"));
        assert_eq!(version("latest"), None);
        assert_eq!(version("-common"), None);
    }
}
