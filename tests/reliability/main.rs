//! What the pool survives. `RELIABILITY.md` lists every fault, what a user sees of it, and the test here that holds it.
//!
//! Everything is shortened by default; `RELIABILITY_FULL=1` runs it at full length.

// Nothing is public in a binary; these modules are shared by several.
#![allow(unreachable_pub)]

mod common;

mod hygiene;
mod cancellation;
mod bouncer;
mod pgbouncer;
mod poolers;
mod programs;
mod citus;
mod patroni;
mod switchover;
mod transaction_pooler;
mod copies;
mod copies_refused;
mod load;
mod storms;
mod faults;
mod workers;
mod failover;
mod isolation;
mod shared;
mod phases;
mod standbys;
mod reader;
mod lag;
mod read_your_writes;
mod several_readers;
