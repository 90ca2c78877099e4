//! Runs a command of the shell, and prints it first. With `XTASK_DRY_RUN` set, that is all.

use std::env;
use std::process::{Command, Stdio};

/// The error is a sentence for the user.
pub(crate) type Result = std::result::Result<(), String>;

/// Runs the Cargo that this program was started by, in the root of the workspace.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result {
    cargo_with(&[], arguments)
}

/// Does the same with these environment variables.
pub(crate) fn cargo_with<'a>(
    variables: &[(&str, &str)],
    arguments: impl IntoIterator<Item = &'a str>,
) -> Result {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(arguments);
    run(command.envs(variables.iter().copied()), "cargo")
}

/// Runs a program as root, by way of sudo where that is needed.
pub(crate) fn as_root(arguments: &[&str]) -> Result {
    let (program, rest) = match is_root() {
        true => (arguments[0], &arguments[1..]),
        false => ("sudo", arguments),
    };
    run(Command::new(program).args(rest), program)
}

/// Runs a program as the user who calls.
pub(crate) fn plain(program: &str, arguments: &[&str]) -> Result {
    run(Command::new(program).args(arguments), program)
}

fn run(command: &mut Command, name: &str) -> Result {
    let words = command.get_args().map(|word| quoted(&word.to_string_lossy()));
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={} ", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let line: String =
        variables.chain([name.to_owned()]).chain(words.map(|word| format!(" {word}"))).collect();
    eprintln!("$ {line}");
    if is_dry_run() {
        return Ok(());
    }
    let status = command.status().map_err(|err| format!("{name} cannot be run: {err}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("this has failed ({status}): {line}")),
    }
}

/// Whether commands are only printed.
pub(crate) fn is_dry_run() -> bool {
    env::var_os("XTASK_DRY_RUN").is_some()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A word as a shell reads it, so that a printed command can be pasted into one.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=@:,+".contains(character);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
