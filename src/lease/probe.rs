//! Asks the server whether a transaction is open that SQL has begun, before one is begun here.
//!
//! START TRANSACTION in it would be a warning of the server, and the COMMIT behind it would end what somebody else has begun.

use super::Lease;
use super::stage::Stage;
use super::transaction_stack::FrameId;
use crate::error::BusyWith;
use crate::tokio_postgres::error::SqlState;
use crate::{Error, Result, tokio_postgres};

/// Fails with SQLSTATE 25P01 where no transaction is open. Changes nothing where one is.
const PROBE: &str = "SAVEPOINT actix_pg_0; RELEASE SAVEPOINT actix_pg_0";

/// Sends what begins a transaction or a savepoint, if `probes` behind a probe. Refuses where a transaction is open then.
///
/// Cancellation safety: dropped while it asks, nothing has been begun, and the frame's [`Stage`] says so.
pub(super) async fn begin(lease: &Lease, frame: FrameId, start: &str, probes: bool) -> Result<()> {
    let client = lease.session().client();
    let begin = |err: tokio_postgres::Error| Error::Begin(err.into());
    if probes {
        match client.batch_execute(PROBE).await {
            Ok(()) => return Err(Error::Busy(BusyWith::Transaction)),
            Err(err) if is_outside(&err) => {}
            Err(err) => return Err(begin(err)),
        }
        // Its guard may be gone meanwhile. Nobody would end what is begun then.
        let mut state = lease.state();
        state.transactions.check(frame)?;
        state.transactions.stage(frame, Stage::Beginning);
    }
    client.batch_execute(start).await.map_err(begin)
}

/// Whether the server has said that no transaction is open.
pub(super) fn is_outside(err: &tokio_postgres::Error) -> bool {
    err.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION)
}
