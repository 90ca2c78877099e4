//! Ends the server and removes its folder when this process has gone, however it went.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Makes a folder, says its name, and reads `SIGNAL PROCESS` lines: what to do at the end of the
/// input, before the folder is removed. The last line counts.
///
/// A process that has ended but was not waited for still answers `kill -0`; in a container whose
/// first process waits for nobody it does so for ever, hence the look at its state. One that does
/// not end within half a minute is killed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
folder=$(mktemp -d "$1/actix-pg-XXXXXX") || exit
echo "$folder"
signal= target= tries=0
while read -r line_signal line_target; do signal=$line_signal target=$line_target; done
alive() {
    kill -0 "$target" || return 1
    case $(cat "/proc/$target/stat") in *') Z '*) return 1 ;; esac
}
nap() { sleep 0.02 || sleep 1; }
if [ -n "$target" ]; then
    kill "-$signal" "$target"
    kill -CONT "$target"
    while [ "$signal" != KILL ] && alive; do
        nap
        tries=$((tries + 1))
        [ "$tries" -lt 1500 ] || { signal=KILL; kill -KILL "$target"; }
    done
fi
tries=0
while rm -rf "$folder"; [ -e "$folder" ] && [ "$tries" -lt 100 ]; do
    nap
    tries=$((tries + 1))
done
"#;

/// A shell outside our process group, so that Ctrl-C does not reach it, which waits for the end of
/// a pipe that only we write.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Supervisor {
    /// The supervisor, and the folder it has made in the first of `places` where it could.
    pub(crate) fn start_in(places: Vec<PathBuf>) -> io::Result<(Self, PathBuf)> {
        let nowhere = Err(io::ErrorKind::NotFound.into());
        places.iter().fold(nowhere, |result, place| result.or_else(|_| Self::start(place)))
    }

    fn start(parent: &Path) -> io::Result<(Self, PathBuf)> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(parent)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let (pipe, output) = (shell.stdin.take(), shell.stdout.take());
        let mut folder = Vec::new();
        if let Some(output) = output {
            BufReader::new(output).read_until(b'\n', &mut folder)?;
        }
        folder.pop();
        let supervisor = Self { shell, pipe };
        if folder.is_empty() {
            return Err(io::Error::other(format!("no folder can be made in {}", parent.display())));
        }
        Ok((supervisor, OsString::from_vec(folder).into()))
    }

    /// Starts `command` in a process group of its own, in a way that it never runs unsupervised: it
    /// waits until the supervisor knows it, and ends if we end before that.
    pub(crate) fn spawn(&mut self, command: Supervised<'_>) -> io::Result<Child> {
        let mut child = Command::new("sh");
        child
            .args(["-c", r#"read -r _ && exec "$@" </dev/null"#, "sh"])
            .arg(command.program)
            .args(command.arguments)
            .current_dir(command.folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(command.log.try_clone()?)
            .stderr(command.log)
            .process_group(0);
        if let Some((user, group)) = command.owner {
            child.uid(user).gid(group);
        }
        let mut child = child.spawn()?;
        let known = self.tell(&match command.at_the_end {
            End::Stop => format!("QUIT {}\n", child.id()),
            End::Finish => format!("CONT {}\n", child.id()),
        });
        let go = child.stdin.take().map_or(Ok(()), |mut go| go.write_all(b"\n"));
        if let Err(err) = known.and(go) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(err);
        }
        Ok(child)
    }

    /// To be called after the process has been waited for: its number may be given to another.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.tell("\n")
    }

    /// Lets the supervisor do its work.
    pub(crate) fn finish(&mut self) {
        self.pipe = None;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    pub(crate) fn wait(&mut self) {
        self.finish();
        let _ = self.shell.wait();
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(line.as_bytes()))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.wait();
    }
}

/// A program that must not outlive us.
#[derive(Debug)]
pub(crate) struct Supervised<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) folder: &'a Path,
    /// User and group, where not ours.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) log: std::fs::File,
    pub(crate) at_the_end: End,
}

/// What the supervisor does to a process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The server's immediate shutdown: it ends its own children.
    Stop,
    /// Nothing, it ends by itself within seconds: `initdb` leaves shared memory behind when killed.
    Finish,
}
