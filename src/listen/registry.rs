//! Who listens to what, and what the server has been told of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::channel::quoted;
use super::event::{Event, Notification};
use super::inbox::Inbox;
use super::outage::Outage;
use crate::pool::AcquireError;
use crate::session::ConnectError;
use crate::telemetry::{self, guarded};
use crate::{Error, Result, tokio_postgres};

/// Whether the server listens to all channels of a stream: once it does, or the reason why it does not.
pub(super) type Confirmation = oneshot::Receiver<Result<(), ConnectError>>;

/// The streams of a database. Those, the task that has the session, and the handle of the database share it.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    /// Notified when the task may have something to do.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: HashMap<u64, Stream>,
    latest: u64,
    /// The streams of each channel.
    channels: BTreeMap<Arc<str>, BTreeMap<u64, Arc<Inbox>>>,
    /// The channels that the server listens to on the present session.
    heard: BTreeSet<Arc<str>>,
    /// The streams that have not been returned, because one of their channels is not heard yet.
    waiting: HashMap<u64, oneshot::Sender<Result<(), ConnectError>>>,
    /// There is a task that has the session, or will have.
    is_kept: bool,
    /// The session was lost, and the streams have not been told that there is another.
    lost: bool,
    outage: Option<Outage>,
    /// Why there is nothing to listen to any more.
    ended: Option<AcquireError>,
}

#[derive(Debug)]
struct Stream {
    inbox: Arc<Inbox>,
    channels: BTreeSet<Arc<str>>,
}

/// A stream in the registry. Its drop takes the stream out.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    stream: u64,
    pub(super) inbox: Arc<Inbox>,
}

/// What the task with the session has to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Nobody listens any more.
    End,
    /// All is as it should be.
    Wait,
    /// Tell the server to listen to these channels, and not to others.
    Tell { sql: String, channels: Vec<Arc<str>> },
}

impl Registry {
    /// Adds a stream. `true` asks for a task that opens the session. Refused at once between two attempts of an outage.
    pub(super) fn add(
        self: &Arc<Self>,
        channels: impl Iterator<Item = Arc<str>>,
    ) -> Result<(Registration, Confirmation, bool)> {
        let mut state = self.state();
        if let Some(ended) = &state.ended {
            return Err(ended.clone().into());
        }
        if let Some(refusal) = state.outage.as_ref().and_then(Outage::refusal) {
            return Err(refusal.clone().into());
        }
        if !state.is_kept {
            state.outage.take_if(|outage| outage.is_forgotten());
        }
        state.latest += 1;
        let number = state.latest;
        let (inbox, channels): (Arc<Inbox>, BTreeSet<_>) = (Arc::default(), channels.collect());
        for channel in &channels {
            let streams = state.channels.entry(Arc::clone(channel)).or_default();
            streams.insert(number, Arc::clone(&inbox));
        }
        let (confirm, confirmation) = oneshot::channel();
        if channels.is_subset(&state.heard) {
            let _ = confirm.send(Ok(()));
        } else {
            state.waiting.insert(number, confirm);
        }
        state.streams.insert(number, Stream { inbox: Arc::clone(&inbox), channels });
        let is_first = !mem::replace(&mut state.is_kept, true);
        drop(state);
        self.changed.notify_one();
        Ok((Registration { registry: Arc::clone(self), stream: number, inbox }, confirmation, is_first))
    }

    fn remove(&self, number: u64) {
        let removed = self.state().remove(number);
        if removed {
            self.changed.notify_one();
        }
    }

    /// Passes a notification on. Never waits for a reader.
    pub(super) fn deliver(&self, notification: tokio_postgres::Notification) {
        let mut state = self.state();
        let mut readers = state.announce();
        if let Some(streams) = state.channels.get(notification.channel()) {
            let event = Event::Notification(Notification::new(notification));
            readers.extend(streams.values().filter_map(|inbox| inbox.push(event.clone())));
        }
        drop(state);
        wake(readers);
    }

    /// What there is to do on a session.
    pub(super) fn next(&self) -> Order {
        let mut state = self.state();
        if state.is_abandoned() {
            // Who listens from now on has to wait for the next session.
            state.heard.clear();
            return Order::End;
        }
        let channels: Vec<_> =
            state.channels.keys().filter(|channel| !state.heard.contains(*channel)).cloned().collect();
        let State { heard, channels: wanted, .. } = &mut *state;
        let mut sql: Vec<_> = channels.iter().map(|channel| format!("LISTEN {}", quoted(channel))).collect();
        // One that wants such a channel from now on has to wait until the server listens again.
        heard.retain(|channel| {
            let is_wanted = wanted.contains_key(channel);
            if !is_wanted {
                sql.push(format!("UNLISTEN {}", quoted(channel)));
            }
            is_wanted
        });
        if sql.is_empty() { Order::Wait } else { Order::Tell { sql: sql.join(";"), channels } }
    }

    /// The server has done as it was told.
    pub(super) fn confirm(&self, channels: Vec<Arc<str>>, database: Option<&'static str>) {
        let mut state = self.state();
        state.heard.extend(channels);
        let outage = state.outage.take();
        let readers = state.announce();
        let State { waiting, streams, heard, .. } = &mut *state;
        let confirmed = waiting.extract_if(|number, _| {
            streams.get(number).is_none_or(|stream| stream.channels.is_subset(heard))
        });
        let confirmed: Vec<_> = confirmed.collect();
        drop(state);
        for (_, confirm) in confirmed {
            let _ = confirm.send(Ok(()));
        }
        wake(readers);
        if let Some(outage) = outage {
            telemetry::listening_again(database, outage.lasted());
        }
    }

    /// There is no session any more. What the server was told, it has forgotten.
    pub(super) fn lost(&self) {
        let mut state = self.state();
        state.heard.clear();
        state.lost = true;
    }

    /// An attempt to open a session has failed. Refuses the streams that wait, and returns the pause before the next attempt.
    pub(super) fn failed(&self, cause: ConnectError, database: Option<&'static str>) -> Duration {
        let mut state = self.state();
        let begins = state.outage.is_none();
        let (outage, pause) = Outage::after(state.outage.as_ref(), cause.clone());
        state.outage = Some(outage);
        let refused = mem::take(&mut state.waiting);
        for number in refused.keys() {
            state.remove(*number);
        }
        drop(state);
        for confirm in refused.into_values() {
            let _ = confirm.send(Err(cause.clone()));
        }
        if begins {
            telemetry::listening_failed(database, &cause);
        }
        pause
    }

    /// Whether the task may end, because nobody listens any more. The next who does needs another one then.
    pub(super) fn is_finished(&self) -> bool {
        let mut state = self.state();
        let is_finished = state.is_abandoned();
        if is_finished {
            state.is_kept = false;
            state.lost = false;
        }
        is_finished
    }

    /// Waits until nobody listens any more.
    pub(super) async fn abandoned(&self) {
        while !self.state().is_abandoned() {
            self.changed.notified().await;
        }
    }

    /// Waits until all streams have been ended for good.
    pub(super) async fn ended(&self) {
        while self.state().ended.is_none() {
            self.changed.notified().await;
        }
    }

    /// Waits until there may be something to do.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends all streams, and refuses others from now on. The first reason stays.
    pub(super) fn end(&self, reason: AcquireError) {
        let mut state = self.state();
        state.ended.get_or_insert(reason);
        let waiting = mem::take(&mut state.waiting);
        let readers = state.streams.values().filter_map(|stream| stream.inbox.end()).collect();
        drop(state);
        drop(waiting);
        wake(readers);
        self.changed.notify_one();
    }

    /// Why a stream was not confirmed.
    pub(super) fn refusal(&self) -> Error {
        self.state().ended.clone().unwrap_or(AcquireError::HomeStopped).into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_abandoned(&self) -> bool {
        self.ended.is_some() || self.streams.is_empty()
    }

    /// Tells the streams that were there before that the session is another one, and returns whom to wake.
    fn announce(&mut self) -> Vec<Waker> {
        if !mem::take(&mut self.lost) {
            return Vec::new();
        }
        let told = self.streams.iter().filter(|(number, _)| !self.waiting.contains_key(number));
        told.filter_map(|(_, stream)| stream.inbox.push(Event::Reconnected)).collect()
    }

    fn remove(&mut self, number: u64) -> bool {
        self.waiting.remove(&number);
        let Some(stream) = self.streams.remove(&number) else {
            return false;
        };
        for channel in &stream.channels {
            if let Some(streams) = self.channels.get_mut(channel) {
                streams.remove(&number);
                if streams.is_empty() {
                    self.channels.remove(channel);
                }
            }
        }
        true
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.remove(self.stream);
    }
}

/// Wakes readers, whose wakers are code of others.
fn wake(readers: Vec<Waker>) {
    for reader in readers {
        guarded(|| reader.wake());
    }
}
