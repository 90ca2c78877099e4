//! What becomes of each option in [`Settings`], and what is refused.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::tokio_postgres::config::{ChannelBinding, SslNegotiation};

mod settings;
mod dsn;
mod encryption;
mod env;
mod libpq;
mod differential;
mod reader;
mod refused;
mod secrets;

fn of_dsn(dsn: &str) -> Settings {
    let config = Config::from_dsn(dsn).unwrap_or_else(|err| panic!("{dsn}: {err}"));
    config.settings().unwrap_or_else(|err| panic!("{dsn}: {err}"))
}

fn of_json(json: serde_json::Value) -> Settings {
    let config: Config = serde_json::from_value(json.clone()).unwrap_or_else(|err| panic!("{json}: {err}"));
    config.settings().unwrap_or_else(|err| panic!("{json}: {err}"))
}

fn tcp(host: &str, port: u16) -> Server {
    Server { host: Host::Tcp(host.into()), hostaddr: None, port }
}

fn unix(directory: &str, port: u16) -> Server {
    Server { host: Host::Unix(PathBuf::from(directory)), hostaddr: None, port }
}
