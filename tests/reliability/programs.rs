//! Programs that a test runs, as somebody who is not root.

use std::env;
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use test_support::eventually;
use tokio::net::TcpStream;

/// Runs the command, and ends it when nobody holds the other end of its input any more: also when the test is killed.
const SUPERVISED: &str = r#""$@" </dev/null & read -r _; kill -TERM $!; wait"#;

/// A program that runs until the value is dropped, and its log.
pub struct Program {
    supervisor: Child,
    log: PathBuf,
}

impl Program {
    /// Starts one in a folder, which is handed over to the user it runs as, and waits until it listens.
    pub async fn start(name: &str, folder: &Path, command: &[&str], port: u16) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log");
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISED, "sh"]).args(command).current_dir(folder);
        supervisor.stdin(Stdio::piped()).stdout(file.try_clone().expect("a log")).stderr(file);
        if let Some((_, id)) = substitute() {
            hand_over(folder, id);
            supervisor.uid(id);
        }
        let program = Self { supervisor: supervisor.spawn().expect("a shell"), log };
        eventually(name, || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() }).await;
        program
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Looks in `/usr/sbin` too, where only root's `PATH` leads. `None` where there is none, which CI does not forgive.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "{name} is not installed");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Whom a program runs as in the place of root, which many refuse.
pub fn substitute() -> Option<(&'static str, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|user| Some((user, id(&["-u", user])?)))
}

/// Gives a folder and its files to a user.
pub fn hand_over(folder: &Path, user: u32) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("an open folder");
    chown(folder, Some(user), None).expect("a new owner");
    for file in fs::read_dir(folder).expect("a folder") {
        chown(file.expect("a file").path(), Some(user), None).expect("a new owner");
    }
}
