//! What is known and counted of statements and sessions.
//!
//! [`Register`] has one [`StatementInfo`] for each SQL text: what the text says, found once for all sessions. Figures of a statement
//! (calls, time, rows, errors) are kept only while a [`Watch`] is alive or an option needs them, so that nobody reads a clock
//! for nothing.
//!
//! The hot paths write to the shard of their thread, and a reader adds the shards up. A number that is read is no snapshot: one
//! shard may be ahead of another.

mod board;
mod counts;
mod end_reason;
mod figures;
mod histogram;
mod register;
mod shards;

pub(crate) use board::{Activity, Board, Cell, Doing, Holder, Phase};
pub(crate) use counts::{Counts, Event};
pub(crate) use end_reason::EndReason;
pub use histogram::Durations;
pub(crate) use histogram::Histogram;
pub(crate) use register::{Register, StatementInfo};

/// What is known and counted, shared by the pool and its sessions.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) register: Register,
    pub(crate) counts: Counts,
    pub(crate) board: Board,
    /// The durations of statements, while somebody watches.
    pub(crate) statements: Histogram,
    /// The durations of the waits for a session.
    pub(crate) waits: Histogram,
}
