//! Who may send on a lent session now, and what has to be sent first.
//!
//! The settings of a request, and the beginning of a transaction that was put off, are sent ahead of the next statement. Each message
//! of the driver ends with a Sync of its own, so the server carries out a statement though what was sent ahead of it has failed.
//! Hence:
//!
//! | the statement | waits for the answer to |
//! |---|---|
//! | a query that changes nothing; to prepare any statement | nothing |
//! | another prepared statement, where a transaction is open | BEGIN. Settings that fail abort the transaction, and it with it |
//! | any other; a row stream, a copy, a batch, a client, a savepoint | settings and BEGIN |
//! | any, with `reset = "always"` | settings and BEGIN |

use super::health::Health;
use super::state::{LeaseState, Reply, SettingsSent};
use super::transaction_stack::FrameId;
use crate::error::BusyWith;
use crate::sql::SideEffects;
use crate::stats::StatementInfo;
use crate::{Error, Result};

/// A message that a user wants to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) side_effects: SideEffects,
    pub(crate) reply: Reply,
    /// It was admitted before, to be prepared or to begin a transaction first.
    pub(crate) prepared: bool,
    /// It may be sent before what is sent ahead of it has been answered, if it changes nothing.
    pub(crate) pipelined: bool,
    /// The statement, if it was prepared.
    pub(crate) statement: Option<&'a StatementInfo>,
}

/// The answer to a user who wants to send.
#[derive(Debug)]
pub(crate) enum Admission {
    /// The message counts as sent.
    Sent,
    Wait,
    /// This has to be sent and answered first. It counts as sent. If it begins a transaction, the message belongs to that.
    First(Box<Due>),
    /// The message counts as sent, and this too, ahead of it.
    Behind(Box<Due>),
}

/// What the server has to be told before the next statement.
#[derive(Debug)]
pub(crate) struct Due {
    /// The settings of the request, if they have to be applied.
    pub(crate) settings: Option<SettingsSent>,
    /// What begins a transaction, if one has been put off.
    pub(crate) begin: Option<(FrameId, Box<str>)>,
    /// Whether the server is asked first if SQL has begun one.
    pub(crate) probes: bool,
    /// The transaction in which it is sent.
    pub(crate) within: Option<FrameId>,
}

impl LeaseState {
    /// Says whether a message may be sent now. If so, it counts as sent. `settings` is the version that has to be in force.
    pub(crate) fn admit(&mut self, message: Message<'_>, settings: u64) -> Result<Admission> {
        let Message { side_effects, reply, prepared, .. } = message;
        match self.health {
            Health::Sound => {}
            Health::Held => return Ok(Admission::Wait),
            Health::Broken => return Err(Error::SessionLost),
        }
        self.check_quiet()?;
        if self.transactions.has_pending_rollback() {
            return Ok(Admission::Wait);
        }
        if self.transactions.failed() {
            return Err(Error::TransactionFailed);
        }
        if self.transactions.is_nested() && side_effects.control {
            return Err(Error::Sandboxed);
        }
        if reply == Reply::Alone && self.client_guards > 0 {
            // What its owner sends would be undone with the batch.
            return Err(Error::Busy(BusyWith::ClientGuard));
        }
        // What was prepared before the transaction is sent before it.
        let begins = !prepared && self.transactions.is_put_off();
        let others_prepare = self.preparing > u32::from(prepared);
        let waits = match reply {
            Reply::Control | Reply::Alone => others_prepare || self.batches > 0,
            Reply::Stream | Reply::CopyIn | Reply::CopyOut => self.batches > 0,
            Reply::Whole | Reply::Prepare | Reply::Batch => self.batches > 0 && side_effects.transaction,
        };
        if waits || begins && others_prepare {
            return Ok(Admission::Wait);
        }
        self.used = true;
        let mut due = None;
        // Without a backend of its own, settings are those of a transaction.
        let configures = settings != self.applied && (!self.unpinned || self.transactions.has_frame());
        if begins || configures {
            let pipelined = self.may_be_pipelined(message, begins)
                && !self.has_refused(settings)
                && !(begins && self.may_be_in_transaction());
            let ahead = Box::new(self.send_ahead(begins, configures));
            if !pipelined {
                self.preparing += u32::from(begins);
                return Ok(Admission::First(ahead));
            }
            due = Some(ahead);
        }
        self.in_flight += 1;
        let probes = self.may_be_in_transaction() && !self.unpinned;
        self.side_effects = self.side_effects.union(SideEffects {
            // A copy of the client's data sets nothing by itself.
            read_only: side_effects.read_only && reply != Reply::CopyIn,
            ..side_effects
        });
        self.streaming = match reply {
            Reply::Stream => Some(BusyWith::RowStream),
            Reply::CopyIn | Reply::CopyOut => Some(BusyWith::Copy),
            Reply::Whole | Reply::Prepare | Reply::Control | Reply::Batch | Reply::Alone => None,
        };
        match reply {
            Reply::Control => self.health.hold(),
            Reply::Alone => {
                self.health.hold();
                self.transactions.begin_own(probes);
            }
            Reply::Batch => self.batches += 1,
            _ => {}
        }
        if side_effects.transaction {
            self.invalidate_settings();
        }
        self.preparing += u32::from(reply == Reply::Prepare);
        self.preparing -= u32::from(prepared);
        Ok(due.map_or(Admission::Sent, Admission::Behind))
    }

    /// Whether a message may be sent before what is sent ahead of it has been answered.
    fn may_be_pipelined(&self, message: Message<'_>, begins: bool) -> bool {
        let only_reads = || message.statement.is_some_and(StatementInfo::only_reads);
        message.pipelined
            && match message.reply {
                Reply::Prepare => true,
                Reply::Whole => only_reads() || !begins && self.is_aborted_with(message.side_effects),
                _ => false,
            }
    }

    /// Whether settings that fail abort a transaction, so that a statement behind them fails too. SQL may have ended the one that was
    /// begun here; and COMMIT or ROLLBACK does not fail.
    fn is_aborted_with(&self, side_effects: SideEffects) -> bool {
        let known = !self.may_be_in_transaction() && !side_effects.transaction;
        known && self.transactions.is_begun()
    }

    /// Counts as sent what has to be sent ahead of a statement.
    fn send_ahead(&mut self, begins: bool, configures: bool) -> Due {
        let settings = configures.then(|| SettingsSent {
            generation: self.generation,
            resets_left: self.has_settings_left(),
            is_final: !self.may_be_in_transaction() && !self.transactions.is_told(),
            keeps: !self.has_unknown_effects(),
        });
        if configures {
            self.in_flight += 1;
            self.configured = true;
        }
        let probes = begins && self.may_be_in_transaction() && !self.unpinned;
        let begin = if begins { self.transactions.take_start(probes) } else { None };
        if begin.is_some() {
            self.in_flight += 1;
            self.health.hold();
        }
        Due { settings, begin, probes, within: self.transactions.innermost() }
    }

    /// Whether SQL may have begun a transaction, or ended the one that was begun here.
    pub(super) fn may_be_in_transaction(&self) -> bool {
        self.side_effects.transaction || self.untracked
    }

    /// Whether the beginning of a transaction may be put off until its first statement is sent. Not where it is likely to be refused:
    /// where SQL may have begun one, and after the server has refused the settings.
    pub(crate) fn may_put_off(&self, settings: u64) -> bool {
        let known = !self.may_be_in_transaction() && !self.transactions.is_nested();
        known && self.health != Health::Broken && !self.has_refused(settings)
    }
}
