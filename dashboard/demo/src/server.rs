//! The PostgreSQL server: a throwaway one, or that of `DATABASE_URL`.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use actix_pg::Config;
use actix_pg::testing::{Error, Postgres};

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(3);

pub(crate) struct Server {
    ours: Option<Postgres>,
    restarts: AtomicBool,
}

impl Server {
    pub(crate) fn start() -> Result<(Self, Config), Box<dyn std::error::Error>> {
        let (ours, config) = match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => (None, Config::from_env()?),
            _ => {
                let postgres = Postgres::builder().start()?;
                let config = postgres.config();
                (Some(postgres), config)
            }
        };
        Ok((Self { ours, restarts: AtomicBool::new(false) }, config))
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Stops the server and starts it again. Blocks for some seconds. `false` if that is going on already.
    pub(crate) fn restart(&self) -> Result<bool, Error> {
        let Some(postgres) = &self.ours else { return Err(Error::NotOurs) };
        if self.restarts.swap(true, Ordering::SeqCst) {
            return Ok(false);
        }
        let result = postgres.stop().and_then(|()| {
            thread::sleep(AWAY);
            postgres.start_again()
        });
        self.restarts.store(false, Ordering::SeqCst);
        result.map(|()| true)
    }
}
