//! How far the log of the server is, when statements of a session have been answered.

use super::session_use::SessionUse;
use super::state::Reply;
use crate::session::Position;
use crate::sql::SideEffects;
use crate::{Error, Result};

impl SessionUse {
    /// Asks the server of the session how far its log is: what was committed on the session is before that. `None` at a standby.
    ///
    /// No statement of the application: nobody observes or counts it.
    pub(crate) async fn position(mut self) -> Result<Option<Position>> {
        self.send(SideEffects::CLEAN, Reply::Whole).await?;
        let asked = Position::of_primary(self.session().client()).await;
        self.answered(asked.map_err(Error::from))
    }
}
