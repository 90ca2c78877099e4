//! The files of a throwaway server: its data directory, its sockets, its log.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::owner::Owner;
use crate::places::places;
use crate::supervisor::{End, Supervised, Supervisor};
use crate::{Error, binaries, settings};

/// How much of a log an error quotes.
const LOG_TAIL: u64 = 4096;

/// Ours always gets in, whatever the caller's lines say: through the socket that only the server's
/// user and root can reach.
const OUR_HBA: &str = "local all postgres trust\nlocal replication postgres trust\n";

pub(crate) const TRUSTING_HBA: [&str; 3] =
    ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"];

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    owner: Owner,
    binaries: PathBuf,
}

impl Folder {
    /// An empty folder that the server's user owns, and the supervisor that removes it.
    pub(crate) fn new(search_path: Vec<PathBuf>) -> Result<(Self, Supervisor), Error> {
        let Some(binaries) = binaries::find(&search_path).map(Path::to_owned) else {
            return Err(Error::NoBinaries { searched: search_path });
        };
        let owner = Owner::find()?;
        let (supervisor, path) = Supervisor::start_in(places(owner)).map_err(Error::Folder)?;
        let folder = Self { path, owner, binaries };
        owner.give(&folder.path).map_err(Error::Folder)?;
        fs::create_dir(folder.sockets())
            .and_then(|()| owner.give(&folder.sockets()))
            .map_err(Error::Folder)?;
        Ok((folder, supervisor))
    }

    pub(crate) fn initialize(&self, supervisor: &mut Supervisor) -> Result<(), Error> {
        let data = self.data().display().to_string();
        let arguments = [
            "-D",
            &data,
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
        ];
        match self.run(supervisor, "initdb", &arguments)? {
            true => Ok(()),
            false => Err(Error::Init { log: self.log_since(0) }),
        }
    }

    /// Copies the data directory of a server that runs.
    pub(crate) fn copy(&self, supervisor: &mut Supervisor, from: &Folder, port: u16) -> Result<(), Error> {
        let (data, sockets) = (self.data().display().to_string(), from.sockets().display().to_string());
        let port = port.to_string();
        let arguments = [
            "-D",
            &data,
            "--host",
            &sockets,
            "--port",
            &port,
            "--username=postgres",
            "--checkpoint=fast",
            "--wal-method=fetch",
            "--no-sync",
        ];
        match self.run(supervisor, "pg_basebackup", &arguments)? {
            true => Ok(()),
            false => Err(Error::Copy { log: self.log_since(0) }),
        }
    }

    /// Whether the program has succeeded.
    fn run(&self, supervisor: &mut Supervisor, program: &str, arguments: &[&str]) -> Result<bool, Error> {
        let mut child = self.spawn(supervisor, program, arguments, End::Finish)?;
        let status = child.wait().and_then(|status| supervisor.forget().map(|()| status));
        Ok(status.map_err(|source| self.program_error(program, source))?.success())
    }

    pub(crate) fn configure<'a>(
        &self,
        own: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Error> {
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .map_err(Error::Folder)?;
        file.write_all(settings::lines(own).as_bytes()).map_err(Error::Folder)
    }

    pub(crate) fn hba(&self, lines: &[impl AsRef<str>]) -> Result<(), Error> {
        let lines = lines.iter().flat_map(|line| [line.as_ref(), "\n"]);
        self.write("pg_hba.conf".as_ref(), [OUR_HBA].into_iter().chain(lines).collect::<String>().as_bytes())
    }

    /// A file in the data directory that the server's user owns and nobody else reads: what
    /// PostgreSQL asks of a key.
    pub(crate) fn write(&self, name: &Path, contents: &[u8]) -> Result<(), Error> {
        let path = self.data().join(name);
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(contents)?;
            self.owner.give(&path)
        };
        write().map_err(Error::Folder)
    }

    pub(crate) fn spawn(
        &self,
        supervisor: &mut Supervisor,
        program: &str,
        arguments: &[&str],
        at_the_end: End,
    ) -> Result<std::process::Child, Error> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.log())
            .map_err(Error::Folder)?;
        let supervised = Supervised {
            program: &self.program(program),
            arguments,
            folder: &self.path,
            owner: self.owner.ids(),
            log,
            at_the_end,
        };
        supervisor.spawn(supervised).map_err(|source| self.program_error(program, source))
    }

    /// The process and the state that the server has written down, once it has.
    pub(crate) fn pid_file(&self) -> Option<(u32, String)> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let process = lines.next()?.trim().parse().ok()?;
        Some((process, lines.nth(6)?.trim().to_owned()))
    }

    pub(crate) fn log_length(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    /// What the log has got since it was `start` bytes long, or the last lines of it.
    pub(crate) fn log_since(&self, start: u64) -> String {
        let read = || {
            let mut file = File::open(self.log())?;
            file.seek(SeekFrom::Start(start.max(self.log_length().saturating_sub(LOG_TAIL))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            io::Result::Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        read().unwrap_or_else(|err| format!("(the log cannot be read: {err})"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.path.join("run")
    }

    fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// In the folder that was found, or where its `postgres` is a link to: not every program of the
    /// server need have one.
    fn program(&self, name: &str) -> PathBuf {
        let here = self.binaries.join(name);
        let linked = || Some(fs::canonicalize(self.binaries.join("postgres")).ok()?.parent()?.join(name));
        match here.exists() {
            true => here,
            false => linked().filter(|there| there.exists()).unwrap_or(here),
        }
    }

    fn program_error(&self, program: &str, source: io::Error) -> Error {
        Error::Program { program: self.program(program).display().to_string(), source }
    }
}
