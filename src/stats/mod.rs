//! What is known and counted of statements and sessions.
//!
//! [`Register`] has one [`StatementInfo`] for each SQL text: what the text says, found once for all sessions. Figures of a statement
//! (calls, time, rows, errors) are kept only while a [`Watch`] is alive or an option needs them, so that nobody reads a clock
//! for nothing.
//!
//! The hot paths write to the shard of their thread, and a reader adds the shards up. A number that is read is no snapshot: one
//! shard may be ahead of another.

mod counts;
mod end_reason;
mod figures;
mod register;
mod shards;

pub(crate) use counts::{Counts, Event};
pub(crate) use end_reason::EndReason;
pub(crate) use figures::Sums;
pub(crate) use register::{Register, StatementInfo};

/// What is known and counted, shared by the pool and its sessions.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) register: Register,
    pub(crate) counts: Counts,
}
