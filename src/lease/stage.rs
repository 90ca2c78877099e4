//! How far a transaction has come, and what undoes it.

/// How far a transaction or a savepoint has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing has been sent.
    Asked,
    /// The server has been asked whether a transaction is open that SQL has begun.
    Probing,
    /// Its first statement has been sent.
    Beginning,
    Open,
    /// Its last statement has been sent.
    Ending,
}

/// What the server rolls back. Of two, the lesser one includes the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rollback {
    Transaction,
    /// The savepoint at this depth.
    Savepoint(usize),
}

impl Rollback {
    pub(super) fn sql(self) -> String {
        match self {
            Self::Transaction => "ROLLBACK".into(),
            Self::Savepoint(at) => {
                let name = savepoint(at);
                format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
            }
        }
    }
}

/// The name of the savepoint at this depth.
pub(super) fn savepoint(at: usize) -> String {
    format!("actix_pg_{at}")
}
