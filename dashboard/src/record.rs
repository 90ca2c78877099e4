//! What was sampled: the latest event, and the last minutes.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_pg::SessionState;
use actix_web::web::Bytes;
use serde::Serialize;

use crate::look::Look;
use crate::note::{Note, Notes};
use crate::point::{Point, Reading, rates};
use crate::sample::Sample;

/// The seconds that the charts show.
const MOST_POINTS: usize = 300;

/// Two samples further apart than this are not compared: nobody looked in between.
const GAP: Duration = Duration::from_secs(3);

/// The latest event, and the last minutes. The sampler holds it.
#[derive(Default)]
pub(crate) struct Record {
    latest: Option<(u64, Bytes)>,
    previous: Option<Reading>,
    points: VecDeque<Point>,
    notes: Notes,
}

#[derive(Serialize)]
struct History<'a> {
    points: Vec<&'a Point>,
    notes: Vec<&'a Note>,
}

impl Record {
    /// The event of a second, if it has been taken.
    pub(crate) fn event_of(&self, tick: u64) -> Option<Bytes> {
        // A viewer may have had to wait for the lock into the next second.
        self.latest.as_ref().filter(|(latest, _)| *latest >= tick).map(|(_, event)| event.clone())
    }

    /// Takes the sample of a second.
    pub(crate) fn take(&mut self, tick: u64, look: &Look) -> Bytes {
        let (at, watch) = (now(), &look.watch);
        let reading = Reading {
            at: Instant::now(),
            counters: watch.status().counters,
            statements: watch.statement_durations(),
            waits: watch.wait_durations(),
        };
        let previous = self.previous.as_ref().filter(|previous| reading.at - previous.at < GAP);
        let (sessions, status) = (watch.sessions(), watch.status());
        let rates = previous.map(|previous| rates(previous, &reading));
        // Not `status.used`, which was read at another moment: the chart and the cells say the same.
        let used = sessions.iter().filter(|session| session.state != SessionState::Idle).count();
        let point = Point { at, used, pending: status.pending_requests, rates };
        let counters = previous.map(|previous| &previous.counters);
        let notes = self.notes.add(at, counters, &reading.counters, look.warnings());
        let sample = Sample::of(watch, status, sessions, &point, notes);
        let event = event("sample", at, &sample);
        self.points.push_back(point);
        self.points.drain(..self.points.len().saturating_sub(MOST_POINTS));
        self.previous = Some(reading);
        self.latest = Some((tick, event.clone()));
        event
    }

    /// The points and notes after a time; the sample itself has the last of them once more.
    pub(crate) fn history(&self, seen: Option<u64>) -> Bytes {
        let after = seen.unwrap_or(0).max(now().saturating_sub(1000 * MOST_POINTS as u64));
        let points = self.points.iter().filter(|point| point.at > after).collect();
        let notes = self.notes.after(seen.unwrap_or(0)).collect();
        event("history", seen.unwrap_or(0), &History { points, notes })
    }
}

/// An event is lines of text up to an empty one. JSON escapes line breaks.
fn event(name: &str, id: u64, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\nid: {id}\nretry: 200\ndata: {data}\n\n").into()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
