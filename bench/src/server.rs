//! One contender's process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};

use crate::contenders::{Contender, Outcome, Setup};

/// Ends with the value: the process watches its standard input, which is closed then, also when the harness is killed.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    pub(crate) fn start(contender: Contender, setup: &Setup) -> Outcome<Self> {
        let mut process = contender.command(setup)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut port = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut port)?;
        }
        let Ok(port) = port.trim().parse::<u16>() else {
            let status = process.wait()?;
            return Err(format!("{} did not start: {status}", contender.name()).into());
        };
        Ok(Self { process, addr: (Ipv4Addr::LOCALHOST, port).into() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
