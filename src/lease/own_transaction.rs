//! The transaction of a batch, from its first statement to its last.
//!
//! ```text
//!   Probing ──SAVEPOINT answered──> Open, a savepoint in what SQL has begun
//!      │ there is no transaction
//!      └──> Beginning ──START TRANSACTION answered──> Open ──> Ending ──> gone: committed
//! ```
//!
//! Where SQL may have begun a transaction, START TRANSACTION would be a warning of the server, and COMMIT would end what the batch
//! has not begun. So the server is asked: SAVEPOINT fails where there is none, and has changed nothing where there is one.

use super::stage::{Rollback, Stage};

/// A batch's own transaction, or its own savepoint in one that it has not begun. It has no frame, because nobody else can be in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnTransaction {
    stage: Stage,
    is_savepoint: bool,
}

impl OwnTransaction {
    /// A savepoint, in a transaction that is known to be open.
    pub(super) const SAVEPOINT: Self = Self { stage: Stage::Beginning, is_savepoint: true };
    /// A transaction, where none is open.
    pub(super) const TRANSACTION: Self = Self { stage: Stage::Beginning, is_savepoint: false };
    /// A savepoint, if a transaction is open.
    pub(super) const PROBE: Self = Self { stage: Stage::Probing, is_savepoint: true };

    pub(super) fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    pub(super) fn is_probe(self) -> bool {
        self.stage == Stage::Probing
    }

    pub(super) fn is_savepoint(self) -> bool {
        self.is_savepoint
    }

    /// The statement that begins it.
    pub(super) fn begin(self) -> &'static str {
        if self.is_savepoint { "SAVEPOINT actix_pg_0" } else { "START TRANSACTION" }
    }

    /// The statements that end it, behind those that stand before a COMMIT. They fail if any before them has.
    pub(super) fn commit(self, before: &str) -> String {
        // COMMIT succeeds in an aborted transaction, which it rolls back. SAVEPOINT fails, and what stands behind it is not run.
        if self.is_savepoint {
            "RELEASE SAVEPOINT actix_pg_0".to_owned()
        } else {
            format!("SAVEPOINT actix_pg; {before}COMMIT")
        }
    }

    /// What undoes it when it is left without having been committed.
    pub(super) fn rollback(self) -> Option<Rollback> {
        match self.stage {
            // Nothing has been done in the savepoint, or everything.
            Stage::Asked | Stage::Probing | Stage::Beginning | Stage::Ending if self.is_savepoint => None,
            _ if self.is_savepoint => Some(Rollback::Savepoint(0)),
            _ => Some(Rollback::Transaction),
        }
    }
}
