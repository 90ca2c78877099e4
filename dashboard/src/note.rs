//! What happened: what the counters say, and the warnings.

use std::collections::VecDeque;

use actix_pg::{Counters, Warning, WarningKind};
use serde::Serialize;

use crate::format::{micros, shortened};

/// The most notes that are kept.
const MOST_NOTES: usize = 100;

/// The most warnings of a second that are shown, those that are alike taken as one.
const MOST_WARNINGS: usize = 20;

/// What happened, the oldest first. The record holds it.
#[derive(Default)]
pub(crate) struct Notes {
    kept: VecDeque<Note>,
    last: u64,
}

/// Something that happened in a second. The page has a sentence for each kind.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Note {
    /// One that no other note has.
    number: u64,
    /// Milliseconds since 1970.
    at: u64,
    kind: &'static str,
    /// How often.
    count: u64,
    #[serde(flatten)]
    warning: Option<Details>,
}

/// What a warning says besides. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Details {
    duration: Option<u64>,
    times: Option<u32>,
    doing: Option<&'static str>,
    statement: Option<String>,
    caller: Option<String>,
    route: Option<String>,
}

impl Notes {
    /// Adds what has happened since the sample before, if there was one. Returns what is new.
    pub(crate) fn add(
        &mut self,
        at: u64,
        then: Option<&Counters>,
        now: &Counters,
        warnings: Vec<Warning>,
    ) -> Vec<Note> {
        let mut new = then.map(|then| counted(then, now)).unwrap_or_default();
        new.extend(grouped(warnings));
        for note in &mut new {
            self.last += 1;
            (note.number, note.at) = (self.last, at);
        }
        self.kept.extend(new.iter().cloned());
        self.kept.drain(..self.kept.len().saturating_sub(MOST_NOTES));
        new
    }

    /// What has happened after a time.
    pub(crate) fn after(&self, at: u64) -> impl Iterator<Item = &Note> {
        self.kept.iter().filter(move |note| note.at > at)
    }
}

/// What the counters say.
fn counted(then: &Counters, now: &Counters) -> Vec<Note> {
    let kinds = [
        ("timeouts", then.timeouts, now.timeouts),
        ("refusals", then.refusals, now.refusals),
        ("opened", then.opened, now.opened),
        ("cancels", then.cancels, now.cancels),
        ("retries", then.retries, now.retries),
        ("renewals", then.renewals, now.renewals),
        ("connection_lost", then.ended.connection_lost, now.ended.connection_lost),
        ("statements_dropped", then.ended.statements_dropped, now.ended.statements_dropped),
        ("read_only", then.ended.read_only, now.ended.read_only),
        ("idle_timeout", then.ended.idle_timeout, now.ended.idle_timeout),
        ("max_lifetime", then.ended.max_lifetime, now.ended.max_lifetime),
        ("check_failed", then.ended.check_failed, now.ended.check_failed),
        ("reset_failed", then.ended.reset_failed, now.ended.reset_failed),
        ("unusable", then.ended.unusable, now.ended.unusable),
        ("dropped", then.ended.dropped, now.ended.dropped),
        ("refused", then.ended.refused, now.ended.refused),
        ("renewed", then.ended.renewed, now.ended.renewed),
        ("closed", then.ended.closed, now.ended.closed),
    ];
    let counts = kinds.map(|(kind, then, now)| (kind, now.saturating_sub(then)));
    let happened = counts.into_iter().filter(|(_, count)| *count > 0);
    happened.map(|(kind, count)| Note { number: 0, at: 0, kind, count, warning: None }).collect()
}

/// Warnings of the same kind, statement and line are one note, with the longest of their times.
fn grouped(warnings: Vec<Warning>) -> Vec<Note> {
    let mut groups: Vec<(&'static str, u64, Details)> = Vec::new();
    for warning in warnings {
        let (kind, details) = (name(warning.kind), Details::of(warning));
        match groups.iter_mut().find(|(known, _, first)| *known == kind && first.is_like(&details)) {
            Some((_, count, first)) => {
                *count += 1;
                first.duration = first.duration.max(details.duration);
            }
            None => groups.push((kind, 1, details)),
        }
    }
    groups.truncate(MOST_WARNINGS);
    let notes = groups.into_iter();
    notes
        .map(|(kind, count, details)| Note { number: 0, at: 0, kind, count, warning: Some(details) })
        .collect()
}

impl Details {
    fn of(warning: Warning) -> Self {
        Self {
            duration: warning.duration.map(micros),
            times: warning.times,
            doing: warning.doing,
            statement: warning.statement.map(shortened),
            caller: warning.caller.map(shortened),
            route: warning.route.map(shortened),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.statement, &self.caller, &self.route) == (&other.statement, &other.caller, &other.route)
    }
}

/// The word for a kind.
fn name(kind: WarningKind) -> &'static str {
    match kind {
        WarningKind::SlowStatement => "slow_statement",
        WarningKind::SlowAcquire => "slow_acquire",
        WarningKind::LongHold => "long_hold",
        WarningKind::RepeatedStatement => "repeated_statement",
        _ => "warning",
    }
}
