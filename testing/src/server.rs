//! The process of a throwaway server.

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::folder::Folder;
use crate::port::Reservation;
use crate::supervisor::{End, Supervisor};

/// Generous: a machine that runs many tests at once may be slow, and a server that fails says so at
/// once.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a shutdown may take before it is made a harder one.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How many times a start is tried when another program has taken the port.
const PORT_ATTEMPTS: u32 = 10;

const POLL: Duration = Duration::from_millis(3);

#[derive(Debug)]
pub(crate) struct Server {
    folder: Folder,
    port: u16,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process: Process,
    supervisor: Supervisor,
}

#[derive(Debug)]
enum Process {
    Running(Child),
    /// The port is kept, where it could be had.
    Stopped(Option<Reservation>),
}

/// How a running server is told to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shutdown {
    /// Open transactions are rolled back and clients sent away.
    Fast,
    /// As after a crash.
    Immediate,
}

impl Server {
    pub(crate) fn start(folder: Folder, mut supervisor: Supervisor) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let port = Reservation::any().map_err(Error::NoPort)?.release();
            match launch(&folder, &mut supervisor, port) {
                Ok(child) => {
                    let process = Process::Running(child);
                    return Ok(Self { folder, port, state: Mutex::new(State { process, supervisor }) });
                }
                Err(err) if attempt == PORT_ATTEMPTS || !is_port_taken(&err) => return Err(err),
                Err(_) => attempt += 1,
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn start_again(&self) -> Result<(), Error> {
        let mut state = self.lock();
        let State { process, supervisor } = &mut *state;
        let Process::Stopped(reservation) = process else {
            return Ok(());
        };
        drop(reservation.take());
        let mut attempt = 1;
        let child = loop {
            match launch(&self.folder, supervisor, self.port) {
                Err(err) if attempt < PORT_ATTEMPTS && is_port_taken(&err) => attempt += 1,
                result => break result?,
            }
            thread::sleep(Duration::from_millis(100));
        };
        *process = Process::Running(child);
        Ok(())
    }

    pub(crate) fn stop(&self, shutdown: Shutdown) -> Result<(), Error> {
        let mut state = self.lock();
        let State { process, supervisor } = &mut *state;
        let Process::Running(child) = process else {
            return Ok(());
        };
        let first = match shutdown {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        };
        end(child, &[first, "QUIT", "KILL"]).and_then(|()| supervisor.forget()).map_err(kill_error)?;
        *process = Process::Stopped(Reservation::of(self.port).ok());
        Ok(())
    }

    /// `false` when it is stopped: it reads its files when it starts.
    pub(crate) fn hang_up(&self) -> Result<bool, Error> {
        match &self.lock().process {
            Process::Running(child) => signal(child, "HUP").map(|()| true).map_err(kill_error),
            Process::Stopped(_) => Ok(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let State { process, supervisor } = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        supervisor.finish();
        if let Process::Running(child) = process {
            while matches!(child.try_wait(), Ok(None)) {
                if supervisor.has_ended() {
                    let _ = end(child, &["QUIT", "KILL"]);
                }
                thread::sleep(POLL);
            }
        }
        supervisor.wait();
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

fn launch(folder: &Folder, supervisor: &mut Supervisor, port: u16) -> Result<Child, Error> {
    let log = folder.log_length();
    let (data, sockets) = (folder.data().display().to_string(), folder.sockets().display().to_string());
    let arguments = ["-D", &data, "-k", &sockets, "-p", &port.to_string()];
    let mut child = folder.spawn(supervisor, "postgres", &arguments, End::Stop)?;
    let ready = wait_until_ready(folder, &mut child, log);
    if ready.is_err() {
        end(&mut child, &["QUIT", "KILL"]).and_then(|()| supervisor.forget()).map_err(kill_error)?;
    }
    ready.map(|()| child)
}

fn wait_until_ready(folder: &Folder, child: &mut Child, log: u64) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return Err(Error::Start { log: folder.log_since(log) });
        }
        // A server that crashed leaves a file in which it is ready.
        if let Some((process, state)) = folder.pid_file()
            && process == child.id()
            && ["ready", "standby"].contains(&state.as_str())
        {
            return Ok(());
        }
        if start.elapsed() > START_TIMEOUT {
            return Err(Error::StartTimedOut { waited: START_TIMEOUT, log: folder.log_since(log) });
        }
        thread::sleep(POLL);
    }
}

fn is_port_taken(err: &Error) -> bool {
    matches!(err, Error::Start { log } if log.contains("Address already in use"))
}

/// The next signal follows when the one before has not had its effect in time.
fn end(child: &mut Child, signals: &[&str]) -> io::Result<()> {
    for name in signals {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        signal(child, name)?;
        // One that a test has stopped has to wake up in order to end.
        signal(child, "CONT")?;
        if wait_for(child, STOP_TIMEOUT)?.is_some() {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn wait_for(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        let status = child.try_wait()?;
        if status.is_some() || start.elapsed() > timeout {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
}

/// By way of a shell, in which `kill` is built in: std knows SIGKILL alone.
fn signal(child: &Child, name: &str) -> io::Result<()> {
    let script = format!("kill -{name} {} 2>/dev/null || :", child.id());
    Command::new("sh").args(["-c", &script]).status().map(drop)
}

fn kill_error(source: io::Error) -> Error {
    Error::Program { program: "kill".into(), source }
}
