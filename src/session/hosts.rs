//! The hosts of a pool: the order in which they are tried, and what is remembered of them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::standing::Standing;
use crate::config::{Server, ServerSettings};

/// How long a host that did not answer, or was not what is wanted, is tried after the others. Longer than most hosts need to come
/// back, and than a promotion takes.
const AVOIDED: Duration = Duration::from_secs(5);

/// All hosts, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Hosts {
    hosts: Vec<Arc<Host>>,
    shuffled: bool,
}

/// One host, and what is remembered of it. Its sessions hold their [`Standing`].
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) server: Server,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    avoided_until: Option<Instant>,
    /// A session of it had the settings that came with its login.
    gets_settings: bool,
    sessions: Vec<Weak<Standing>>,
}

impl Hosts {
    pub(crate) fn new(settings: &ServerSettings) -> Self {
        let host = |server: &Server| Arc::new(Host { server: server.clone(), memory: Mutex::default() });
        Self { hosts: settings.hosts.iter().map(host).collect(), shuffled: settings.load_balance_hosts }
    }

    /// The hosts in the order in which they are tried: those that are avoided come last.
    pub(crate) fn in_order(&self) -> Vec<Arc<Host>> {
        self.in_order_at(Instant::now())
    }

    fn in_order_at(&self, now: Instant) -> Vec<Arc<Host>> {
        let mut hosts = self.hosts.clone();
        if self.shuffled {
            hosts.shuffle(&mut rand::rng());
        }
        hosts.sort_by_key(|host| host.memory(|memory| memory.avoided_until.is_some_and(|until| now < until)));
        hosts
    }

    /// All of them, with commas between them.
    pub(crate) fn names(&self) -> String {
        let names = self.hosts.iter().map(|host| format!("{}:{}", host.server.host, host.server.port));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Whether there is another host to turn to.
    pub(crate) fn are_several(&self) -> bool {
        self.hosts.len() > 1
    }
}

impl Host {
    /// Records that it did not answer, or is not what is wanted.
    pub(crate) fn avoid(&self) {
        self.memory(|memory| memory.avoided_until = Some(Instant::now() + AVOIDED));
    }

    /// Whether a session of it was found to have the settings that came with its login.
    pub(super) fn gets_settings(&self) -> bool {
        self.memory(|memory| memory.gets_settings)
    }

    pub(super) fn got_settings(&self) {
        self.memory(|memory| memory.gets_settings = true);
    }

    /// Records a session of this host.
    pub(crate) fn add(&self) -> Arc<Standing> {
        let standing = Arc::default();
        self.memory(|memory| {
            memory.sessions.retain(|session| session.strong_count() > 0);
            memory.sessions.push(Arc::downgrade(&standing));
        });
        standing
    }

    /// Has every session of this host end at its next return, because the server does not take writes any more.
    pub(crate) fn became_read_only(&self) {
        self.take_back(Standing::server_is_read_only);
    }

    /// Has every session of this host end at its next return, without a goodbye, because the server does not answer any more.
    pub(crate) fn became_silent(&self) {
        self.take_back(Standing::server_is_silent);
    }

    fn take_back(&self, standing: impl Fn(&Standing)) {
        self.avoid();
        let sessions = self.memory(|memory| std::mem::take(&mut memory.sessions));
        sessions.iter().filter_map(Weak::upgrade).for_each(|session| standing(&session));
    }

    fn memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn names(hosts: &Hosts, now: Instant) -> Vec<String> {
        hosts.in_order_at(now).iter().map(|host| host.server.host.to_string()).collect()
    }

    #[test]
    fn a_host_is_avoided_for_some_seconds() {
        let settings = Config::from_dsn("host=a,b,c").expect("a DSN").settings().expect("settings").server;
        let hosts = Hosts::new(&settings);
        assert_eq!(names(&hosts, Instant::now()), ["a", "b", "c"]);
        hosts.in_order()[0].avoid();
        assert_eq!(names(&hosts, Instant::now()), ["b", "c", "a"]);
        assert_eq!(names(&hosts, Instant::now() + AVOIDED), ["a", "b", "c"]);
    }
}
