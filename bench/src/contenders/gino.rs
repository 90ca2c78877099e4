//! gino-starlette under uvicorn, in an environment that is made in the folder of builds.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{fs, io};

use super::{Setup, target_folder};
use crate::app::SESSIONS;

const REQUIREMENTS: &str = include_str!("../../python/requirements.txt");
const SERVER: &str = include_str!("../../python/server.py");

/// asyncpg 0.27 is built for these; later ones would need a compiler, and may not do even then.
const PYTHONS: [&str; 4] = ["python3.11", "python3.10", "python3.9", "python3"];

pub(super) fn install() -> Result<(), String> {
    let folder = folder().map_err(|err| err.to_string())?;
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|what| what == REQUIREMENTS) {
        return write_server().map_err(|err| err.to_string());
    }
    let python = PYTHONS
        .into_iter()
        .find(|python| {
            let version = Command::new(python).arg("--version").output();
            version.is_ok_and(|output| output.status.success())
        })
        .ok_or("there is no python3 on PATH")?;
    eprintln!("Installing gino-starlette for {python} …");
    let requirements = folder.join("requirements.txt");
    fs::create_dir_all(&folder).map_err(|err| err.to_string())?;
    fs::write(&requirements, REQUIREMENTS).map_err(|err| err.to_string())?;
    run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements))?;
    fs::write(&installed, REQUIREMENTS).map_err(|err| err.to_string())?;
    write_server().map_err(|err| err.to_string())
}

pub(super) fn command(setup: &Setup) -> io::Result<Command> {
    let folder = folder()?;
    let mut command = Command::new(folder.join("bin/python"));
    command.arg(folder.join("server.py")).args([&setup.dsn, &SESSIONS.to_string()]);
    Ok(command)
}

fn write_server() -> io::Result<()> {
    fs::write(folder()?.join("server.py"), SERVER)
}

fn folder() -> io::Result<PathBuf> {
    Ok(target_folder()?.join("gino-starlette"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let Output { status, stdout, stderr } = command.output().map_err(|err| err.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = if stderr.is_empty() { stdout } else { stderr };
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output");
    Err(format!("{status}: {last}"))
}
