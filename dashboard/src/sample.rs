//! A sample as the page gets it. It has a bounded size, however many sessions and statements there are.

use std::collections::BTreeMap;

use actix_pg::{SessionInfo, SessionState, StatementStats, Status, Watch};
use serde::Serialize;

use crate::format::{micros, shortened};
use crate::note::Note;
use crate::point::Point;

/// The most statements that are shown: those that took the most time.
const MOST_STATEMENTS: usize = 100;

/// The most sessions that are shown: those that were opened first.
const MOST_SESSIONS: usize = 500;

/// The pool in one second. Times are in microseconds.
#[derive(Serialize)]
pub(crate) struct Sample<'a> {
    status: Status,
    sessions: Vec<Session>,
    session_count: usize,
    statements: Vec<Statement>,
    statement_count: usize,
    point: &'a Point,
    notes: Vec<Note>,
}

#[derive(Serialize)]
struct Session {
    number: u64,
    age: u64,
    state: SessionState,
    since: u64,
    caller: Option<String>,
    route: Option<String>,
    statement: Option<String>,
}

#[derive(Serialize)]
struct Statement {
    sql: String,
    summary: String,
    only_reads: bool,
    calls: u64,
    rows: u64,
    total: u64,
    mean: u64,
    longest: u64,
    last_seen: u64,
    errors: BTreeMap<String, u64>,
}

impl<'a> Sample<'a> {
    pub(crate) fn of(
        watch: &Watch,
        status: Status,
        sessions: Vec<SessionInfo>,
        point: &'a Point,
        notes: Vec<Note>,
    ) -> Self {
        Self {
            status,
            session_count: sessions.len(),
            sessions: sessions.into_iter().take(MOST_SESSIONS).map(Session::from).collect(),
            statements: watch.top_statements(MOST_STATEMENTS).into_iter().map(Statement::from).collect(),
            statement_count: watch.statement_count(),
            point,
            notes,
        }
    }
}

impl From<SessionInfo> for Session {
    fn from(session: SessionInfo) -> Self {
        Self {
            number: session.number,
            age: micros(session.age),
            state: session.state,
            since: micros(session.since),
            caller: session.caller.map(shortened),
            route: session.route.map(shortened),
            statement: session.statement.map(shortened),
        }
    }
}

impl From<StatementStats> for Statement {
    fn from(statement: StatementStats) -> Self {
        Self {
            only_reads: statement.only_reads,
            calls: statement.calls,
            rows: statement.rows,
            total: micros(statement.total),
            mean: micros(statement.mean()),
            longest: micros(statement.longest),
            last_seen: micros(statement.last_seen),
            sql: shortened(statement.sql),
            summary: shortened(statement.summary),
            errors: statement.errors,
        }
    }
}
